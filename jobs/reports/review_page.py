"""Page of what customers say: of each category the most praised and the most criticised aspects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from jobs.reports.page import Table, render

SHOWN = 10  # aspects of each list


def review_page(deployment: str, run_date: dt.date, aspects: Sequence[Mapping[str, Any]], *, simulated: bool) -> str:
    """The page as HTML. aspects: rows of gold.aspects with `praised` and `criticised`, their places in their category.

    simulated: whether the reviews' files are, which the page says.
    """
    ordered = sorted(aspects, key=lambda row: row["category"])
    categories = [(name, list(rows)) for name, rows in groupby(ordered, key=lambda row: row["category"])]
    return render(
        "review_page.html.j2",
        title=f"Reviews of {deployment}, {run_date}",
        simulated=simulated,
        categories=[(name, _table(rows, "praised"), _table(rows, "criticised")) for name, rows in categories],
    )


def _table(rows: Sequence[Mapping[str, Any]], place: str) -> Table:
    """The first SHOWN aspects by a place, of those that are positive or negative."""
    sign = 1 if place == "praised" else -1
    fit = sorted(
        (row for row in rows if row[place] <= SHOWN and sign * row["sentiment"] > 0), key=lambda row: row[place]
    )
    cells = [[row["aspect"], f"{row['sentiment']:+.2f}", f"{row['mentions']:,}"] for row in fit]
    return Table([f"{place} most", "sentiment", "clauses"], cells)
