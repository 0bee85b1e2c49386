"""Contract of a table: its columns, key and checks, declared once; all else derives from it. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["critical", "warning"]
LAYERS = ("bronze", "silver", "features", "ops", "gold")
PARTITION = "run_date"
QUANTITY = "DECIMAL(18,3)"  # units of an item, some of which are weighed or measured: 0.45 kg


@dataclass(frozen=True)
class Check:
    """One statement about a table. `sql` is true for a good row; null counts as good, as in an SQL CHECK.

    A check with `sql` and no `column` is about several columns of a row; one with a `query` about the complete table:
    the query, over `{batch}`, returns the offending rows.
    `expectation` and `kwargs`: the equivalent Great Expectations class. An error shows a failing row's key, the columns
    that `sql` names, and those `shown`. `distinct`: columns that no two rows share; the query shows the duplicates,
    which are counted without it.
    """

    name: str
    reason: str
    expectation: str
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    column: str | None = None
    sql: str | None = None
    query: str | None = None
    severity: Severity = "critical"
    shown: tuple[str, ...] = ()
    distinct: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule for the values of a column; `sql`, `reason` and the expectation's arguments refer to `{column}`."""

    name: str
    sql: str
    reason: str
    expectation: str
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    severity: Severity = "critical"

    def bind(self, column: str) -> Check:
        """The check of this rule for one column."""
        return Check(
            name=f"{column}_{self.name}",
            reason=f"{column} {self.reason}",
            expectation=self.expectation,
            kwargs={"column": column, **self.kwargs},
            column=column,
            sql=self.sql.format(column=f"`{column}`"),
            severity=self.severity,
        )


def between(low: float | None, high: float | None, severity: Severity = "critical") -> Rule:
    """A number from `low` to `high`, both allowed; None leaves that side open."""
    bounds = [f"{{column}} >= {low!r}"] * (low is not None) + [f"{{column}} <= {high!r}"] * (high is not None)
    words = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return Rule(
        "in_range",
        " AND ".join(bounds),
        f"must be {' and '.join(words)}",
        "ExpectColumnValuesToBeBetween",
        {"min_value": low, "max_value": high},
        severity,
    )


