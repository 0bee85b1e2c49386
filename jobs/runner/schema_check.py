"""Columns of a frame or of a stored table against the contract's, difference by difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame

from schemas.contract import Table
from schemas.derive import plain_type
from schemas.errors import DataError


def check_schema(table: Table, frame: DataFrame, door: str) -> None:
    """DataError, with each difference, for a frame whose column names, order or types are not the contract's."""
    expected = {column.name: plain_type(column.type) for column in table.columns}
    actual = {field.name: plain_type(field.dataType.simpleString()) for field in frame.schema.fields}
    problems = differences(expected, actual)
    if not problems and list(expected) != list(actual):
        problems.append(f"has its columns in the order {', '.join(actual)}, not {', '.join(expected)}")
    if problems:
        raise DataError(f"{table.name} ({door}): " + "; ".join(problems))


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Missing columns (name: type), unknown ones, and those of another type, as parts of a sentence."""
    problems = [f"lacks {name} {expected[name]}" for name in expected if name not in actual]
    problems += [
        f"has {name} {actual[name]}, which the contract does not know" for name in actual if name not in expected
    ]
    return problems + [
        f"has {name} as {actual[name]}, not {expected[name]}"
        for name in expected
        if name in actual and actual[name] != expected[name]
    ]
