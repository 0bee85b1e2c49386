"""Exposure of groups of items: equal to plain Python's, intervals that hold the truth, and limits that warn."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pyspark.sql import DataFrame

from jobs.measure_exposure import measure_exposure
from jobs.transforms.exposure import measured
from schemas import exposure, gold, silver
from schemas.deployment import Deployment
from schemas.drift import Drift
from schemas.source import Source
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 1, 31)
ITEMS = {  # item: brand, category, days since its first sale (None: never sold)
    "a1": ("acme", "x", 100),
    "a2": ("acme", "y", 10),
    "b1": ("best", "x", 100),
    "c1": (None, "y", None),
}
LISTS = {"u1": ["a1", "b1"], "u2": ["a2", "a1"], "u3": ["a1", "c1"]}
SOLD = [  # buyer, item, location, days ago; a1 has most buyers, and was first sold long ago
    *(("u1", "a1", "s1", 3), ("u2", "a1", "s1", 3), ("u3", "a1", "s2", 2), ("u1", "a1", "s1", 100)),
    *(("u1", "a2", "s2", 10), ("u2", "b1", "s2", 1), ("u2", "b1", "s2", 2), ("u3", "b1", "s1", 100)),
]


def shop(rows: Rows) -> tuple[DataFrame, ...]:
    items = [{"item_id": name, "brand": of[0], "category": of[1], "title": name} for name, of in ITEMS.items()]
    events = [
        {
            "event_id": f"e{number}",
            "event_type": "purchase",
            "user_id": user,
            "item_id": item,
            "location_id": location,
            "event_date": RUN_DATE - dt.timedelta(days=ago),
            "run_date": RUN_DATE - dt.timedelta(days=ago),
            "quantity": 1.0,
        }
        for number, (user, item, location, ago) in enumerate(SOLD)
    ]
    lists = [
        {"run_date": RUN_DATE, "user_id": user, "rank": rank, "item_id": item}
        for user, listed in LISTS.items()
        for rank, item in enumerate(listed, 1)
    ]
    return (
        rows(silver.EVENTS, *events),
        rows(silver.ITEMS, *items),
        rows(gold.RECOMMENDATIONS, *lists),
        rows(gold.SIMILAR_ITEMS, {"item_id": "a1", "similar_item_id": "b1", "rank": 1}),
        rows(gold.DEFAULT_RECOMMENDATIONS),
    )


def run_with(**drift: Any) -> Any:
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items")}
    return run_of(RUN_DATE, Deployment.model_construct(name="test", sources=sources, drift=Drift.model_validate(drift)))


def test_exposure_and_bought_share_are_those_of_plain_python(rows: Rows) -> None:
    found = measure_exposure(*shop(rows), run=run_with()).persist()
    assert broken(exposure.EXPOSURE, found) == []
    mine = {(row.kind, row.group): row for row in found.collect() if row.table_name == "gold.recommendations"}
    group = {
        "brand": {name: of[0] for name, of in ITEMS.items()},
        "category": {name: of[1] for name, of in ITEMS.items()},
        "location": {"a1": "s1", "a2": "s2", "b1": "s2"},
        "tail": {"a1": "head", "a2": "tail", "b1": "tail", "c1": "tail"},
        "new": {"a1": "known", "a2": "new", "b1": "known", "c1": "new"},
    }
    pairs = {(user, item) for user, item, _, ago in SOLD if ago < 28}
    first, second = 1 / (1 + 1 / math.log2(3)), 1 - 1 / (1 + 1 / math.log2(3))
    for kind, of in group.items():
        exposed: dict[Any, float] = defaultdict(float)
        for listed in LISTS.values():
            for item, share in zip(listed, (first, second), strict=True):
                exposed[of.get(item)] += share / len(LISTS)
        bought = Counter(of.get(item) for _, item in pairs)
        names = {name for name in (*exposed, *bought) if name is not None}
        assert {name for at, name in mine if at == kind} == names
        for name in names:
            row = mine[kind, name]
            assert row.exposure == pytest.approx(exposed[name])
            assert row.bought_share == pytest.approx(bought[name] / len(pairs))
            assert row.lists == 3
            assert row.is_within is None
            if bought[name]:
                assert row.ratio == pytest.approx(exposed[name] / row.bought_share)
    similar = {(row.kind, row.group): row for row in found.collect() if row.table_name == "gold.similar_items"}
    assert (similar["brand", "best"].exposure, similar["brand", "acme"].exposure) == (1, 0)
    assert (similar["brand", "acme"].low, similar["brand", "acme"].high) == (0, pytest.approx(3 / 0.8))
    assert {row.table_name for row in found.collect()} == {"gold.recommendations", "gold.similar_items"}


def test_intervals_hold_the_ratio_of_a_known_shop(rows: Rows) -> None:
    """Of 40 shops of 300 lists and buyers, whose shares of group `a` are 0.3 and 0.2: about two miss the ratio 1.5."""
    draw, missed = np.random.default_rng(4), 0
    of_item = rows(silver.ITEMS, {"item_id": "a"}, {"item_id": "b"}).selectExpr(
        "item_id", "'brand' AS kind", "item_id AS group"
    )
    session = of_item.sparkSession
    lists, sold = [], []
    for number in range(40):
        for user in range(300):
            lists.append((f"t{number}", user, "a" if draw.random() < 0.3 else "b", 1.0))
    for user in range(3_000):
        sold.append((f"u{user}", "g", "a" if draw.random() < 0.2 else "b"))
    listed = session.createDataFrame(lists, "table_name STRING, list BIGINT, item_id STRING, share DOUBLE")
    bought = session.createDataFrame(sold, "user_id STRING, basket_id STRING, item_id STRING")
    for row in measured(listed, of_item, bought).where("group = 'a'").collect():
        missed += not row.low <= 1.5 <= row.high
    assert missed <= 6


def test_a_group_outside_its_limits_fails_the_check_and_only_beyond_chance(rows: Rows) -> None:
    found = measure_exposure(*shop(rows), run=run_with(exposure={"tail": {"most": 1e-6}, "new": {"least": 0.1}}))
    of = {(row.kind, row.group): row.is_within for row in found.collect() if row.table_name == "gold.recommendations"}
    assert of["tail", "head"] is False
    assert of["new", "new"] is of["new", "known"] is True
    assert of["brand", "acme"] is None
    assert "exposure over bought share must be within [drift.exposure]" in broken(exposure.EXPOSURE, found)


def test_limits_that_contradict_each_other_or_name_no_kind_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"most = 1\.0 must be above least = 2\.0"):
        Drift.model_validate({"exposure": {"brand": {"least": 2, "most": 1}}})
    with pytest.raises(ValidationError, match="exposure"):
        Drift.model_validate({"exposure": {"colour": {"least": 0.5}}})
