"""Factors of scores: which candidates have them, that lists carry them, and that a sum that is off is refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pyspark.sql import functions as F

from jobs.rank_recommendations import rank_recommendations
from jobs.runner.model_store import ship
from jobs.score_candidates import score_candidates
from schemas import features, gold, silver
from schemas.derive import constraints
from schemas.explanations import FACTORS_ADD_UP
from schemas.run import Model
from schemas.suspects import SUSPECTS
from tests.conftest import Rows, broken, run_of
from tests.spark.test_score_candidates import RUN_DATE, model, nobody, shop

__all__ = ["model"]  # the fixture

EXPLAINED = 3
PARTS = [{"name": "habit", "value": 1.25}, {"name": "other", "value": -0.5}, {"name": "base", "value": 0.125}]


def test_the_best_candidates_of_each_user_have_factors_that_add_up(rows: Rows, model: Model) -> None:
    events, items, vectors = shop(rows)
    ship(events.sparkSession, model)
    inputs = events, items, vectors, nobody(rows), rows(SUSPECTS), model
    found = score_candidates(*inputs, run=run_of(RUN_DATE), per_user=8, explained_per_user=EXPLAINED).persist()
    assert broken(features.CANDIDATES, found) == []
    lists: dict[str, list[Any]] = {}
    for row in found.collect():
        lists.setdefault(row.user_id, []).append(row)
    assert len(lists) == 12
    for some in lists.values():
        some.sort(key=lambda row: (-row.score, row.item_id))
        assert [row.raw_score is not None for row in some] == [place < EXPLAINED for place in range(len(some))]
        assert [row.factors is not None for row in some] == [place < EXPLAINED for place in range(len(some))]
        explained = some[:EXPLAINED]
        assert all(abs(sum(part.value for part in row.factors) - row.raw_score) < 1e-9 for row in explained)
        assert [row.raw_score for row in explained] == sorted((row.raw_score for row in explained), reverse=True)
        assert len({row.factors[-1] for row in explained}) == 1, "the base is the same in every row"
    none = score_candidates(*inputs, run=run_of(RUN_DATE), per_user=8, explained_per_user=0)
    same = [name for name in features.CANDIDATES.column_names if name not in ("raw_score", "factors")]
    assert none.where("factors IS NOT NULL OR raw_score IS NOT NULL").isEmpty()
    assert sorted(map(str, none.select(same).collect())) == sorted(map(str, found.select(same).collect()))


def test_lists_carry_the_factors_of_their_rows(rows: Rows) -> None:
    proposal = {"user_id": "u", "model_version": "m1", "times_bought": 0, "sources": ["bert"]}
    candidates = rows(
        features.CANDIDATES,
        proposal | {"item_id": "a", "score": 0.2},
        proposal | {"item_id": "b", "score": 0.3, "raw_score": 0.875, "factors": PARTS},
    )
    items = rows(silver.ITEMS, *({"item_id": item} for item in ("a", "b", "c")))
    others = rows(features.ITEM_VECTORS), rows(silver.EVENTS), rows(silver.STOCK), rows(silver.BLOCKED)
    made = rank_recommendations(candidates, items, *others, Model("m1", ""), run=run_of(RUN_DATE), top_k=3)
    assert broken(gold.RECOMMENDATIONS, made) == []
    found = {row.item_id: (row.rank, row.raw_score, row.factors) for row in made.collect()}
    assert [(part.name, part.value) for part in found["b"][2]] == [(part["name"], part["value"]) for part in PARTS]
    assert found == {"b": (1, 0.875, found["b"][2]), "a": (2, None, None), "c": (3, None, None)}


def test_factors_that_do_not_add_up_break_the_contract(rows: Rows) -> None:
    off = [PARTS[0], PARTS[1], {"name": "base", "value": 0.125 + 1e-8}]
    day = {"run_date": dt.date(2024, 1, 31), "user_id": "u"}
    lists = rows(
        gold.RECOMMENDATIONS,
        day | {"rank": 1, "item_id": "a", "raw_score": 0.875, "factors": PARTS},
        day | {"rank": 2, "item_id": "b", "raw_score": 0.875, "factors": off},
        day | {"rank": 3, "item_id": "c"},
    )
    assert broken(gold.RECOMMENDATIONS, lists) == [FACTORS_ADD_UP.reason]
    constraint = constraints(gold.RECOMMENDATIONS)[FACTORS_ADD_UP.name]
    assert [row.item_id for row in lists.where(~F.expr(constraint)).collect()] == ["b"], "Delta refuses the same rows"
