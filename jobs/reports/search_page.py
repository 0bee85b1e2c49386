"""Page of an evaluation of search: each ranking's NDCG@10 on the judged queries, and the lead over it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from jobs.offline.search_judged import LEAD, NDCG, NIGHT, SearchFigure
from jobs.reports.page import Row, Table, interval, render


def search_page(deployment: str, run_date: dt.date, figures: Sequence[SearchFigure]) -> str:
    """The page as HTML; the shop's own ranking is marked."""
    by_name = {(each.contender, each.metric): each for each in figures}
    of_ndcg = sorted((each for each in figures if each.metric == NDCG), key=lambda each: -each.value)
    rows: list[Row] = []
    for each in of_ndcg:
        lead = by_name.get((each.contender, LEAD))
        ahead = interval(lead.value, lead.low, lead.high) if lead else ""
        rows.append([each.contender, str(each.queries), interval(each.value, each.low, each.high), ahead])
    marks = ["leader" if each.contender == NIGHT else "" for each in of_ndcg]
    table = Table(["ranking", "queries", NDCG, f"lead of {NIGHT}"], rows, marks)
    return render("search_page.html.j2", title=f"Search of {deployment}, {run_date}", table_of=table)
