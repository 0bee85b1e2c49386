"""What the executors score, block by block, is what the plain functions score at once."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.commands import night
from jobs.runner import model_store
from jobs.runner.lake import Lake
from jobs.runner.model_store import ship
from jobs.score_candidates import score_candidates
from jobs.transforms.purchases import buyer, known_purchases, purchases, within
from schemas import features, silver
from schemas.errors import NoModelError
from schemas.job import RECOMMEND
from schemas.run import Model
from schemas.suspects import SUSPECTS
from tests.conftest import Rows, broken, run_of
from udfs.catalogue import catalogue_of
from udfs.encoder import model_folder
from udfs.encoder.stored_vectors import from_bytes, to_bytes
from udfs.interactions import from_frame
from udfs.recommend import candidates, fit_ranker, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.sample_budget import SampleBudget

RUN_DATE = dt.date(2024, 3, 31)
DAY = (RUN_DATE - dt.date(1970, 1, 1)).days + 1
ITEMS = [f"i{number:02}" for number in range(20)]


GENERATORS = tuple(name for name in candidates.GENERATORS if name != "trend")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model folder whose ranker was fitted on noise: any trees will do."""
    folder = tmp_path_factory.mktemp("model") / "m1"
    folder.mkdir()
    draw = np.random.default_rng(5)
    table = draw.normal(size=(4000, len(FEATURES))).astype(np.float32)
    bought = table[:, 0] + draw.normal(size=4000) > 1
    night = fit_ranker.Night(np.repeat(np.arange(100), 40), table, bought)
    fitted = fit_ranker.fit([night], [night], tuple(FEATURES), GENERATORS, fit_ranker.Settings(trees=5))
    for name in (model_folder.CONFIG, model_folder.TOKENIZER):
        (folder / name).write_text("{}")
    (folder / model_folder.WEIGHTS).write_bytes(b"none needed")
    (folder / scoring.RANKER).write_text(fitted.to_json())
    story = {"features": dict(FEATURES), "sample": SampleBudget().to_dict()}
    (folder / scoring.TRAINING).write_text(json.dumps(story))
    (folder / model_folder.MANIFEST).write_text(json.dumps({p.name: model_folder.sha256(p) for p in folder.iterdir()}))
    return Model("m1", str(folder))


