"""Experiments on lists: who is in which variant, what lists are of, and what is read of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pyspark.sql import DataFrame

from jobs.rank_recommendations import rank_recommendations
from jobs.read_experiments import read_experiments
from jobs.runner.settings import check_settings
from jobs.transforms.experiments import arms, label
from schemas import features, gold, readouts, silver
from schemas.deployment import Deployment
from schemas.errors import ConfError, DataError
from schemas.experiments import Experiment, refuse_overlaps
from schemas.run import Model, RunContext
from schemas.source import Source
from tests.conftest import Rows, broken, run_of

BEGAN = dt.date(2024, 1, 10)
RUN_DATE = dt.date(2024, 1, 31)
MODEL = Model(version="m1", folder="/nowhere/m1")
USERS = [f"u{number:03}" for number in range(400)]


def experiment(**more: Any) -> Experiment:
    """Half of the users: one half of these without item i0."""
    stated = {"id": "without", "salt": "s1", "from": BEGAN, "to": dt.date(2024, 2, 10), "share": 0.5, "metric": "units"}
    variants = {"as_is": {}, "hidden": {"exclude": "item_id = 'i0'"}}
    return Experiment.model_validate(stated | {"variants": variants} | more)


def run_with(*experiments: Experiment) -> RunContext:
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items")}
    deployment = Deployment.model_construct(name="test", sources=sources, experiments=list(experiments), file="c.toml")
    return run_of(RUN_DATE, deployment)


def expected_variant(one: Experiment, user: str) -> str | None:
    """The oracle: 52 bits of SHA-256 of salt and user, as a fraction."""
    where = int(hashlib.sha256(f"{one.salt}|{user}".encode()).hexdigest()[:13], 16) / 16**13
    return list(one.variants)[int(where / one.share * len(one.variants))] if where < one.share else None


def test_users_are_in_the_variant_of_their_hash_and_evenly(rows: Rows) -> None:
    both = [experiment(), experiment(id="other", salt="s2", share=1.0, variants={"a": {}, "b": {"diversity": 0.3}})]
    users = rows(features.CANDIDATES, *({"user_id": user, "item_id": "i0"} for user in USERS))
    found = {row.user_id: row.label for row in users.select("user_id", label(both).alias("label")).collect()}
    for user in USERS:
        named = [f"{one.id}:{name}" for one in both if (name := expected_variant(one, user))]
        assert found[user] == ",".join(named)
    counts = [
        sum("without:hidden" in text for text in found.values()),
        sum("other:b" in text for text in found.values()),
    ]
    assert 70 <= counts[0] <= 130
    assert 160 <= counts[1] <= 240
    by_settings = {repr(arm.settings): set(arm.labels) for arm in arms(both)}
    assert set().union(*by_settings.values()) >= set(found.values())
    assert by_settings["{}"] == {"", "without:as_is", "other:a", "without:as_is,other:a"}


def test_lists_follow_the_settings_of_their_users_variant(rows: Rows) -> None:
    candidates = [
        {"user_id": user, "item_id": f"i{number}", "score": 0.9 - number / 10, "sources": ["knn"], "times_bought": 0}
        for user in USERS[:60]
        for number in range(4)
    ]
    items = [{"item_id": f"i{number}", "title": f"T{number}"} for number in range(4)]
    tables = (
        rows(features.CANDIDATES, *candidates),
        rows(silver.ITEMS, *items),
        rows(features.ITEM_VECTORS),
        rows(silver.EVENTS),
        rows(silver.STOCK),
        rows(silver.BLOCKED),
    )
    one = experiment()
    found = rank_recommendations(*tables, MODEL, run=run_with(one), top_k=2).persist()
    assert broken(gold.RECOMMENDATIONS, found) == []
    lists: dict[str, list[str]] = {}
    for row in sorted(found.collect(), key=lambda row: (row.user_id, row.rank)):
        lists.setdefault(row.user_id, []).append(row.item_id)
        name = expected_variant(one, row.user_id)
        assert row.variant == (name and f"without:{name}")
    for user in USERS[:60]:
        hidden = expected_variant(one, user) == "hidden"
        assert lists[user] == (["i1", "i2"] if hidden else ["i0", "i1"])
    over = experiment(**{"from": dt.date(2023, 1, 1), "to": dt.date(2023, 2, 1)})
    assert {row.variant for row in rank_recommendations(*tables, MODEL, run=run_with(over), top_k=2).collect()} == {
        None
    }


def logs(rows: Rows, one: Experiment, more: float) -> tuple[DataFrame, DataFrame]:
    """Lists of all users from the experiment's first date on; users of `hidden` buy `more` units in it."""
    draw = np.random.default_rng(6)
    events, lists = [], []
    for user in USERS:
        name = expected_variant(one, user)
        lists.append({"run_date": BEGAN, "user_id": user, "rank": 1, "variant": name and f"{one.id}:{name}"})
        habit = draw.integers(5, 40)
        for day, extra in ((BEGAN - dt.timedelta(days=9), 0.0), (BEGAN + dt.timedelta(days=9), more)):
            units = float(habit + draw.integers(0, 4) + (extra if name == "hidden" else 0))
            sold = {"event_type": "purchase", "event_date": day, "run_date": day, "quantity": units, "unit_price": 2.0}
            events.append({"user_id": user, "item_id": "i1", "event_id": f"{user}-{day}", **sold})
    return rows(silver.EVENTS, *events), rows(gold.RECOMMENDATIONS, *lists)


