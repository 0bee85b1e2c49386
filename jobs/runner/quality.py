"""All of Great Expectations: expectations from contracts, verdicts over counts, and the pages.

The counts come from one SQL execution per table (audit_counts.py); each expectation of the library gets the metrics
that it requests, judges them and is rendered. The library's own engine would run a dozen Spark jobs per table for the
same numbers; a test compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from pyspark.sql import DataFrame

from jobs.runner import audit_counts
from jobs.runner.audit_counts import Counts
from jobs.runner.findings import ROW_COUNT, SUM, Audit, Finding
from schemas.contract import Check, Table

# Counts without values: a failing value may be personal, and every user may see the reports.
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


class UnexpectedRowsCounted(gxe.UnexpectedRowsExpectation):  # type: ignore[misc]
    """A query that must return no rows; the rows are counted, while the library's own class would fetch them."""

    def _validate(self, metrics: dict[str, Any], *_unused: Any, **_too: Any) -> dict[str, Any]:
        count = metrics["unexpected_rows_query.row_count"]
        return {"success": count == 0, "result": {"observed_value": count}}


def expectation(check: Check) -> gxe.Expectation:
    """The Great Expectations class of one check."""
    arguments: dict[str, Any] = dict(check.kwargs)
    if check.query:
        arguments["unexpected_rows_query"] = check.query
    arguments["meta"] = {"check": check.name, "severity": check.severity}
    arguments["description"] = check.reason
    kind = UnexpectedRowsCounted if check.query else getattr(gxe, check.expectation)
    return cast("gxe.Expectation", kind(**arguments))


def suite(table: Table, more: Sequence[Check] = ()) -> gx.ExpectationSuite:
    """The expectation suite of a table: its contract's checks, and more that depend on the run."""
    return gx.ExpectationSuite(name=table.name, expectations=[expectation(check) for check in (*table.checks(), *more)])


def audit(
    table: Table,
    frame: DataFrame,
    more: Sequence[Check] = (),
    frequent: str = "",
    counted: Sequence[Check] = (),
    summed: Sequence[str] = (),
) -> Audit:
    """A table's suite on a frame, by one SQL execution; `frequent` as in audit_counts.count.

    The rows that break `counted` are counted and the columns `summed` added up, without a verdict.
    """
    every = (*table.checks(), *more)
    sums = dict.fromkeys([*summed, *(check.kwargs["column"] for check in every if check.expectation == SUM)])
    counts = audit_counts.count(frame, (*every, *counted), list(sums), frequent)
    totals = {check.name: counts.broken[check.name] for check in counted} | {n: counts.sums[n] or 0 for n in summed}
    return replace(judged(table, counts, every), most=counts.most, counted=totals)


def judged(table: Table, counts: Counts, every: Sequence[Check]) -> Audit:
    """The verdict of each check from its counts; for a table without a row, only that of the balance."""
    checks = [check for check in every if counts.rows or check.name == "balance"]
    if not checks:
        return Audit(table, counts.rows, (), _page(table, ()))
    results = [_verdict(check, counts) for check in checks]
    findings = []
    for check, result in zip(checks, results, strict=True):
        count = result.result.get("unexpected_count")
        if count is None and check.query:
            count = result.result.get("observed_value")
        findings.append(Finding(check, bool(result.success), count if isinstance(count, int) else None))
    return Audit(table, counts.rows, tuple(findings), _page(table, results))


def _verdict(check: Check, counts: Counts) -> ExpectationValidationResult:
    """The library's verdict on a check, from metrics under the names that it requests."""
    judge: Any = expectation(check)
    metrics: dict[str, Any] = {"table.row_count": counts.rows}
    if check.query:
        metrics["unexpected_rows_query.row_count"] = counts.broken[check.name]
    elif check.expectation == SUM:
        metrics["column.sum"] = counts.sums[check.kwargs["column"]]
    elif check.expectation != ROW_COUNT:
        metrics["column_values.nonnull.unexpected_count"] = counts.nulls[check.name]
        metrics[f"{judge.map_metric}.unexpected_count"] = counts.broken[check.name]
    outcome = judge._validate(metrics=metrics, runtime_configuration={"result_format": RESULT_FORMAT})
    return cast("ExpectationValidationResult", judge._build_evr(raw_response=outcome))


@cache
def _renderers() -> tuple[Any, Any]:
    """One renderer and one view per process: their templates are compiled once."""
    return ValidationResultsPageRenderer(), DefaultJinjaPageView()


def _page(table: Table, results: Sequence[ExpectationValidationResult]) -> str:
    """The audit as a page that anyone may read."""
    if not results:
        return "<p>No rows in this run, so nothing to check.</p>"
    passed = sum(bool(result.success) for result in results)
    outcome = ExpectationSuiteValidationResult(
        results=list(results),
        success=passed == len(results),
        suite_name=table.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100.0 * passed / len(results),
        },
        meta={"great_expectations_version": gx.__version__},
    )
    renderer, view = _renderers()
    page: str = view.render(renderer.render(outcome))
    return page
