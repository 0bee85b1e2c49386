"""Search ranker: a join of two tables gives exactly what the model gives pair by pair."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from udfs.search import fit_ranker
from udfs.search.fit_ranker import Lists, Settings
from udfs.search.ranker import QUERY_ITEM, RISING, USER_ITEM, SearchRanker, from_json, query_features, untrained
from udfs.search.user_features import user_features

LISTS, SIZE = 1_000, 12


def lists(seed: int = 0) -> Lists:
    """Lists whose best item is that with much of `lexical` and `own_times`, which half of the rows lack."""
    draw = np.random.default_rng(seed)
    rows = LISTS * SIZE
    query_item = draw.normal(size=(rows, len(QUERY_ITEM))).astype(np.float32)
    user_item = draw.normal(size=(rows, len(USER_ITEM))).astype(np.float32)
    user_item[draw.random(rows) < 0.5] = np.nan
    worth = query_item[:, 0] + np.nan_to_num(user_item[:, 0]) ** 2 + draw.normal(size=rows)
    label = np.zeros(rows)
    label[np.arange(LISTS) * SIZE + worth.reshape(LISTS, SIZE).argmax(axis=1)] = 1
    return Lists(np.repeat(np.arange(LISTS), SIZE), query_item, user_item, label)


@pytest.fixture(scope="module")
def ranker() -> SearchRanker:
    return fit_ranker.fit(lists(), untrained(), Settings(trees=30))


def test_score_and_boost_give_the_top_10_of_1000_pairs_of_user_and_query(ranker: SearchRanker) -> None:
    assert ranker.trees
    other = lists(1)
    joined = ranker.score(other.query_item) + ranker.boost(other.user_item)
    direct = ranker.pair_score(other.query_item, other.user_item)
    assert joined == pytest.approx(direct, abs=1e-9)
    top = [np.argsort(-scores.reshape(LISTS, SIZE), axis=1, kind="stable")[:, :10] for scores in (joined, direct)]
    assert (top[0] == top[1]).all()


def test_a_user_without_features_adds_exactly_nothing(ranker: SearchRanker) -> None:
    nothing = np.full((3, len(USER_ITEM)), np.nan, np.float32)
    assert ranker.boost(nothing).tolist() == [0, 0, 0]


def test_it_learns_what_is_bought_and_more_of_a_rising_feature_never_costs(ranker: SearchRanker) -> None:
    other = lists(2)
    scores = ranker.pair_score(other.query_item, other.user_item).reshape(LISTS, SIZE)
    hit = other.label.reshape(LISTS, SIZE)[np.arange(LISTS), scores.argmax(axis=1)].mean()
    assert hit > 0.3, "1 of 12 by chance"
    more = other.query_item.copy()
    more[:, QUERY_ITEM.index("lexical")] += 1
    assert (ranker._trees(more, None, 1) >= ranker._trees(other.query_item, None, 1) - 1e-9).all()
    assert set(RISING) <= {*QUERY_ITEM, *USER_ITEM}


def test_its_json_gives_the_same_ranker(ranker: SearchRanker) -> None:
    assert from_json(ranker.to_json()) == ranker
    with pytest.raises(ValueError, match="a search ranker"):
        from_json("{}")
    with pytest.raises(ValueError, match=r"the search ranker has \['lexical'\]: train it again"):
        from_json(replace(untrained(), query_names=("lexical",), user_names=()).to_json())


def test_few_lists_change_its_start_little_and_none_change_nothing() -> None:
    start = untrained()
    few = lists()
    first = few.list < 5
    small = Lists(few.list[first], few.query_item[first], few.user_item[first], few.label[first])
    fitted = fit_ranker.fit(small, start)
    assert not fitted.trees
    assert fit_ranker.fit(Lists(small.list, small.query_item, small.user_item, small.label * 0), start) == start


def test_features_of_a_query_are_relative_to_its_own_items() -> None:
    rows = pd.DataFrame(
        {
            "query": ["a", "a", "b"],
            "match": ["exact", "semantic", "popular"],
            "bm25": [4.0, 2.0, 0.0],
            "covered": [1.0, 0.5, 0.0],
            "cosine": [0.5, 0.25, np.nan],
            "popularity": [10.0, 5.0, 0.0],
        }
    )
    named = dict(zip(QUERY_ITEM, query_features(rows).T, strict=True))
    assert named["lexical"].tolist() == [1, 0.5, 0]
    assert named["share"].tolist() == [1, 0.5, 0]
    assert np.isnan(named["clicked"]).all()
    clicked = query_features(rows.assign(examined=[100.0, 100.0, 0.0], clicks=[30, 10, 0]))[
        :, QUERY_ITEM.index("clicked")
    ]
    assert clicked[0] > 0 > clicked[1]
    assert np.isnan(clicked[2])


def test_features_of_a_user_are_missing_where_the_user_never_bought_it() -> None:
    rows = pd.DataFrame(
        {
            "user_id": ["u", "u", "u"],
            "score": [0.5, 0.01, 0.02],
            "times_bought": [3, 0, 0],
            "last_bought_on": [dt.date(2020, 1, 1), None, None],
            "usual_gap": [10.0, np.nan, np.nan],
        }
    )
    named = dict(zip(USER_ITEM, user_features(rows, dt.date(2020, 1, 31)).T, strict=True))
    assert named["own_recent"][0] == pytest.approx(0.5)
    assert named["own_due"][0] == pytest.approx(3)
    assert np.isnan(named["own_times"][1])
    assert np.isnan(named["suits"][0])
    assert named["suits"][2] == 1, "the best of the items that are new to the user"
    assert 0 < named["suits"][1] < 1
