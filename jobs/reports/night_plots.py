"""Plots of a night's page: records by day, and figures of the nights before."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from jobs.reports.figures import ACCENT, QUIET, svg
from schemas.contract import PARTITION

DAYS = 56  # shown
FEWEST = 3  # dates: fewer are no history
MOST_FIGURES = 24
COLUMNS = 4
REJECTED = "#c2703d"


def records(cleaned: Sequence[Mapping[str, Any]]) -> Markup:
    """Accepted and rejected event records of the last DAYS days; nothing for fewer than FEWEST days."""
    days = sorted(cleaned, key=lambda row: row[PARTITION])[-DAYS:]
    if len(days) < FEWEST:
        return Markup()
    figure = Figure(figsize=(9.6, 2.4), layout="constrained")
    axes = figure.add_subplot()
    dates, kept = [row[PARTITION] for row in days], [row["rows_kept"] for row in days]
    axes.bar(dates, kept, color=ACCENT, width=0.8, label="accepted")
    axes.bar(dates, [row["rows_rejected"] for row in days], bottom=kept, color=REJECTED, width=0.8, label="rejected")
    _dated(axes)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return svg(figure, "Event records by day: accepted and rejected")


def history(figures: Sequence[Mapping[str, Any]], run_date: dt.date) -> Markup:
    """A small plot for each figure of a table with FEWEST dates or more: its values, and the limits of run_date."""
    by_name: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    since = run_date - dt.timedelta(days=DAYS)
    for row in figures:
        if since < row[PARTITION] <= run_date and math.isfinite(row["value"]):
            by_name.setdefault((row["table_name"], row["figure"]), []).append(row)
    shown = [(name, rows) for name, rows in sorted(by_name.items()) if len(rows) >= FEWEST][:MOST_FIGURES]
    if not shown:
        return Markup()
    lines = math.ceil(len(shown) / COLUMNS)
    figure = Figure(figsize=(9.6, 1.7 * lines), layout="constrained")
    for place, ((table, name), rows) in enumerate(shown):
        axes = figure.add_subplot(lines, COLUMNS, place + 1)
        rows.sort(key=lambda row: row[PARTITION])
        last = rows[-1]
        if last["low"] is not None and last["high"] is not None and last[PARTITION] == run_date:
            axes.axhspan(last["low"], last["high"], color=QUIET, alpha=0.15, linewidth=0)
        axes.plot([row[PARTITION] for row in rows], [row["value"] for row in rows], color=ACCENT, linewidth=1.2)
        axes.plot([last[PARTITION]], [last["value"]], "o", color=ACCENT, markersize=4)
        axes.set_title(f"{table}\n{name}".replace("$", r"\$"), fontsize=7, loc="left")
        axes.tick_params(labelsize=6)
        _dated(axes, most=3)
    return svg(figure, "Figures of tables, run by run; shaded: the limits of this run")


def _dated(axes: Any, most: int = 8) -> None:
    """Dates below the axis, few and short."""
    locator = AutoDateLocator(minticks=2, maxticks=most)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
