"""What becomes of a date's publications and models when new ones join them."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.transforms import succession

MODELS: list[dict[str, Any]] = [
    {"model_version": name, "promoted": True, "kind": kind}
    for name, kind in (("a", "demand"), ("b", None), ("c", "recommend"), ("d", "demand"))
]


def model(version: str, kind: str | None, promoted: bool) -> dict[str, Any]:
    return {"model_version": version, "kind": kind, "promoted": promoted}


@pytest.mark.parametrize(
    ("new", "promoted"),
    [
        (model("e", "demand", False), {"a", "b", "c", "d"}),
        (model("e", "demand", True), {"b", "c", "e"}),
        (model("e", "recommend", True), {"a", "d", "e"}),  # null is recommend
        (model("a", "demand", False), {"b", "c", "d"}),  # trained again: its row is replaced
        (model("a", "demand", True), {"a", "b", "c"}),
    ],
)
def test_a_promoted_model_takes_the_place_of_those_of_its_kind(new: dict[str, Any], promoted: set[str]) -> None:
    found = succession.models(MODELS, [new])
    assert {row["model_version"] for row in found if row["promoted"]} == promoted
    assert {row["model_version"] for row in found} == {row["model_version"] for row in MODELS} | {new["model_version"]}
    assert len(found) == len({row["model_version"] for row in found})


def test_only_the_newest_publication_is_current() -> None:
    earlier = [{"publication_id": name, "table_name": "t", "current": name == "p1"} for name in ("p0", "p1")]
    new = [{"publication_id": "p2", "table_name": name, "current": True} for name in ("t", "u")]
    found = succession.publications(earlier, new)
    assert [(row["publication_id"], row["current"]) for row in found] == [
        ("p2", True),
        ("p2", True),
        ("p0", False),
        ("p1", False),
    ]
    assert earlier[1]["current"], "the rows that were given stay as they are"
    assert succession.publications(found, new)[:2] == new
    assert len(succession.publications(found, new)) == 4
