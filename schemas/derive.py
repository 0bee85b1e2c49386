"""Derived from a contract: Delta types, constraints, the reference page, rows for tests. Standard library only."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from schemas.contract import QUANTITY, Table
from schemas.reason_codes import reference_section


def plain_ddl(table: Table) -> str:
    """Names and types alone, as Spark DDL: the schema of a frame of this table."""
    return ", ".join(f"`{column.name}` {column.type}" for column in table.columns)


def constraints(table: Table) -> dict[str, str]:
    """Delta CHECK constraints by name: the critical checks that one row decides (presence is NOT NULL's affair).

    To Delta a null is a violation, to SQL and to the contract it is not: hence IS NOT FALSE.
    """
    return {
        check.name: f"({check.sql}) IS NOT FALSE"
        for check in table.row_checks()
        if check.sql and check.severity == "critical" and not check.name.endswith("_present")
    }


WITHOUT_STATISTICS = ("ARRAY", "MAP", "STRUCT", "BINARY", "BOOLEAN")


def statistics_property(table: Table) -> dict[str, str]:
    """The Delta property that keeps minima and maxima of personal columns out of a table's log; none without them.

    A minimum is a value: it would stay in the log, its checkpoints and checksums after its row is gone.
    """
    if not table.personal:
        return {}
    named = (c.name for c in table.columns if not c.personal and not c.type.upper().startswith(WITHOUT_STATISTICS))
    return {"delta.dataSkippingStatsColumns": ",".join(named)}


PRIMITIVES = {"INT": "integer", "BIGINT": "long", "TINYINT": "byte"}


def delta_type(sql_type: str) -> Any:
    """A Spark SQL type as Delta's log writes it: a name, or of arrays, maps and structs a JSON object."""
    text = re.sub(r"\s+", " ", sql_type.strip())
    kind, _, inner = text.partition("<")
    inner = inner.removesuffix(">").strip()
    if kind.upper() == "ARRAY":
        return {"type": "array", "elementType": delta_type(inner), "containsNull": True}
    if kind.upper() == "MAP":
        key, value = inner.split(",", 1)
        types = {"keyType": delta_type(key), "valueType": delta_type(value)}
        return {"type": "map", **types, "valueContainsNull": True}
    if kind.upper() == "STRUCT":
        fields = (part.strip().split(":") for part in inner.split(","))
        return {
            "type": "struct",
            "fields": [
                {"name": name.strip(), "type": delta_type(of), "nullable": True, "metadata": {}} for name, of in fields
            ],
        }
    return PRIMITIVES.get(text.upper(), text.lower())


REFERENCE_INTRO = (
    "For those who read or write tables, in SQL or in code: what one row is, its columns, and what always holds. "
    "Generated from `schemas/` by `make docs`. Tables marked public are for other systems; their columns are only ever "
    "added."
)


def reference_page(tables: Iterable[Table]) -> str:
    """The tables' reference in Markdown: what a row is, columns, checks; then the reasons for rejected records."""
    parts = ["# Tables", "", REFERENCE_INTRO]
    for table in tables:
        parts += ["", f"## {table.name}{' (public)' if table.public else ''}", "", f"One row: {table.row}."]
        parts += [f"Key within a `run_date`: {', '.join(f'`{name}`' for name in table.key)}."] * bool(table.key)
        parts += ["", "| column | type | what it is |", "|---|---|---|"]
        for column in table.columns:
            optional = " May be null." * column.nullable + " Personal." * column.personal
            must = "".join(f" It {rule.reason}." for rule in column.rules)
            parts.append(f"| `{column.name}` | {column.type} | {column.comment}.{optional}{must} |")
        parts += [""] * bool(table.extra_checks) + [f"- {check.reason}" for check in table.extra_checks]
    return "\n".join([*parts, "", reference_section()]) + "\n"


EXAMPLES: dict[str, Any] = {
    "DATE": dt.date(2024, 1, 31),
    "TIMESTAMP": dt.datetime(2024, 1, 31, 12, 0, tzinfo=dt.UTC),
    "STRING": "text",
    "INT": 1,
    "BIGINT": 2,
    QUANTITY: Decimal(1),
    "DOUBLE": 0.5,
    "BOOLEAN": False,
    "BINARY": b"\x00\x3c",
    "ARRAY<STRING>": ["text"],
    "MAP<STRING, BIGINT>": {},
    "MAP<STRING, DOUBLE>": {},
    "MAP<STRING, STRING>": {},
}


def example_value(table: Table, name: str) -> Any:
    """A valid value of a column: null if nullable, else the first allowed word or a value of its type."""
    column = table.column(name)
    if column.nullable:
        return None
    for rule in column.rules:
        if rule.name == "known":
            return rule.kwargs["value_set"][0]
    return [] if column.type.startswith("ARRAY<STRUCT") else EXAMPLES[column.type]


def example_rows(table: Table, *stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Valid rows for tests: given values, the other columns filled in; text keys that are not given differ by row."""
    rows = []
    for number, values in enumerate(stated, start=1):
        if unknown := set(values) - set(table.column_names):
            raise KeyError(f"{table.name} has no column {sorted(unknown)}")
        row = {name: example_value(table, name) for name in table.column_names}
        free = [name for name in table.key if not any(rule.name == "known" for rule in table.column(name).rules)]
        row |= {name: f"{name}-{number}" for name in free if table.column(name).type == "STRING"}
        row |= {name: number + 1 for name in free if table.column(name).type == "BIGINT"}
        row |= {name: _exact(table.column(name).type, value) for name, value in values.items()}
        rows.append(row)
    return rows


def _exact(sql_type: str, value: Any) -> Any:
    """A value converted to the type of a column: a number to a decimal where the column is one."""
    return Decimal(str(value)) if sql_type == QUANTITY and value is not None else value


def plain_type(sql_type: str) -> str:
    """A type as Spark's simpleString writes it: `MAP<STRING, BIGINT>` becomes `map<string,bigint>`."""
    return re.sub(r"\s", "", sql_type).lower()
