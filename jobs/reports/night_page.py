"""Page of the data quality of a run_date, for all users: counts, reasons and figures, no value of a record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jobs.reports.page import Table
from jobs.reports.page import render as render_template

MOST_REASONS = 20
Records: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Checked:
    """Checks of a table: their number, and those that failed."""

    table: str
    row_count: int
    checks: int
    failed: Records

    @property
    def passed(self) -> int:
        """How many of the checks passed."""
        return self.checks - len(self.failed)


def render(run_date: dt.date, cleaned: Records, checks: Records, figures: Records) -> str:
    """The page: the day's records, every table's checks with a link to their page, figures beside earlier runs.

    `cleaned`: the row of silver.cleaned_days of this date, if any. `checks` and `figures`: the rows of ops.checks and
    ops.figures of one run of each job.
    """
    day = cleaned[0] if cleaned else None
    reasons = sorted(dict(day["reasons"]).items(), key=lambda pair: (-pair[1], pair[0])) if day else []
    return render_template(
        "night_page.html.j2",
        title=f"Night of {run_date}",
        day=day,
        reasons=Table(["reason", "records"], [[reason, f"{count:,}"] for reason, count in reasons[:MOST_REASONS]]),
        checks=list(_checked(checks)),
        figures=Table(
            ["table", "figure", "tonight", "usual", "least", "most"],
            [
                [row["table_name"], row["figure"], *(_number(row[name]) for name in ("value", "usual", "low", "high"))]
                for row in sorted(figures, key=lambda row: (row["table_name"], row["figure"]))
            ],
            words=2,
        ),
    )


def _checked(checks: Records) -> Iterator[Checked]:
    for table in sorted({row["table_name"] for row in checks}):
        of_table = [row for row in checks if row["table_name"] == table]
        row_count = max(row["row_count"] for row in of_table)
        yield Checked(table, row_count, len(of_table), [row for row in of_table if not row["passed"]])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
