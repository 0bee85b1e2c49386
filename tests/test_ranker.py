"""What the ranker knows of a candidate, computed by hand; the probability; a planted rule that it must find."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import ranker
from jobs.purchases import purchases
from schemas import features, silver
from tests.conftest import Rows

RUN_DATE = dt.date(2024, 1, 31)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def proposal(user_id: str, item_id: str, source: str, rank: int, score: float, reason: str | None) -> dict[str, Any]:
    """A candidate."""
    names = ("user_id", "item_id", "source", "rank", "score", "reason_item_id")
    return dict(zip(names, (user_id, item_id, source, rank, score, reason), strict=True))


def test_features_are_what_a_hand_computes(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", 20),
        sale("u1", "a", 20),  # the same day again: one purchase day
        sale("u1", "a", 10),
        sale("u1", "a", 4),  # three days in sixteen: a usual gap of eight
        sale("u1", "b", 1),  # bought once: no gap, never due
        sale("u1", "c", 28),  # before the 28 days: it counts as bought, not for activity or buyers
        sale(None, "a", basket_id="b1"),  # a guest is a buyer
    )
    candidates = rows(
        features.CANDIDATES,
        proposal("u1", "a", "own_history", 1, 1.5, "a"),
        proposal("u1", "a", "copurchase", 2, 0.25, "b"),  # the second generator: the same row
        proposal("u1", "a", "trending", 6, 9.0, None),
        proposal("u1", "b", "own_history", 2, 1.0, "b"),
        proposal("u1", "c", "bert", 3, 0.75, None),
        proposal("u2", "x", "bert", 4, 0.5, None),  # nobody knows anything of either
    )
    made = ranker.features(candidates, purchases(events), RUN_DATE).collect()
    found = {row.item_id: row.asDict() | {"sources": " ".join(row.sources)} for row in made}
    assert sorted(found) == ["a", "b", "c", "x"]

    def by_hand(known: dict[str, Any], **stated: float) -> dict[str, Any]:
        return known | dict.fromkeys(ranker.FEATURES, 0.0) | stated

    ln = math.log
    january = RUN_DATE.replace
    assert found["a"] == pytest.approx(
        by_hand(
            {
                "user_id": "u1",
                "item_id": "a",
                "sources": "copurchase own_history trending",
                "reason_item_id": "b",
                "buyers": 2,
                "times_bought": 3,
                "last_bought_on": january(day=27),
            },
            own_days=ln(2.5),
            own_place=1 / 5,
            copurchase=ln(1.25),
            copurchase_place=1 / 6,
            trending_place=1 / 10,
            popularity=ln(3),
            times=ln(4),
            is_repeat=1,
            recency=ln(5),
            due=4 / 8,
            activity=ln(5),  # days 20, 10, 4 and 1
            repeat_of_active_user=ln(5),
        )
    )
    assert found["b"] == pytest.approx(
        by_hand(
            {
                "user_id": "u1",
                "item_id": "b",
                "sources": "own_history",
                "reason_item_id": None,  # only a co-purchase has a reason of its own
                "buyers": 1,
                "times_bought": 1,
                "last_bought_on": january(day=30),
            },
            own_days=ln(2),
            own_place=1 / 6,
            popularity=ln(2),
            times=ln(2),
            is_repeat=1,
            recency=ln(2),
            activity=ln(5),
            repeat_of_active_user=ln(5),
        )
    )
    bert = {"sources": "bert", "reason_item_id": None, "buyers": 0}
    assert found["c"] == pytest.approx(
        by_hand(
            bert | {"user_id": "u1", "item_id": "c", "times_bought": 1, "last_bought_on": january(day=3)},
            bert=0.75,
            bert_place=1 / 7,
            proposed_by_bert=1,
            times=ln(2),
            is_repeat=1,
            recency=ln(29),
            activity=ln(5),
            repeat_of_active_user=ln(5),
        )
    )
    assert found["x"] == pytest.approx(
        by_hand(
            bert | {"user_id": "u2", "item_id": "x", "times_bought": 0, "last_bought_on": None},
            bert=0.5,
            bert_place=1 / 8,
            proposed_by_bert=1,
        )
    )


def test_due_has_a_floor_of_a_day_and_a_ceiling_of_four_gaps(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        *(sale("u1", "daily", days_ago) for days_ago in (2, 3)),  # a gap of one day, two days ago
        *(sale("u1", "lapsed", days_ago) for days_ago in (60, 62)),  # thirty gaps ago
    )
    candidates = rows(
        features.CANDIDATES, *(proposal("u1", item, "own_history", 1, 1.0, item) for item in ("daily", "lapsed"))
    )
    found = ranker.features(candidates, purchases(events), RUN_DATE).select("item_id", "due").collect()
    assert sorted(tuple(row) for row in found) == [("daily", 2.0), ("lapsed", 4.0)]


def test_a_score_is_the_logistic_of_the_weighted_sum(spark: SparkSession) -> None:
    weights = {name: (-1) ** at * (at + 1) / 10 for at, name in enumerate(ranker.FEATURES)}
    table = [
        tuple(0.0 for _ in weights),
        tuple((at * row) % 7 / 3 for at, row in zip(range(len(weights)), itertools.repeat(5))),
        tuple(1000.0 * (-1) ** at for at in range(len(weights))),  # e^-x overflows nothing
        tuple(-1000.0 * (-1) ** at for at in range(len(weights))),
    ]
    frame = spark.createDataFrame(table, ", ".join(f"{name} DOUBLE" for name in weights))
    scored = frame.select(ranker.score({"weights": weights, "intercept": -1.5}).alias("score")).collect()
    sums = [-1.5 + sum(w * x for w, x in zip(weights.values(), row, strict=True)) for row in table[:2]]
    expected = [1 / (1 + math.exp(-linear)) for linear in sums]
    assert [row.score for row in scored] == pytest.approx([*expected, 1, 0], abs=5.1e-7)
    assert scored[0].score == 0.182426  # six decimals


def test_fit_finds_a_planted_rule_and_names_every_feature(spark: SparkSession) -> None:
    table = []
    for is_repeat, bert in itertools.product((0.0, 1.0), (0.0, 0.5, 1.0)):
        buys = round(200 / (1 + math.exp(-(-2 + 3 * is_repeat - 1 * bert))))  # of 200 such pairs
        for number in range(200):
            noise = {"due": number % 2}  # says nothing
            row = dict.fromkeys(ranker.FEATURES, 0.0) | {"is_repeat": is_repeat, "bert": bert} | noise
            table.append((*map(float, row.values()), float(number < buys)))
    columns = ", ".join(f"{name} DOUBLE" for name in [*ranker.FEATURES, "label"])
    labelled = spark.createDataFrame(table, columns)
    fitted = ranker.fit(labelled)
    assert set(fitted) == {"kind", "weights", "intercept"}
    assert list(fitted["weights"]) == list(ranker.FEATURES)
    assert fitted["intercept"] == pytest.approx(-2, abs=0.1)
    planted = dict.fromkeys(ranker.FEATURES, 0.0) | {"is_repeat": 3, "bert": -1}
    assert fitted["weights"] == pytest.approx(planted, abs=0.1)
    bought = labelled.where("is_repeat = 1 AND bert = 0").select(ranker.score(fitted).alias("score")).first()
    assert bought is not None
    assert bought.score == pytest.approx(1 / (1 + math.exp(-1)), abs=0.02)  # a probability, not only an order


def test_a_ranker_that_lacks_a_feature_is_refused(spark: SparkSession) -> None:
    weights = dict.fromkeys(ranker.FEATURES, 1.0)
    del weights["due"]
    with pytest.raises(KeyError, match="due"):
        ranker.score({"weights": weights, "intercept": 0.0})
