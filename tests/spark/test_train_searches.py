"""The search model: trained on purchases and hidden titles, and applied by what matches and ranks queries."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from jobs.runner.model_store import ship
from jobs.train_searches import train_searches
from schemas import ops, silver
from schemas.errors import ConfError
from schemas.run import Model
from tests.conftest import Rows, run_of
from tests.spark.test_rank_searches import RUN_DATE, Night, catalogue, model, search_by, shop
from udfs import json_model
from udfs.search.ranker import SearchRanker, from_json

__all__ = ["model"]  # a fixture
Events = list[dict[str, Any]]


def bought() -> Events:
    """20 users who buy blue mugs every third day: mostly their own one of five, else the last one."""
    draw = random.Random(1)
    events = []
    for user in range(20):
        for days_ago in range(1, 130, 3):
            day = RUN_DATE - dt.timedelta(days=days_ago)
            item = f"blue mug-{user % 5 if draw.random() < 0.7 else 4}"
            named = {"event_type": "purchase", "user_id": f"u{user}", "item_id": item, "event_date": day}
            events.append(
                {**named, "run_date": day, "quantity": 1, "unit_price": 1.0, "basket_id": f"{user} {days_ago}"}
            )
    return events


class Training:
    """One run of the job: its rows of ops.models, and the folder of the model that it published."""

    def __init__(self, rows: Rows, model: Model, place: Path, events: Events = (), items: Events | None = None) -> None:
        def publish(folder: Path) -> str:
            self.folder = place / folder.name
            self.folder.mkdir()
            for file in folder.iterdir():
                (self.folder / file.name).write_bytes(file.read_bytes())
            return str(self.folder)

        run = run_of(RUN_DATE, shop(any("query" in event for event in events)))
        object.__setattr__(run, "publish_model", publish)
        items = catalogue() if items is None else items
        frames = rows(silver.EVENTS, *events), rows(silver.ITEMS, *items), rows(ops.MODELS)
        self.rows: list[Row] = train_searches(*frames, None, model, run=run).collect()

    @property
    def ranker(self) -> SearchRanker:
        return from_json((self.folder / json_model.FILE).read_text("utf-8"))


def test_a_trained_model_is_registered_and_applied(
    rows: Rows, model: Model, spark: SparkSession, tmp_path: Path
) -> None:
    found = Training(rows, model, tmp_path, bought())
    (row,) = found.rows
    assert (row.kind, row.promoted, row.cut_date) == ("search", True, RUN_DATE)
    assert row.trained_from == RUN_DATE - dt.timedelta(days=127)
    assert row.example_count > 20
    assert row.metrics["ndcg@10"] > 0.5
    assert row.metrics["dense_weight"] == found.ranker.dense_weight
    search_model = Model(row.model_version, str(found.folder))
    ship(spark, search_model)
    learned, fixed = (Night(rows, model, bought(), search_model=each, head=20) for each in (search_model, None))
    assert {query.dense_weight for query in learned.queries().values()} == {found.ranker.dense_weight}
    scores = [{line.item_id: line.score_logit for line in night.ranked()["blue mug"]} for night in (learned, fixed)]
    assert scores[0].keys() == scores[1].keys()
    assert scores[0] != scores[1]


def test_a_shop_without_purchases_learns_the_weight_of_its_vectors_alone(
    rows: Rows, model: Model, tmp_path: Path
) -> None:
    log = [search_by(f"u{user}", "blue mugs") for user in range(9)]
    (row,) = Training(rows, model, tmp_path, log).rows
    assert (row.promoted, row.example_count, set(row.metrics)) == (True, 1, {"dense_weight"})
    assert Training(rows, model, tmp_path, items=[]).rows == []


def test_settings_below_one_are_refused(rows: Rows, model: Model) -> None:
    frames = rows(silver.EVENTS), rows(silver.ITEMS), rows(ops.MODELS)
    with pytest.raises(ConfError, match="must be at least 1"):
        train_searches(*frames, None, model, run=run_of(RUN_DATE), lists=0)
