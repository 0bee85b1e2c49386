"""Every active item's neighbours against brute force, items that share a text included."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from jobs.find_similar_items import find_similar_items
from jobs.transforms import vectors
from schemas import features, gold, silver
from tests.conftest import Rows, broken, run_of
from udfs.encoder.stored_vectors import to_bytes

RUN_DATE = dt.date(2024, 1, 31)


def sale(item_id: str, days_ago: int = 0) -> dict[str, Any]:
    """A guest's purchase."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "item_id": item_id, "basket_id": f"b {item_id}", "event_date": day}


def catalogue(rows: Rows, *item_ids: str) -> DataFrame:
    return rows(silver.ITEMS, *({"item_id": item_id} for item_id in item_ids))


def listed(frame: Any) -> dict[str, list[tuple[str, float]]]:
    """Per item its (similar item, score), by rank."""
    answer: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(frame.collect(), key=lambda row: (row.item_id, row.rank)):
        answer.setdefault(row.item_id, []).append((row.similar_item_id, row.score))
    return answer


def test_equals_brute_force_among_active_items(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "QUERIES_PER_BLOCK", 5)
    monkeypatch.setattr(vectors, "ITEMS_PER_BLOCK", 5)
    draw = np.random.default_rng(9)
    directions = draw.normal(size=(9, 8))
    stored = (0.99 * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float16)
    names = [f"i{number:02}" for number in range(24)]
    text_of = dict(zip(names, draw.integers(0, 9, 24).tolist(), strict=True))  # many share a text
    text_of |= dict.fromkeys(names[:6], 0)  # more items of one text than a list is long
    active = names[:-3]

    def score(one: str, other: str) -> float:
        products = zip(stored[text_of[one]].tolist(), stored[text_of[other]].tolist(), strict=True)
        return float(np.float32(float(sum(Fraction(a) * Fraction(b) for a, b in products))))

    events = rows(
        silver.EVENTS,
        *(sale(name, 83) for name in active),
        sale(names[-3], 84),  # too long ago
        sale(names[-2]) | {"event_type": "click"},  # never bought
        sale("unknown"),  # no vector
    )
    cells = to_bytes(stored)
    item_vectors = rows(
        features.ITEM_VECTORS,
        *({"item_id": n, "text_key": f"k{text_of[n]}", "vector": cells[text_of[n]]} for n in reversed(names)),
    )
    found = find_similar_items(
        events,
        catalogue(rows, *names),
        item_vectors,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        run=run_of(RUN_DATE),
        top_k=4,
    ).persist()
    assert broken(gold.SIMILAR_ITEMS, found) == []
    lists = listed(found)
    assert sorted(lists) == active
    for name in active:
        expected = sorted((-score(name, other), other) for other in active if other != name)[:4]
        assert [other for other, _ in lists[name]] == [other for _, other in expected]
        assert [value for _, value in lists[name]] == pytest.approx([-minus for minus, _ in expected], abs=1e-6)


def test_a_shop_smaller_than_a_list_gives_all_others(rows: Rows) -> None:
    cells = to_bytes(np.eye(3))
    item_vectors = rows(
        features.ITEM_VECTORS,
        *({"item_id": name, "text_key": name, "vector": cell} for name, cell in zip("abc", cells, strict=True)),
    )
    events = rows(silver.EVENTS, *map(sale, "abc"))
    found = find_similar_items(
        events, catalogue(rows, *"abc"), item_vectors, rows(silver.STOCK), rows(silver.BLOCKED), run=run_of(RUN_DATE)
    )
    assert listed(found) == {  # equally near: by item_id
        "a": [("b", 0.0), ("c", 0.0)],
        "b": [("a", 0.0), ("c", 0.0)],
        "c": [("a", 0.0), ("b", 0.0)],
    }


def test_a_cosine_is_at_most_one_for_items_of_one_text(rows: Rows) -> None:
    vector = np.random.default_rng(0).normal(size=(1, 384))
    vector /= np.linalg.norm(vector)
    assert (vector.astype(np.float16).astype(float) ** 2).sum() > 1.00001  # of random vectors, about every other
    (cell,) = to_bytes(vector)
    item_vectors = rows(
        features.ITEM_VECTORS, *({"item_id": name, "text_key": "k", "vector": cell} for name in ("a", "b"))
    )
    events = rows(silver.EVENTS, sale("a"), sale("b"))
    found = find_similar_items(
        events, catalogue(rows, "a", "b"), item_vectors, rows(silver.STOCK), rows(silver.BLOCKED), run=run_of(RUN_DATE)
    ).persist()
    assert broken(gold.SIMILAR_ITEMS, found) == []
    assert listed(found) == {"a": [("b", 1.0)], "b": [("a", 1.0)]}


def test_an_excluded_item_has_a_list_and_is_in_none(rows: Rows) -> None:
    cells = to_bytes(np.eye(4))
    item_vectors = rows(
        features.ITEM_VECTORS,
        *({"item_id": name, "text_key": name, "vector": cell} for name, cell in zip("abcd", cells, strict=True)),
    )
    run = run_of(RUN_DATE)
    excluding = run.deployment.model_copy(update={"jobs": {"rank_recommendations": {"exclude": "item_id IN ('a')"}}})
    events = rows(silver.EVENTS, *map(sale, "abcd"))
    others = {  # as long as any
        "a": [("b", 0.0), ("c", 0.0)],
        "b": [("c", 0.0), ("d", 0.0)],
        "c": [("b", 0.0), ("d", 0.0)],
        "d": [("b", 0.0), ("c", 0.0)],
    }
    items = catalogue(rows, *"abcd")
    found = find_similar_items(
        events,
        items,
        item_vectors,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        run=replace(run, deployment=excluding),
        top_k=2,
    )
    assert listed(found) == others
    gone = items.withColumn("active", items["item_id"] != "a")
    assert (
        listed(
            find_similar_items(events, gone, item_vectors, rows(silver.STOCK), rows(silver.BLOCKED), run=run, top_k=2)
        )
        == others
    )
