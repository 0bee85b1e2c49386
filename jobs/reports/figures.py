"""Plots as elements of a page: SVG with text as text, in the page's text colour."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.reports.page import Row, Table, interval, number

ACCENT, QUIET = "#2f6f9f", "#8a8f98"  # legible on white and on near-black alike


class Bin(Protocol):
    """Entries of similar probability: their mean, the observed share with its interval, their number."""

    @property
    def predicted(self) -> float: ...  # noqa: D102
    @property
    def observed(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def count(self) -> int: ...  # noqa: D102


class Line(Protocol):
    """A figure with the ends of its interval, None without one."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities beside observed shares: the plot and the table."""

    figure: Markup
    bins: Table


def reliability(title: str, bins: Sequence[Bin]) -> Reliability | None:
    """The reliability of these bins; None without a bin."""
    if not bins:
        return None
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    end = max(max(row.predicted, row.high) for row in bins)
    axes.plot([0, end], [0, end], color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    for row in bins:
        axes.plot([row.predicted, row.predicted], [row.low, row.high], color=QUIET, linewidth=2)
    axes.plot([row.predicted for row in bins], [row.observed for row in bins], "o", color=ACCENT, markersize=5)
    axes.set_xlabel("mean probability")
    axes.set_ylabel("share")
    cells: list[Row] = [
        [number(row.predicted), interval(row.observed, row.low, row.high), f"{row.count:,}"] for row in bins
    ]
    return Reliability(svg(figure, title), Table(["mean probability", "share", "entries"], cells, words=0))


def dots(title: str, unit: str, lines: Sequence[tuple[str, Line]]) -> Markup:
    """A dot with its interval for each named figure; nothing without one."""
    if not lines:
        return Markup()
    figure, axes = _named_lines([name for name, _ in lines])
    for place, (_, line) in enumerate(lines):
        if line.low is not None and line.high is not None:
            axes.plot([line.low, line.high], [place, place], color=QUIET, linewidth=2, solid_capstyle="round")
        axes.plot([line.value], [place], "o", color=ACCENT, markersize=6)
    axes.set_xlabel(unit)
    return svg(figure, title)


def bars(title: str, lengths: Sequence[tuple[str, float]]) -> Markup:
    """A bar for each named length."""
    figure, axes = _named_lines([name for name, _ in lengths])
    axes.barh(range(len(lengths)), [length for _, length in lengths], color=ACCENT, height=0.6)
    return svg(figure, title)


def _named_lines(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with a line for each name, from above."""
    figure = Figure(figsize=(7.2, 0.6 + 0.26 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    # A dollar sign would begin a formula.
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.invert_yaxis()
    return figure, axes


def svg(figure: Figure, title: str) -> Markup:
    """The figure as an SVG element with a title: text stays text, black becomes the page's text colour.

    Equal rows give an equal page: without a date or random ids.
    """
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.patch.set_visible(False)
        axes.tick_params(length=3)
    figure.patch.set_visible(False)
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    drawing = drawn.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace("#000000", "currentColor")
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # figure_1, axes_1: the same in every figure
    return Markup('<figure role="img" aria-label="{}">{}</figure>').format(title, Markup(drawing))
