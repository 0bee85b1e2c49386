"""Page of a run_date, for all users: counts, checks, figures beside earlier runs, models, costs; no record's value."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jobs.reports import model_card, night_plots
from jobs.reports.page import Row, Table
from jobs.reports.page import render as render_template
from jobs.reports.shop_sections import OF_RECORDS, Section
from schemas.contract import PARTITION

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


def pages(
    run_date: dt.date,
    cleaned: Records,
    runs: Records,
    checks: Records,
    figures: Records,
    models: Records,
    currency: str,
    sections: Sequence[Section] = (),
    users_page: str = "",
) -> dict[str, str]:
    """The page of run_date and a card of each model that it used, by path below the lake.

    The records are those of run_date and of the dates before it: rows of silver.cleaned_days, ops.runs, ops.checks,
    ops.figures and ops.models. Of a date that has run several times, each job's last run counts. `sections`: of what
    the run wrote; `users_page`: where the page of three users is, from this page.
    """
    ended = last_runs([row for row in runs if row[PARTITION] == run_date])
    done = {row["run_id"] for row in ended if row["status"] == "done"}
    day = next((row for row in cleaned if row[PARTITION] == run_date), None)
    reasons = sorted(dict(day["reasons"]).items(), key=lambda pair: (-pair[1], pair[0])) if day else []
    tonight = [row for row in figures if row["run_id"] in done]
    versions = {row["model_version"] for row in ended}
    used = sorted((row for row in models if row["model_version"] in versions), key=lambda row: row["model_version"])
    page = render_template(
        "night_page.html.j2",
        title=f"Night of {run_date}",
        failed=[row for row in ended if row["status"] != "done"],
        day=day,
        reasons=Table(["reason", "records"], [[reason, f"{count:,}"] for reason, count in reasons[:MOST_REASONS]]),
        records=night_plots.records(cleaned),
        checks=list(_checked([row for row in checks if row["run_id"] in done])),
        figures=Table(
            ["table", "figure", "tonight", "usual", "least", "most"],
            [
                [row["table_name"], row["figure"], *(_number(row[name]) for name in ("value", "usual", "low", "high"))]
                for row in sorted(tonight, key=lambda row: (row["table_name"], row["figure"]))
            ],
            words=2,
        ),
        history=night_plots.history(_of_last_runs(figures, runs), run_date),
        models=used,
        costs=_costs(ended, currency),
        queries={name: [query.format(day=run_date)] for name, query in OF_RECORDS.items()},
        sections=sections,
        users_page=users_page,
    )
    cards = {f"data_docs/models/{row['model_version']}.html": model_card.render(row) for row in used}
    return {f"data_docs/{run_date}/index.html": page, **cards}


def last_runs(runs: Records) -> list[Mapping[str, Any]]:
    """The last row of each job of each date, in the order in which they started."""
    last: dict[tuple[dt.date, str], Mapping[str, Any]] = {}
    for row in sorted(runs, key=lambda row: (row["started_at"], row["run_id"], row["status"] != "running")):
        last[row[PARTITION], row["job"]] = row
    return sorted(last.values(), key=lambda row: (row["started_at"], row["run_id"]))


def _of_last_runs(figures: Records, runs: Records) -> Records:
    counted = {row["run_id"] for row in last_runs([row for row in runs if row["status"] == "done"])}
    return [row for row in figures if row["run_id"] in counted]


def _checked(checks: Records) -> Iterator[Checked]:
    for table in sorted({row["table_name"] for row in checks}):
        of_table = [row for row in checks if row["table_name"] == table]
        row_count = max(row["row_count"] for row in of_table)
        yield Checked(table, row_count, len(of_table), [row for row in of_table if not row["passed"]])


def _costs(ended: Records, currency: str) -> Table:
    """A row per job with what it used, in the order of the run, and the sum."""
    known = [row for row in ended if row["cpu_seconds"] is not None]
    priced = any(row["price"] is not None for row in known)
    head = ["job", "seconds", "CPU seconds", "peak GB", "read MB", "shuffled MB", "written MB"]
    rows: list[Row] = [[row["job"], *_used(row), *([f"{row['price'] or 0:.4f}"] * priced)] for row in known]
    if known:
        total = {
            name: sum(row[name] or 0 for row in known)
            for name in ("seconds", "cpu_seconds", "bytes_read", "bytes_shuffled", "bytes_written", "price")
        }
        peak = max(row["peak_bytes"] or 0 for row in known)
        rows.append(["all", *_used({**total, "peak_bytes": peak}), *([f"{total['price']:.4f}"] * priced)])
    return Table([*head, *([currency] * priced)], rows, marks=[""] * len(known) + ["leader"])


def _used(row: Mapping[str, Any]) -> list[str]:
    megabytes = (row[name] for name in ("bytes_read", "bytes_shuffled", "bytes_written"))
    return [
        f"{row['seconds']:,.1f}",
        f"{row['cpu_seconds']:,.1f}",
        f"{(row['peak_bytes'] or 0) / 1e9:.1f}",
        *("" if size is None else f"{size / 1e6:,.1f}" for size in megabytes),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
