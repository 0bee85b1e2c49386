"""One night's data quality as a page that anyone may read: counts, reasons and figures, and no value of a record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 2rem}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;"
    "text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a00}"
)
MOST_REASONS = 20
Records = Sequence[Mapping[str, Any]]


def render(run_date: dt.date, cleaned: Records, checks: Records, figures: Records) -> str:
    """The page: the day's records, every table's checks with a link to their own page, figures beside earlier nights.

    `checks` and `figures` are those of one run of each job.
    """
    return (
        f"<!doctype html><meta charset='utf-8'><title>Night of {run_date}</title><style>{STYLE}</style>"
        f"<h1>Night of {run_date}</h1>{_records(cleaned)}{_checks(checks)}{_figures(figures)}"
    )


def _records(cleaned: Records) -> str:
    if not cleaned:
        return "<h2>Event records</h2><p>No event file of this day.</p>"
    (day,) = cleaned
    found = f"{day['rows_in']:,} in = {day['rows_kept']:,} kept + {day['rows_rejected']:,} rejected"
    common = sorted(dict(day["reasons"]).items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_REASONS]
    rows = [[reason, f"{count:,}"] for reason, count in common]
    return f"<h2>Event records</h2><p>{found}</p>" + (_table(["reason", "records"], rows) if rows else "")


def _checks(checks: Records) -> str:
    rows = []
    for table in sorted({row["table_name"] for row in checks}):
        mine = [row for row in checks if row["table_name"] == table]
        bad = [
            f"<span class='bad'>{escape(row['severity'])}: {escape(row['reason'])}</span>"
            for row in mine
            if not row["passed"]
        ]
        link = f"<a href='{escape(table)}.html'>{escape(table)}</a>"
        rows.append(
            [link, f"{max(row['row_count'] for row in mine):,}", f"{len(mine) - len(bad)} of {len(mine)}", *bad]
        )
    return "<h2>Checks</h2>" + _table(["table", "rows", "passed", "not passed"], rows, raw=True)


def _figures(figures: Records) -> str:
    if not figures:
        return ""
    rows = [
        [row["table_name"], row["figure"], *(_number(row[name]) for name in ("value", "usual", "low", "high"))]
        for row in sorted(figures, key=lambda row: (row["table_name"], row["figure"]))
    ]
    return "<h2>Beside the nights before</h2>" + _table(["table", "figure", "tonight", "usual", "least", "most"], rows)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, raw: bool = False) -> str:
    def cell(text: str) -> str:
        number = " class='n'" if text[:1].isdigit() or text[:1] == "-" else ""
        return f"<td{number}>{text if raw else escape(text)}</td>"

    body = "".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table>"