def one_of(*values: str) -> Rule:
    """One of a few words (a large set belongs in a join, not here)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Rule(
        "known",
        f"{{column}} IN ({listed})",
        f"must be one of {', '.join(values)}",
        "ExpectColumnValuesToBeInSet",
        {"value_set": list(values)},
    )


def not_blank(max_length: int = 10_000) -> Rule:
    """A text of one to `max_length` characters."""
    return Rule(
        "not_blank",
        f"length({{column}}) BETWEEN 1 AND {max_length}",
        f"must have 1 to {max_length} characters",
        "ExpectColumnValueLengthsToBeBetween",
        {"min_value": 1, "max_value": max_length},
    )


def not_shortened() -> Rule:
    """An id not shortened by a spreadsheet, which turns several long numbers into 8.50E+12."""
    pattern = "^[0-9]([.,][0-9]+)?[eE][+][0-9]+$"
    return Rule(
        "not_shortened",
        f"{{column}} NOT LIKE '%+%' OR NOT regexp_like({{column}}, '{pattern}')",
        "must not be a number that a spreadsheet has shortened, such as 8.50E+12: it may stand for several",
        "ExpectColumnValuesToNotMatchRegex",
        {"regex": pattern},
    )


@dataclass(frozen=True)
class Column:
    """One column: `type` is a Spark SQL type; a column is required unless `nullable`."""

    name: str
    type: str
    comment: str
    nullable: bool = False
    rules: tuple[Rule, ...] = ()
    personal: bool = False  # a value may identify a person: no stored or sent error shows it, no table's log has it

    def checks(self) -> list[Check]:
        """Presence first, then each rule."""
        present = Check(
            name=f"{self.name}_present",
            reason=f"{self.name} is missing",
            expectation="ExpectColumnValuesToNotBeNull",
            kwargs={"column": self.name},
            column=self.name,
            sql=f"`{self.name}` IS NOT NULL",
        )
        return [present] * (not self.nullable) + [rule.bind(self.name) for rule in self.rules]


@dataclass(frozen=True)
class Table:
    """One table of the lake. `row` says what one row is; `key` columns identify it within a `run_date`.

    `checks` are statements about several columns or rows; `public` tables are what other systems read:
    their columns are only ever added. `may_be_empty`: a gold table that a run may leave without a row. `amounts`: by
    name, SQL aggregates over a gold table's rows of one run_date, compared with those of earlier dates. `shows`: SQL
    over a row of a gold table that names the item that others are shown for it; "" for a table that shows none.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    extra_checks: tuple[Check, ...] = ()
    public: bool = False
    may_be_empty: bool = False
    amounts: Mapping[str, str] = field(default_factory=dict, hash=False)
    shows: str = ""

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself."""
        names = self.column_names
        if self.layer not in LAYERS or not re.fullmatch(r"[a-z]+\.[a-z_]+", self.name):
            raise ValueError(f"table {self.name!r}: a name is <layer>.<table>, layer one of {', '.join(LAYERS)}")
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name}: a column is declared twice")
        if names[0] != PARTITION:
            raise ValueError(f"table {self.name}: the first column is {PARTITION}, the partition")
        if unknown := set(self.key) - set(names):
            raise ValueError(f"table {self.name}: key columns that are not declared: {sorted(unknown)}")

    @property
    def layer(self) -> str:
        """bronze, silver, features, ops or gold."""
        return self.name.split(".")[0]

    @property
    def short_name(self) -> str:
        """The name without its layer."""
        return self.name.split(".")[1]

    @property
    def parameter(self) -> str:
        """The name of a job's parameter for this table: its short name; bronze tables have their layer as prefix."""
        return f"bronze_{self.short_name}" if self.layer == "bronze" else self.short_name

    @property
    def column_names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def personal(self) -> frozenset[str]:
        """Names of the columns whose values may identify a person."""
        return frozenset(column.name for column in self.columns if column.personal)

    def column(self, name: str) -> Column:
        """One column by name; KeyError names the table."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    def row_checks(self) -> list[Check]:
        """Checks that one row decides: they separate accepted from rejected rows."""
        return [check for check in self.checks() if check.sql]

    def checks(self) -> list[Check]:
        """Every check, in column order, then the table's own, then the key."""
        of_columns = [check for column in self.columns for check in column.checks()]
        return [*of_columns, *self.extra_checks, *self._key_check()]

    def _key_check(self) -> Sequence[Check]:
        covered = self.key[-1:] == ("rank",) and any(check.name == "ranks_dense" for check in self.extra_checks)
        if not self.key or covered:  # dense ranks within a group are unique in it
            return ()
        return (_unique("key_unique", tuple(dict.fromkeys((PARTITION, *self.key)))),)


def row_check(name: str, sql: str, reason: str, severity: Severity = "critical", shown: tuple[str, ...] = ()) -> Check:
    """A statement about several columns of one row; `sql` is true for a good row.

    The audit adds a column, named like the check, with its result for each row.
    """
    arguments = {"column": name, "value_set": [True]}
    return Check(name, reason, "ExpectColumnValuesToBeInSet", arguments, None, sql, None, severity, shown)


def table_check(name: str, query: str, reason: str, severity: Severity = "critical") -> Check:
    """A statement about many rows; `query` over `{batch}` returns the rows that break it."""
    return Check(name, reason, "UnexpectedRowsExpectation", {}, None, None, query, severity)


def dense_rank_check(*group: str, where: str = "true") -> Check:
    """Ranks run 1, 2, 3, ... without gap or repeat within each group, of the rows for which `where` (SQL) is true."""
    columns = ", ".join((PARTITION, *group))
    query = (
        f"SELECT {columns} FROM {{batch}} WHERE {where} GROUP BY {columns} "
        "HAVING min(rank) <> 1 OR max(rank) <> count(*) OR size(collect_set(rank)) <> count(*)"
    )
    return table_check("ranks_dense", query, f"ranks must run 1, 2, 3, ... within ({columns})")


def unique_check(*columns: str) -> Check:
    """No two rows of a run_date share these columns (beside the key)."""
    return _unique(f"{'_'.join(columns)}_unique", (PARTITION, *columns))


def _unique(name: str, columns: tuple[str, ...]) -> Check:
    listed = ", ".join(columns)
    query = f"SELECT {listed} FROM {{batch}} GROUP BY {listed} HAVING count(*) > 1"
    return replace(table_check(name, query, f"({listed}) must be unique"), distinct=columns)
