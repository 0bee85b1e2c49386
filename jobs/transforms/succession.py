"""Rows of a date in a table of records: which earlier ones remain when new ones are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Rows: TypeAlias = Iterable[Mapping[str, Any]]


def publications(earlier: Rows, new: Rows) -> list[dict[str, Any]]:
    """ops.publications: the new publication, and the earlier ones, of which none is current any more."""
    ids = {row["publication_id"] for row in new}
    others = (row for row in earlier if row["publication_id"] not in ids)
    return [*map(dict, new), *({**row, "current": False} for row in others)]


def models(earlier: Rows, new: Rows) -> list[dict[str, Any]]:
    """ops.models: the new models and the date's others, without a promoted one of a kind of which a new one is.

    Where the new one is not promoted, one of its kind stays promoted, so that a run still has one.
    """
    versions = {row["model_version"] for row in new}
    promoted = {_kind(row) for row in new if row["promoted"]}
    others = (row for row in earlier if row["model_version"] not in versions)
    return [
        *map(dict, new),
        *({**row, "promoted": bool(row["promoted"]) and _kind(row) not in promoted} for row in others),
    ]


def _kind(row: Mapping[str, Any]) -> str:
    return str(row["kind"] or "recommend")  # null: a row from before models had kinds


# Jobs compute the new rows of these tables; the lake merges them with the existing ones when it commits.
SUCCESSION: dict[str, Callable[[Rows, Rows], list[dict[str, Any]]]] = {
    "ops.publications": publications,
    "ops.models": models,
}