def test_an_effect_is_read_with_intervals_and_none_where_there_is_none(rows: Rows) -> None:
    one = experiment()
    for more, verdict in ((4.0, "better"), (-4.0, "worse"), (0.0, "undecided")):
        found = read_experiments(*logs(rows, one, more), run=run_with(one)).persist()
        assert broken(readouts.READOUTS, found) == []
        base, hidden = sorted(found.collect(), key=lambda row: list(one.variants).index(row.variant))
        assert base.users + hidden.users == sum(expected_variant(one, user) is not None for user in USERS)
        assert (base.effect, base.low, base.verdict) == (0, None, "undecided")
        assert hidden.verdict == verdict
        assert hidden.low_always < hidden.low < hidden.effect < hidden.high < hidden.high_always
        assert abs(hidden.effect - more) < 0.5, "the past takes the users' habits out"
        assert hidden.cuped_r2 > 0.9 or more


def test_a_changed_experiment_and_lost_users_are_refused(rows: Rows) -> None:
    one = experiment()
    events, lists = logs(rows, one, 0.0)
    with pytest.raises(DataError, match="users have had lists of another variant than its salt"):
        read_experiments(events, lists, run=run_with(experiment(salt="s9")))
    lost = lists.where("variant IS NULL OR variant <> 'without:hidden' OR user_id < 'u200'")
    with pytest.raises(DataError, match="expected equal shares"):
        read_experiments(events, lost, run=run_with(one))
    assert read_experiments(events, lists, run=run_with()).count() == 0
    late = experiment(**{"from": RUN_DATE})
    assert read_experiments(events, lists, run=run_with(late)).count() == 0, "its first lists are seen tomorrow"


def test_experiments_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ValueError, match="both change exclude at one time"):
        refuse_overlaps([experiment(), experiment(id="again", salt="s2")])
    with pytest.raises(ValueError, match="one salt"):
        refuse_overlaps([experiment(), experiment(id="again", variants={"a": {}, "b": {"boost": "2"}})])
    with pytest.raises(ValidationError, match="top_k is the same for all"):
        experiment(variants={"a": {}, "b": {"top_k": 5}})
    with pytest.raises(ValidationError, match="is before from"):
        experiment(to=dt.date(2023, 1, 1))
    for settings, why in (({"exlude": "x"}, "unknown key"), ({"diversity": "much"}, "must be float")):
        deployment = run_with(experiment(variants={"a": {}, "b": settings})).deployment
        with pytest.raises(ConfError, match=rf"{why}.*experiments.*without, variants\.b"):
            check_settings(deployment)