def shop(rows: Rows) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Events, items and vectors: twelve users, two guests, an item that is no longer in the catalogue."""
    draw = np.random.default_rng(3)
    sales: list[dict[str, Any]] = []
    for number in range(300):
        day = RUN_DATE - dt.timedelta(days=int(draw.integers(0, 60)))
        who = int(draw.integers(0, 14))
        sales.append(
            {
                "event_type": "purchase",
                "user_id": f"u{who:02}" if who < 12 else None,
                "basket_id": f"b{number}" if who >= 12 else None,
                "item_id": str(draw.choice([*ITEMS, "gone"])),
                "event_date": day,
                "run_date": day,
                "quantity": int(draw.integers(1, 4)),
            }
        )
    sales.append(sales[0] | {"event_type": "return"})
    vectors = draw.normal(size=(len(ITEMS), 8))
    cells = to_bytes(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    described = [{"item_id": item, "category": f"c{int(item[1:]) % 3}", "brand": None} for item in ITEMS]
    coded = [{"item_id": item, "vector": cell} for item, cell in zip(ITEMS, cells, strict=True)]
    return rows(silver.EVENTS, *sales), rows(silver.ITEMS, *described), rows(features.ITEM_VECTORS, *coded[:-2])


def nobody(rows: Rows) -> DataFrame:
    """No row of features.user_vectors."""
    return rows(features.USER_VECTORS)


@pytest.fixture(scope="module")
def learned(model: Model) -> Model:
    """The same model with a user tower, which scoring does not read."""
    folder = Path(shutil.copytree(model.folder, Path(model.folder).parent / "learned"))
    (folder / model_folder.USER_SETTINGS).write_text(json.dumps({"dims": 8, "heads": 2}))
    (folder / model_folder.MANIFEST).unlink()
    return Model("learned", str(folder))


def test_the_vectors_of_a_learned_user_encoder_are_the_users(rows: Rows, model: Model, learned: Model) -> None:
    events, items, vectors = shop(rows)
    ship(events.sparkSession, learned)
    drawn = np.random.default_rng(5).normal(size=(10, 8))
    cells = to_bytes(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
    read = {f"u{number:02}": cell for number, cell in enumerate(cells)} | {"no buyer": cells[0]}  # not all twelve
    coded = [{"user_id": user, "vector": cell, "model_version": "learned"} for user, cell in read.items()]
    other = {"user_id": "u11", "vector": cells[0], "model_version": "another"}
    users, run = rows(features.USER_VECTORS, *coded, other), run_of(RUN_DATE)
    found = score_candidates(events, items, vectors, users, rows(SUSPECTS), learned, run=run, per_user=400).collect()

    lines = known_purchases(events, items, run.deployment).toPandas()
    known = catalogue_of(items.join(vectors.select("item_id", "vector"), "item_id", "left").toPandas())
    interactions = from_frame(lines, known.items)
    state, zero = scoring.fit_state(interactions, known, DAY), bytes(16)
    own = from_bytes([read.get(str(user), zero) for user in interactions.users], 8)
    pairs, table = scoring.propose(interactions, state, DAY, GENERATORS, own)
    score = np.round(ranker.score(scoring.read_ranker(model.folder), table, pairs.user), 9)
    keys = zip(interactions.users[pairs.user], known.items[pairs.item], strict=True)
    assert {(row.user_id, row.item_id): row.score for row in found} == dict(zip(keys, score, strict=True))
    assert {row.user_id for row in found} == set(interactions.users)


@pytest.mark.parametrize("users_per_block", [1, 1000])
def test_blocks_on_executors_equal_the_plain_functions_on_everybody(
    rows: Rows, model: Model, users_per_block: int
) -> None:
    events, items, vectors = shop(rows)
    ship(events.sparkSession, model)
    found = score_candidates(
        events,
        items,
        vectors,
        nobody(rows),
        rows(SUSPECTS),
        model,
        run=run_of(RUN_DATE),
        per_user=6,
        new_per_user=3,
        users_per_block=users_per_block,
    ).persist()
    assert broken(features.CANDIDATES, found) == []

    lines = known_purchases(events, items, run_of(RUN_DATE).deployment).toPandas()
    known = catalogue_of(items.join(vectors.select("item_id", "vector"), "item_id", "left").toPandas())
    interactions = from_frame(lines, known.items)
    state = scoring.fit_state(interactions, known, DAY)
    pairs, table = scoring.propose(interactions, state, DAY, GENERATORS)
    score = np.round(ranker.score(scoring.read_ranker(model.folder), table, pairs.user), 9)
    own = table[:, list(FEATURES).index("is_own")] > 0
    ranked: dict[str, list[tuple[float, str, bool]]] = {}
    for user, item, value, mine in zip(
        interactions.users[pairs.user], known.items[pairs.item], score, own, strict=True
    ):
        ranked.setdefault(str(user), []).append((-float(value), str(item), bool(mine)))
    expected: dict[str, list[tuple[float, str]]] = {}
    for user, row in ranked.items():
        row.sort()
        new = [pair for pair in row if not pair[2]]
        expected[user] = [pair[:2] for pair in row if pair in row[:6] or pair in new[:3]]
    assert max(map(len, expected.values())) > 6, "some list of own items pushes new ones out"
    listed: dict[str, list[tuple[float, str]]] = {}
    for row in found.collect():
        listed.setdefault(row.user_id, []).append((-row.score, row.item_id))
    assert {user: sorted(row) for user, row in listed.items()} == expected
    assert len(listed) == 12


def test_what_nobody_has_bought_is_kept_however_improbable(rows: Rows, model: Model) -> None:
    events, items, vectors = shop(rows)
    cells = to_bytes(np.eye(8, dtype=np.float32)[:3])
    coming = [f"new{number}" for number in range(3)]
    lately, long_ago = RUN_DATE - dt.timedelta(days=2), RUN_DATE - dt.timedelta(days=60)
    listed = [{"item_id": "new0", "described_on": lately}, {"item_id": "new1", "described_on": lately}]
    listed.append({"item_id": "new2", "described_on": long_ago})
    items = items.unionByName(rows(silver.ITEMS, *listed))
    named = [{"item_id": item, "vector": cell} for item, cell in zip(coming, cells, strict=True)]
    vectors = vectors.unionByName(rows(features.ITEM_VECTORS, *named))
    ship(events.sparkSession, model)

    def found(arrivals: int) -> dict[str, dict[str, float]]:
        knobs = {"per_user": 0, "new_per_user": 0, "arrivals_per_user": arrivals}
        made = score_candidates(
            events, items, vectors, nobody(rows), rows(SUSPECTS), model, run=run_of(RUN_DATE), **knobs
        ).collect()
        assert all("fresh" in row.sources and row.recent_buyers == 0 for row in made)
        scores: dict[str, dict[str, float]] = {}
        for row in made:
            scores.setdefault(row.user_id, {})[row.item_id] = row.score
        return scores

    both, one = found(5), found(1)
    assert {user: set(scores) for user, scores in both.items()} == {user: {"new0", "new1"} for user in both}
    assert len(both) == 12
    for user, scores in both.items():
        best = min(scores, key=lambda item: (-scores[item], item))
        assert one[user] == {best: scores[best]}
    assert found(0) == {}


def test_what_is_said_of_a_pair_is_what_the_log_says(rows: Rows, model: Model) -> None:
    events, items, vectors = shop(rows)
    ship(events.sparkSession, model)
    found = score_candidates(
        events, items, vectors, nobody(rows), rows(SUSPECTS), model, run=run_of(RUN_DATE)
    ).collect()
    days: dict[tuple[str, str], set[dt.date]] = {}
    kept = purchases(events, run_of(RUN_DATE).deployment)
    for row in kept.where("user_id IS NOT NULL").collect():
        days.setdefault((row.user_id, row.item_id), set()).add(row.event_date)
    for row in found:
        bought = days.get((row.user_id, row.item_id), set())
        assert row.times_bought == len(bought)
        assert row.last_bought_on == (max(bought) if bought else None)
        assert (row.usual_gap is None) == (len(bought) < 2)
        assert set(row.sources) <= set(candidates.GENERATORS)
        assert row.sources
        assert row.reason_item_id is None or (row.user_id, row.reason_item_id) in days
    assert {row.item_id for row in found} <= set(ITEMS)


def test_a_model_of_an_earlier_version_is_refused_with_the_remedy(
    rows: Rows, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, items, vectors = shop(rows)
    older = tmp_path / "older"
    shutil.copytree(model.folder, older)
    (older / scoring.TRAINING).write_text(json.dumps({"features": {"item_buyers_7": "of a sample"}}))
    ship(events.sparkSession, Model("older", str(older)))
    with pytest.raises(NoModelError, match=r"older was trained by a version with other features.*make train RUN_DATE="):
        score_candidates(
            events, items, vectors, nobody(rows), rows(SUSPECTS), Model("older", str(older)), run=run_of(RUN_DATE)
        )
    lake = cast(Lake, None)  # promoted_model alone reads it
    monkeypatch.setattr(model_store, "promoted_model", lambda *_given, **_named: Model("older", str(older)))
    assert not night._has_model(lake, RUN_DATE, RECOMMEND), "make run trains another before it reads the logs"
    monkeypatch.setattr(model_store, "promoted_model", lambda *_given, **_named: model)
    assert night._has_model(lake, RUN_DATE, RECOMMEND)


def test_items_that_no_sampled_user_bought_stay_candidates_with_everybody_s_counts(
    rows: Rows, model: Model, tmp_path: Path
) -> None:
    events, items, vectors = shop(rows)
    small = tmp_path / "small"
    shutil.copytree(model.folder, small)
    story = {"features": dict(FEATURES), "sample": SampleBudget(users=2).to_dict()}
    (small / scoring.TRAINING).write_text(json.dumps(story))
    (small / model_folder.MANIFEST).write_text(
        json.dumps({p.name: model_folder.sha256(p) for p in small.iterdir() if p.name != model_folder.MANIFEST})
    )
    ship(events.sparkSession, Model("small", str(small)))
    found = score_candidates(
        events, items, vectors, nobody(rows), rows(SUSPECTS), Model("small", str(small)), run=run_of(RUN_DATE)
    ).persist()
    bought = within(purchases(events, run_of(RUN_DATE).deployment), RUN_DATE, 28)
    buyers = dict(bought.groupBy("item_id").agg(F.count_distinct(buyer())).collect())
    counted = dict(found.select("item_id", "recent_buyers").distinct().collect())
    assert set(counted) == set(ITEMS)
    assert counted == {item: buyers.get(item, 0) for item in ITEMS}


def test_an_item_that_is_not_active_is_nobody_s_candidate(rows: Rows, model: Model) -> None:
    events, items, vectors = shop(rows)
    ship(events.sparkSession, model)
    knobs = {"per_user": 6, "new_per_user": 3}
    every = score_candidates(
        events, items, vectors, nobody(rows), rows(SUSPECTS), model, run=run_of(RUN_DATE), **knobs
    ).persist()
    sold = every.groupBy("item_id").count().orderBy(F.desc("count"), "item_id").first()
    assert sold is not None
    gone = items.withColumn("active", F.col("item_id") != sold.item_id)
    left = score_candidates(
        events, gone, vectors, nobody(rows), rows(SUSPECTS), model, run=run_of(RUN_DATE), **knobs
    ).persist()
    assert left.where(F.col("item_id") == sold.item_id).isEmpty()
    listed = {row.user_id: row["count"] for row in left.groupBy("user_id").count().collect()}
    assert all(count >= 6 for count in listed.values()), "another takes its place"


def test_what_is_new_was_first_listed_lately(rows: Rows) -> None:
    lately, long_ago = RUN_DATE - dt.timedelta(days=2), RUN_DATE - dt.timedelta(days=60)
    daily = {"described_on": RUN_DATE, "last_listed_on": RUN_DATE}
    known = catalogue_of(
        rows(
            silver.ITEMS,
            daily | {"item_id": "a", "listed_on": long_ago, "active": True},
            daily | {"item_id": "b", "listed_on": lately, "active": False},
            {"item_id": "c", "listed_on": None, "described_on": lately, "active": None},
        ).toPandas()
    )
    days = [DAY - 1 - 60, DAY - 1 - 2, DAY - 1 - 2]
    assert (known.described.tolist(), known.inactive(DAY).tolist()) == (days, [1])
    assert not len(known.inactive(DAY - 1)), "the night before had it"
