"""Each generator against a few lines of plain Python, and all four together against their contract."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from jobs import quality
from jobs.generate_candidates import copurchased, generate_candidates, own_history, through_neighbours, trending
from jobs.purchases import ONE, purchases
from jobs.runtime import check_schema
from schemas import features, silver
from schemas.contract import Table
from tests.conftest import Rows
from udfs.encoder import to_bytes

RUN_DATE = dt.date(2024, 1, 31)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def age(event: dict[str, Any]) -> int:
    return (RUN_DATE - event["event_date"]).days


def weight(days: int, half_life: float) -> int:
    """What decay() gives."""
    return math.floor(ONE * 0.5 ** (days / half_life) + 0.5)


def broken(table: Table, frame: DataFrame) -> list[str]:
    """The reasons of every check of a contract that a frame breaks, after its columns were checked."""
    check_schema(table, frame, "in a test")
    here = frame.sparkSession.createDataFrame(frame.collect(), frame.schema)
    here.createOrReplaceTempView("batch")
    found = {reason for row in here.select(quality.reasons(table.checks())).collect() for reason in row[0]}
    queries = [(check.reason, check.query.format(batch="batch")) for check in table.checks() if check.query]
    return sorted(found | {reason for reason, query in queries if frame.sparkSession.sql(query).take(1)})


def vectors(rows: Rows, table: Table, names: list[str], seed: int) -> DataFrame:
    """One random unit vector of 8 dims for each name; every third shares its text with the one before."""
    draw = np.random.default_rng(seed)
    drawn = draw.normal(size=(len(names), 8))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    text_of = {name: number - (number % 3 == 2) for number, name in enumerate(names)}
    cells = to_bytes(drawn)
    key = "item_id" if table is features.ITEM_VECTORS else "user_id"
    return rows(table, *({key: name, "text_key": f"k{at}", "vector": cells[at]} for name, at in text_of.items()))


def test_own_history_counts_days_each_halved_with_age(rows: Rows, spark: SparkSession) -> None:
    bought = purchases(
        rows(
            silver.EVENTS,
            sale("u1", "a"),
            sale("u1", "a"),  # twice on one day is one day
            sale("u1", "a", days_ago=10),
            sale("u1", "b", days_ago=20),
            sale("u2", "a", days_ago=30),
            sale("u1", "old"),  # no longer active
            sale(None, "a", basket_id="b1"),  # a guest has no history
        )
    )
    active = spark.createDataFrame([("a",), ("b",), ("c",)], "item_id STRING")
    found = own_history(bought, active, RUN_DATE, 10.0).select("user_id", "item_id", "score").collect()
    assert sorted(tuple(row) for row in found) == [("u1", "a", 1.5), ("u1", "b", 0.25), ("u2", "a", 0.125)]


def test_copurchased_equals_the_oracle(rows: Rows, spark: SparkSession) -> None:
    draw = random.Random(5)
    days, half_life, neighbours, min_baskets, max_basket = 30, 12.0, 6, 2, 5
    sold = [f"i{number}" for number in range(9)]
    active = set(sold[1:])
    drawn = []
    for basket in range(22):
        at = draw.randrange(36)  # some before the window
        for item in draw.sample(sold, draw.choice([1, 2, 3, 5, 7])):  # some larger than max_basket
            drawn.append(sale(None, item, at + draw.randrange(2), basket_id=f"b{basket}"))  # some over midnight
    drawn.append(drawn[0])  # a line twice in one basket

    lines = [event for event in drawn if age(event) < days and event["item_id"] in active]
    met: dict[str, set[str]] = {}
    newest: dict[str, int] = {}
    for event in lines:
        met.setdefault(event["basket_id"], set()).add(event["item_id"])
        newest[event["basket_id"]] = min(age(event), newest.get(event["basket_id"], days))
    weights = {basket: weight(newest[basket], half_life) for basket in met if len(met[basket]) <= max_basket}
    size = {item: sum(w for b, w in weights.items() if item in met[b]) / ONE for item in active}
    expected, chances = [], 0
    for one in sorted(active):
        shared = {o: [w for b, w in weights.items() if {one, o} <= met[b]] for o in active - {one}}
        chances += sum(len(found) == 1 for found in shared.values())
        cosine = {o: sum(found) / ONE / (math.sqrt(size[one] * size[o]) + 1) for o, found in shared.items()}
        scored = sorted((-round(cosine[o], 6), o) for o, found in shared.items() if len(found) >= min_baskets)
        expected += [(one, other, -minus) for minus, other in scored[:neighbours]]
    assert len(expected) > 15
    assert chances > 5  # pairs that met in one basket only
    assert len(weights) < len(met)  # a wholesale basket was left out

    draw.shuffle(drawn)
    catalogue = spark.createDataFrame([(item,) for item in active], "item_id STRING")
    bought = purchases(rows(silver.EVENTS, *drawn))
    found = copurchased(
        bought,
        catalogue,
        RUN_DATE,
        days=days,
        half_life_days=half_life,
        neighbours=neighbours,
        min_baskets=min_baskets,
        max_basket=max_basket,
    )
    assert sorted(tuple(row) for row in found.select("item_id", "other_id", "similarity").collect()) == sorted(expected)


def test_neighbours_add_up_and_the_reason_is_what_adds_most(spark: SparkSession) -> None:
    own = spark.createDataFrame(
        [
            ("u1", "a", 1.0),
            ("u1", "b", 0.5),
            ("u1", "c", 0.1),  # the third: beyond the two strongest
            ("u2", "c", 0.1),
        ],
        "user_id STRING, item_id STRING, score DOUBLE",
    )
    similar = spark.createDataFrame(
        [
            ("a", "x", 0.2),  # adds 0.2
            ("b", "x", 0.6),  # adds 0.3: the reason, though a is the stronger
            ("a", "y", 0.4),  # adds 0.4: the reason
            ("b", "y", 0.2),  # adds 0.1
            ("c", "x", 1.0),  # for u2 only
            ("a", "b", 0.1),  # an own item may be proposed too
        ],
        "item_id STRING, other_id STRING, similarity DOUBLE",
    )
    found = through_neighbours(own, similar, 2).select("user_id", "item_id", "score", "reason_item_id")
    assert sorted(tuple(row) for row in found.collect()) == [
        ("u1", "b", 0.1, "a"),
        ("u1", "x", 0.5, "b"),
        ("u1", "y", 0.5, "a"),
        ("u2", "x", 0.1, "c"),
    ]


def test_trending_equals_the_oracle(rows: Rows) -> None:
    draw = random.Random(6)
    users = [("u1", "b1"), ("u2", "b2"), (None, "b3"), (None, "b4"), ("u1", "b5")]
    drawn = []
    for _ in range(80):
        user, basket = draw.choice(users)
        drawn.append(sale(user, f"i{draw.randrange(9)}", draw.randrange(18), basket_id=basket))
    met = {(event["item_id"], age(event), event["user_id"] or event["basket_id"]) for event in drawn}
    score: dict[str, int] = {}
    for item, days, _ in met:
        if days < 14:
            score[item] = score.get(item, 0) + weight(days, 7)
    expected = sorted(((item, total / ONE) for item, total in score.items()), key=lambda pair: (-pair[1], pair[0]))[:5]
    found = trending(purchases(rows(silver.EVENTS, *drawn)), RUN_DATE, 14, 5).collect()
    assert sorted((row.item_id, row.score) for row in found) == sorted(expected)
    assert {row.reason_item_id for row in found} == {None}


def test_all_generators_keep_the_contract_in_whatever_order_rows_come(rows: Rows) -> None:
    draw = random.Random(7)
    names = [f"i{number:02}" for number in range(16)]
    users = [f"u{number}" for number in range(6)]
    drawn = [
        sale(draw.choice([*users, None]), draw.choice(names), draw.choice([0, 1, 5, 30, 90]), basket_id=f"b{n // 3}")
        for n in range(90)
    ]
    drawn += [sale("u0", "old", 84), sale("u1", "old", 84)]  # not sold on the last 84 days
    item_vectors = vectors(rows, features.ITEM_VECTORS, [*names, "old"], 1)
    user_vectors = vectors(rows, features.USER_VECTORS, [*users, "u9"], 2)  # u9 bought nothing

    def made() -> DataFrame:
        return generate_candidates(
            rows(silver.EVENTS, *drawn), item_vectors, user_vectors, run_date=RUN_DATE, per_source=5
        )

    first = made().persist()
    assert broken(features.CANDIDATES, first) == []
    table = first.collect()
    sold = {event["item_id"] for event in drawn if age(event) < 84}
    assert {row.item_id for row in table} <= sold
    lists: dict[tuple[str, str], list[Any]] = {}
    for row in sorted(table, key=lambda row: (row.user_id, row.source, row.rank)):
        lists.setdefault((row.user_id, row.source), []).append(row)
    assert max(len(listed) for listed in lists.values()) == 5
    for (user, source), listed in lists.items():
        assert [(row.score, row.item_id) for row in listed] == sorted(
            ((row.score, row.item_id) for row in listed), key=lambda pair: (-pair[0], pair[1])
        )
        mine = {event["item_id"] for event in drawn if event["user_id"] == user}
        for row in listed:
            assert row.run_date == RUN_DATE
            if source == "own_history":
                assert row.item_id == row.reason_item_id
                assert row.item_id in mine
            elif source == "copurchase":
                assert row.reason_item_id in mine
                assert row.reason_item_id != row.item_id
            else:
                assert row.reason_item_id is None
    assert {source for _, source in lists} == set(features.SOURCES)
    assert {(user, source) for user, source in lists if user == "u9"} == {("u9", "bert"), ("u9", "trending")}
    for one, other in itertools.combinations([user for user, source in lists if source == "trending"], 2):
        assert [r.item_id for r in lists[one, "trending"]] == [r.item_id for r in lists[other, "trending"]]

    draw.shuffle(drawn)
    assert sorted(map(tuple, made().collect()), key=repr) == sorted(map(tuple, table), key=repr)


def test_an_item_that_left_the_catalogue_is_not_proposed(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", basket_id="b1"),
        sale("u1", "gone", basket_id="b1"),  # sold lately, since then refused by the deployment's rules
    )
    item_vectors = vectors(rows, features.ITEM_VECTORS, ["a"], 1)
    user_vectors = vectors(rows, features.USER_VECTORS, ["u1"], 2)
    found = generate_candidates(events, item_vectors, user_vectors, run_date=RUN_DATE)
    assert {row.item_id for row in found.select("item_id").collect()} == {"a"}
