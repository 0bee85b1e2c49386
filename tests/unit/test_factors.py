"""Factors of a score: they add up to it, each feature is in one group, and a group has what its features have."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from udfs.interactions import Floats
from udfs.recommend import fit_ranker
from udfs.recommend.candidates import GENERATORS
from udfs.recommend.factors import BASE, NAMED, NAMES, OTHER, factors
from udfs.recommend.feature_meanings import FEATURES, GROUPS, group_of
from udfs.recommend.ranker import CLIP, Ranker, contributions, raw_score

PLACE = {name: place for place, name in enumerate(FEATURES)}


def drawn(seed: int, rows: int = 2_000) -> Floats:
    """Features of rows, a twentieth of them missing, some far from all others."""
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(rows, len(FEATURES))) * np.where(draw.random((rows, 1)) < 0.02, 50, 1)
    table[draw.random(table.shape) < 0.05] = np.nan
    return table.astype(np.float32)


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    table = drawn(1)
    bought = np.nan_to_num(table[:, PLACE["own_score"]] + table[:, PLACE["bert_score"]]) > 1
    night = fit_ranker.Night(np.repeat(np.arange(50), 40), table, bought)
    return fit_ranker.fit([night], [night], tuple(FEATURES), GENERATORS, fit_ranker.Settings(trees=20))


def test_every_feature_is_of_one_group_and_every_group_has_some() -> None:
    assert {group_of(name) for name in FEATURES} == set(GROUPS)
    of = {
        "own_days": "habit",
        "own_due": "due",
        "own_last": "due",
        "own_popular_03": "habit",
        "next_log": "bought_together",
    }
    of |= {"als_popular_02": "people_like_you", "bert_z": "text", "item_rate_7": "trend", "item_rate_84": "popularity"}
    of |= {
        "attribute_2_lift": "brand",
        "user_due": "shopper",
        "proposals": "agreement",
        "basket_score": "bought_together",
    }
    assert {name: group_of(name) for name in of} == of
    with pytest.raises(KeyError, match="weather is in no group"):
        group_of("weather")


def test_parts_of_a_row_add_up_to_its_raw_score(ranker: Ranker) -> None:
    table = drawn(2)
    parts = contributions(ranker, table)
    raw = raw_score(ranker, table)
    assert np.abs(parts.sum(axis=1) - raw).max() < 1e-12
    assert np.ptp(parts[:, -1]) == 0, "what all rows have in common"
    assert np.ptp(raw) > 1


def test_a_rows_parts_do_not_depend_on_other_rows(ranker: Ranker) -> None:
    table = drawn(3, rows=50)
    assert np.array_equal(contributions(ranker, table)[7], contributions(ranker, table[7:8])[0])
    every = factors(ranker, table).to_arrow().to_pylist()
    assert every == [factors(ranker, table[at : at + 1]).to_arrow()[0].as_py() for at in range(len(table))]


def test_linear_parts_equal_those_of_plain_python(ranker: Ranker) -> None:
    table, linear = drawn(4, rows=20), replace(ranker, trees="")
    parts = contributions(linear, table)
    for row in range(len(table)):
        own = table[row, PLACE["is_own"]] > 0
        for place in range(len(FEATURES)):
            value = (table[row, place] - np.float32(ranker.mean[place])) / np.float32(ranker.scale[place])
            plain = 0.0 if np.isnan(value) else min(max(float(value), -CLIP), CLIP)
            weight = np.float32(ranker.weights[place if own else len(FEATURES) + place])
            assert parts[row, place] == pytest.approx(plain * float(weight), abs=1e-6)
    assert not parts[:, -1].any()


def test_a_tree_that_asks_one_feature_moves_its_group_alone(ranker: Ranker) -> None:
    table = drawn(5)
    label = (np.nan_to_num(table[:, PLACE["trend_score"]]) > 0.5).astype(np.float32)
    settings = {"objective": "binary", "num_leaves": 2, "verbosity": -1, "num_threads": 1}
    stump = lgb.train(settings, lgb.Dataset(table, label), 1)
    none = replace(ranker, trees=stump.model_to_string(), weights=tuple(0.0 for _ in ranker.weights))
    found = factors(none, table)
    moved = dict(zip(NAMES, np.abs(found.groups).max(axis=0), strict=True))
    assert {name for name, most in moved.items() if most > 0} == {"trend"}
    assert found.base == pytest.approx(float(stump.predict(table, raw_score=True).mean()), abs=1e-6)


def test_rows_name_their_largest_groups_and_add_up(ranker: Ranker) -> None:
    found = factors(ranker, drawn(6, rows=300))
    for number, pairs in enumerate(found.to_arrow().to_pylist()):
        names = [pair["name"] for pair in pairs]
        groups = dict(zip(NAMES, found.groups[number], strict=True))
        largest = sorted(groups, key=lambda name: (-abs(groups[name]), NAMES.index(name)))[:NAMED]
        assert names == [*largest, OTHER, BASE]
        assert all(abs(pair["value"] - groups[pair["name"]]) <= 5e-5 for pair in pairs[:NAMED])
        assert abs(sum(pair["value"] for pair in pairs) - found.raw[number]) < 1e-9


def test_no_row_has_no_factors(ranker: Ranker) -> None:
    assert factors(ranker, drawn(7, rows=0)).to_arrow().to_pylist() == []
