"""Why a row breaks the checks of a contract."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.contract import Check


def reasons_of(checks: Iterable[Check]) -> Column:
    """For one row, the reasons of every check that it breaks: array<string>, empty for a good row."""
    broken = [F.when(~F.coalesce(F.expr(check.sql), F.lit(True)), F.lit(check.reason)) for check in checks if check.sql]
    return F.array_compact(F.array(*broken)) if broken else F.array().cast("array<string>")
