"""What pages for people are made of: text, numbers, tables, plots as SVG, and one style for light and dark."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from typing import Protocol

import matplotlib as mpl
from matplotlib.figure import Figure

ACCENT, QUIET = "#2f6f9f", "#8a8f98"  # legible on white and on near-black alike


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page of these parts, in one file that needs no other."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'


def text(value: object) -> str:
    """Text as HTML shows it."""
    return html.escape(str(value))


def number(value: float | None, *, as_share: bool = False) -> str:
    """Four digits or so; with `as_share` a signed percentage; n/a where there is none."""
    if value is None or math.isnan(value):
        return "n/a"
    if as_share:
        return f"{value:+.1%}".replace("%", " %")
    if value == 0 or abs(value) >= 0.001:
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
    return f"{value:.1e}"


def interval(
    value: float | None, low: float | None, high: float | None, *, as_share: bool = False, before: str = "<br>"
) -> str:
    """A figure and, where there is one, its interval in small type; `before` parts the two."""
    told = number(value, as_share=as_share)
    if low is None or high is None or math.isnan(low):
        return told
    ends = " to ".join(number(end, as_share=as_share) for end in (low, high))
    return f"{told}{before}<small>{ends}</small>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    marks: Sequence[str] = (),
    *,
    words: int = 1,
    last_words: bool = False,
) -> str:
    """A table of ready cells; the first `words` columns are text, the others numbers, set to the right."""

    def kind(place: int) -> str:
        return "" if place < words or (last_words and place == len(head) - 1) else ' class="number"'

    titles = "".join(f"<th{kind(place)}>{text(title)}</th>" for place, title in enumerate(head))
    lines = []
    for place, row in enumerate(rows):
        mark = f' class="{marks[place]}"' if place < len(marks) and marks[place] else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td{kind(at)}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>")
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


class Bin(Protocol):
    """Entries of like probability: their mean, the share that came true with its interval, their number."""

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


def reliability_figure(title: str, bins: Sequence[Bin], told: str = "mean probability", came: str = "share") -> str:
    """Probabilities beside what came true of them, and the same as numbers; nothing without a bin."""
    if not bins:
        return ""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    end = max(max(row.predicted, row.high) for row in bins)
    axes.plot([0, end], [0, end], color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    for row in bins:
        axes.plot([row.predicted, row.predicted], [row.low, row.high], color=QUIET, linewidth=2)
    axes.plot([row.predicted for row in bins], [row.observed for row in bins], "o", color=ACCENT, markersize=5)
    axes.set_xlabel(told)
    axes.set_ylabel(came)
    cells = [
        [
            number(row.predicted),
            interval(row.observed, row.low, row.high),
            f"{row.count:,}",
        ]
        for row in bins
    ]
    listed = table([told, came, "entries"], cells, words=0)
    return f"{svg(figure, title)}<details><summary>The bins as numbers</summary>{listed}</details>"


def svg(figure: Figure, title: str) -> str:
    """The figure as an element of the page, `title` being its own: words stay words, black becomes the page's ink.

    Equal rows give an equal page: no date, no ids at random.
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
    return f'<figure role="img" aria-label="{text(title)}">{drawing}</figure>'


STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --quiet: #667080; --line: #dfe3e8; --page: #fff; --mark: #eef4f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --quiet: #98a2b0; --line: #333a44; --page: #15181d; --mark: #1f2b36 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 76rem;
  margin: 2rem auto; padding: 0 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.25 } h2 { font-size: 1.25rem; margin-top: 2.75rem } h3 { font-size: 1rem;
  margin-top: 2rem }
p { max-width: 46rem } .quiet, small { color: var(--quiet) } small { font-size: .78em; white-space: nowrap }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem; border-bottom: 1px solid var(--line) }
th { font-weight: 600; vertical-align: bottom } .number { text-align: right; white-space: nowrap }
td:first-child { white-space: nowrap } tr.leader td { background: var(--mark); font-weight: 600 }
tr.leader small { font-weight: 400 } svg text { fill: currentColor; font-family: inherit !important }
figure { margin: 1.25rem 0 } figure svg { max-width: 100%; height: auto }
summary { cursor: pointer; color: var(--quiet) }
"""
