"""All of Great Expectations, and the row-level split: both say what the contract's checks say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from typing import Any, ClassVar, cast

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import PARTITION, Check, Table

# How many failing rows the error of a refused table names; reports and ops.checks hold counts alone.
EXAMPLES = 3
# Counts without values: a failing value may be personal, and reports are for everybody.
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


class UnexpectedRowsCounted(gxe.UnexpectedRowsExpectation):  # type: ignore[misc]
    """A query that must return no rows, run once and counted; the library's own runs it again to show the rows."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.row_count",)

    def _validate(self, metrics: dict[str, Any], *_unused: Any, **_too: Any) -> dict[str, Any]:
        count = metrics["unexpected_rows_query.row_count"]
        return {"success": count == 0, "result": {"observed_value": count}}


@cache
def _counting(name: str) -> Any:
    """An expectation of the library that counts the rows that break it and fetches none of them.

    The library asks Spark for examples also where none may be shown: a query a check, a quarter of a short job's time.
    """
    known: Any = getattr(gxe, name)

    def get_validation_dependencies(self: Any, *told: Any, **more: Any) -> Any:
        found = known.get_validation_dependencies(self, *told, **more)
        for metric in found.get_metric_names():
            if metric.endswith(".unexpected_values"):
                found.remove_metric_configuration(metric)
        return found

    members = {"__module__": __name__, "get_validation_dependencies": get_validation_dependencies}
    return type(known)(f"{name}Counted", (known,), members)


@dataclass(frozen=True)
class Finding:
    """How one check fared on one frame. `unexpected_count` is None where the check does not count rows."""

    check: Check
    passed: bool
    unexpected_count: int | None


@dataclass(frozen=True)
class Audit:
    """One table's findings and the same as an HTML page."""

    table: Table
    row_count: int
    findings: tuple[Finding, ...]
    page: str

    def with_findings(self, more: Sequence[Finding]) -> Audit:
        """The same and what was found elsewhere than in the table's rows alone."""
        told = "".join(
            f"<p>{'' if found.passed else escape(found.check.severity) + ': '}{escape(found.check.reason)}</p>"
            for found in more
        )
        return replace(self, findings=(*self.findings, *more), page=self.page + told)

    @property
    def refused(self) -> list[Finding]:
        """Critical checks that did not hold: any stops the publish."""
        return [finding for finding in self.findings if not finding.passed and finding.check.severity == "critical"]


def expectation(check: Check) -> gxe.Expectation:
    """The Great Expectations class of one check."""
    arguments: dict[str, Any] = dict(check.kwargs)
    if check.query:
        arguments["unexpected_rows_query"] = check.query
    arguments["meta"] = {"check": check.name, "severity": check.severity}
    arguments["description"] = check.reason
    made = UnexpectedRowsCounted if check.query else _counting(check.expectation)
    return cast("gxe.Expectation", made(**arguments))


def suite(table: Table, more: Sequence[Check] = ()) -> gx.ExpectationSuite:
    """The expectation suite of one table: its contract's checks, and more that only this run can know."""
    made = gx.ExpectationSuite(name=table.name)
    for check in (*table.checks(), *more):
        made.add_expectation(expectation(check))
    return made


def balance_check(row_count: int, counted_by: str | None) -> Check:
    """Rows in = rows kept + rows rejected, said of the table of kept rows: it must account for `row_count`."""
    if counted_by is None or row_count == 0:  # the sum over no rows is none, and not 0
        arguments: dict[str, Any] = {"value": row_count}
        return Check("balance", "rows in = rows kept + rows rejected", "ExpectTableRowCountToEqual", arguments)
    arguments = {"column": counted_by, "min_value": row_count, "max_value": row_count}
    return Check("balance", "rows in = rows kept + rows rejected", "ExpectColumnSumToBeBetween", arguments)


def few_rejected(rejected: int, rows_in: int, allowed: float) -> Finding:
    """Whether no more records were rejected than a deployment lets pass, said of the table of rejected ones."""
    most = int(allowed + 1e-6)  # .29 of 100 is a little less than 29
    reason = f"{rejected} of {rows_in} records are rejected, max_rejected_share lets {most} pass"
    query = (
        "SELECT reason, count(*) AS records, concat_ws(':', min(place).source_file, min(place).source_row) AS first "
        "FROM (SELECT explode(reasons) AS reason, struct(source_file, source_row) AS place FROM {batch}) "
        "GROUP BY reason ORDER BY records DESC, reason"
    )
    return Finding(Check("few_rejected", reason, "", query=query), rejected <= most, None)


@cache
def _batch_definition() -> Any:
    """One ephemeral context for the process; every frame is a batch of one asset."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_spark("night")
        .add_dataframe_asset("frames")
        .add_batch_definition_whole_dataframe("frame")
    )


def audit(table: Table, frame: DataFrame, more: Sequence[Check] = ()) -> Audit:
    """Run a table's suite on a frame (persist it first: every expectation is a Spark job)."""
    row_count = frame.count()
    checks = [check for check in (*table.checks(), *more) if row_count or check.name == "balance"]
    if not checks:
        return Audit(table, row_count, (), _page(None))
    # A statement about several columns becomes a column: Great Expectations counts all column checks in one pass.
    stated = {check.name: F.expr(check.sql) for check in checks if check.sql and check.column is None}
    batch = _batch_definition().get_batch(batch_parameters={"dataframe": frame.withColumns(stated)})
    chosen = gx.ExpectationSuite(name=table.name, expectations=[expectation(check) for check in checks])
    outcome = batch.validate(chosen, result_format=RESULT_FORMAT)
    by_name = {result.expectation_config.meta["check"]: result for result in outcome.results}
    findings = []
    for check in checks:
        result = by_name[check.name]
        if (result.exception_info or {}).get("raised_exception"):
            raise RuntimeError(f"{table.name}: the check {check.name} could not be run: {result.exception_info}")
        count = result.result.get("unexpected_count")
        if count is None and check.query:
            count = result.result.get("observed_value")
        findings.append(Finding(check, bool(result.success), count if isinstance(count, int) else None))
    return Audit(table, row_count, tuple(findings), _page(outcome))


def _page(outcome: ExpectationSuiteValidationResult | None) -> str:
    """The audit as a page that anyone may read."""
    if outcome is None:
        return "<p>No rows tonight, so nothing to check.</p>"
    page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(outcome))
    return page


def explain(found: Audit, frame: DataFrame) -> str:
    """What a refused table breaks, a line a check, with the key and the value of a few failing rows."""
    lines = []
    for finding in found.refused:
        check = finding.check
        shown = dict.fromkeys((PARTITION, *found.table.key, *([check.column] if check.column else [])))
        if check.sql and check.column is None:
            mentioned = [name for name in found.table.column_names if name in check.sql]
            shown |= dict.fromkeys((*mentioned, *check.shown))
        rows: list[Any] = []
        if check.sql:
            rows = frame.where(f"NOT coalesce({check.sql}, true)").select(*shown).take(EXAMPLES)
        elif check.query:
            rows = frame.sparkSession.sql(check.query, batch=frame).take(EXAMPLES)
        examples = "; ".join(", ".join(f"{k}={v!s}" for k, v in row.asDict().items()) for row in rows)
        count = (
            "" if finding.unexpected_count is None else f": {finding.unexpected_count} of {found.row_count} rows do not"
        )
        lines.append(f"{found.table.name}: {check.reason}{count}{f', e.g. {examples}' if examples else ''}")
    return "\n".join(lines)
