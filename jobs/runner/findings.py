"""Findings of an audit, and the error of a refused table. No Great Expectations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from pyspark.sql import DataFrame

from schemas.contract import PARTITION, Check, Severity, Table
from schemas.errors import DataError

# How many failing rows the error of a refused table shows; reports and ops.checks hold counts alone.
EXAMPLES = 3
FEWEST_OF_ONE_USER = 20  # rows of one user_id that may be too many: fewer are a basket of a small day
ROW_COUNT, SUM = "ExpectTableRowCountToEqual", "ExpectColumnSumToBeBetween"


@dataclass(frozen=True)
class Finding:
    """Result of a check on a frame. `unexpected_count` is None where the check does not count rows."""

    check: Check
    passed: bool
    unexpected_count: int | None


@dataclass(frozen=True)
class Audit:
    """Findings of a table, and its HTML page; `most` as in audit_counts.Counts.

    `counted`: counts and sums without a verdict.
    """

    table: Table
    row_count: int
    findings: tuple[Finding, ...]
    page: str
    most: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)

    def with_findings(self, more: Sequence[Finding]) -> Audit:
        """The audit with more findings, from elsewhere than the table's rows."""
        lines = "".join(
            f"<p>{'' if finding.passed else escape(finding.check.severity) + ': '}{escape(finding.check.reason)}</p>"
            for finding in more
        )
        return replace(self, findings=(*self.findings, *more), page=self.page + lines)

    @property
    def refused(self) -> list[Finding]:
        """Failed critical checks: any of them stops the publication."""
        return [finding for finding in self.findings if not finding.passed and finding.check.severity == "critical"]


def balance_check(row_count: int, counted_by: str | None) -> Check:
    """Rows in = rows accepted + rows rejected, as a check of the accepted rows, which account for `row_count`."""
    if counted_by is None or row_count == 0:  # the sum over no rows is none, and not 0
        return Check("balance", "rows in = rows kept + rows rejected", ROW_COUNT, {"value": row_count})
    arguments = {"column": counted_by, "min_value": row_count, "max_value": row_count}
    return Check("balance", "rows in = rows kept + rows rejected", SUM, arguments)


def outside(files: Sequence[str]) -> Check:
    """A row is of none of these raw files; to be counted, without a verdict."""
    listed = ", ".join("'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'" for name in files)
    return Check("outside_newest_files", "", "", sql=f"source_file NOT IN ({listed})" if files else "true")


def few_rejected(rejected: int, records: int, allowed: int, by_share: int) -> Finding:
    """Whether no more of the newest files' records are rejected than the deployment allows.

    A finding of the table of rejected records. More than `by_share`, up to `allowed` (min_rejected), is a warning.
    """
    least = f", min_rejected {allowed}" * (allowed > by_share)
    reason = (
        f"{rejected} of {records} records of the newest files are rejected, max_rejected_share lets {by_share} pass"
        f"{least}"
    )
    query = (
        "SELECT reason, count(*) AS records, concat_ws(':', min(place).source_file, min(place).source_row) AS first "
        "FROM (SELECT explode(reasons) AS reason, struct(source_file, source_row) AS place FROM {batch}) "
        "GROUP BY reason ORDER BY records DESC, reason"
    )
    severity: Severity = "warning" if by_share < rejected <= allowed else "critical"
    return Finding(Check("few_rejected", reason, "", query=query, severity=severity), rejected <= by_share, None)


def few_of_one_user(lines: int, rows: int, limit: float) -> Finding:
    """A warning where one user_id has more than `limit` of a log's rows: many may share it, such as all guests.

    The id itself is not reported: only the share is stored and sent.
    """
    share = lines / max(rows, 1)
    reason = f"the user_id with most rows has {share:.1%} of {rows}; max_lines_share is {limit:.1%}"
    passed = lines < FEWEST_OF_ONE_USER or share <= limit
    if not passed:
        reason += (
            ". If it stands for many (guests, a till, a robot), list it in guest_ids of [sources.events]; to see it: "
            'make sql Q="SELECT user_id, count(*) FROM silver.events GROUP BY user_id ORDER BY 2 DESC LIMIT 3"'
        )
    return Finding(Check("few_of_one_user", reason, "", column="user_id", severity="warning"), passed, lines)


def refusal(refused: Iterable[tuple[Audit, DataFrame]]) -> DataError:
    """The error of tables that break critical checks: a line per check, with a few failing rows.

    A line shows these rows without personal columns; the error's examples show every column read.
    """
    lines, examples = [], []
    for audit, frame in refused:
        personal = audit.table.personal
        for finding in audit.refused:
            check, rows = finding.check, _failing(finding.check, audit.table, frame)
            places = [_shown({k: v for k, v in row.items() if k not in personal}) for row in rows]
            count = (
                ""
                if finding.unexpected_count is None
                else f": {finding.unexpected_count} of {audit.row_count} rows do not"
            )
            named = "; ".join(filter(None, dict.fromkeys(places)))
            lines.append(f"{audit.table.name}: {check.reason}{count}{f', e.g. {named}' if named else ''}")
            examples += [f"{audit.table.name}: {check.name}: {_shown(row)}" for row in rows if personal & row.keys()]
    return DataError("\n".join(lines), examples)


def _failing(check: Check, table: Table, frame: DataFrame) -> list[dict[str, Any]]:
    """The key of a few rows that break a check, and the columns that it names."""
    shown = dict.fromkeys((PARTITION, *table.key, *([check.column] if check.column else [])))
    if check.sql and check.column is None:
        mentioned = [name for name in table.column_names if name in check.sql]
        shown |= dict.fromkeys((*mentioned, *check.shown))
    rows: list[Any] = []
    if check.sql:
        rows = frame.where(f"NOT coalesce({check.sql}, true)").select(*shown).take(EXAMPLES)
    elif check.query:
        rows = frame.sparkSession.sql(check.query, batch=frame).take(EXAMPLES)
    return [row.asDict() for row in rows]


def _shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!s}" for name, value in row.items())
