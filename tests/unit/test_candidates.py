"""Candidates and their features against plain Python on a shop drawn at random."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from tests.unit.test_item_models import DAY, shop
from udfs.interactions import Interactions
from udfs.recommend.ablation import without
from udfs.recommend.candidates import (
    GENERATORS,
    OWN_HALF_LIFE,
    PER_SOURCE,
    Candidates,
    propose,
)
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.features import features
from udfs.recommend.fit_item_models import fit
from udfs.recommend.generators import fold_in
from udfs.recommend.item_models import FitSettings, ItemModels
from udfs.recommend.user_matrix import user_matrix

SETTINGS = FitSettings(
    alive_days=60, neighbours=5, next_neighbours=5, basket_neighbours=4, ease_neighbours=5, factors=4, iterations=3
)
FEW = dict.fromkeys(PER_SOURCE, 3)


@pytest.fixture(scope="module")
def history() -> Interactions:
    return shop()


@pytest.fixture(scope="module")
def models(history: Interactions) -> ItemModels:
    attributes = (np.arange(len(history.items))[:, None] % np.array([2, 3])).astype(np.int32)
    return fit(history, DAY, settings=SETTINGS, attributes=attributes)


@pytest.fixture(scope="module")
def pairs(history: Interactions, models: ItemModels) -> Candidates:
    return propose(history, models, DAY, per_source=FEW)


@pytest.fixture(scope="module")
def table(pairs: Candidates, history: Interactions, models: ItemModels) -> dict[str, np.ndarray]:
    values = features(pairs, history, models, DAY)
    return {name: values[:, place] for place, name in enumerate(FEATURES)}


def bought(history: Interactions, user: int, item: int | None = None) -> list[int]:
    """Days before DAY on which the user bought (the item), each once."""
    lines = (history.user == user) & (history.day < DAY)
    if item is not None:
        lines &= history.item == item
    return sorted({int(day) for day in history.day[lines]})


def test_pairs_are_in_order_and_once(pairs: Candidates) -> None:
    keys = list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert pairs.proposed.any(axis=1).all()


def test_each_generator_proposes_its_best(pairs: Candidates, history: Interactions, models: ItemModels) -> None:
    for user in np.unique(pairs.user):
        mine = {item for item in models.items if bought(history, user, item)}
        chosen = (pairs.user == user) & pairs.proposed[:, GENERATORS.index("popular")]
        buyers = models.column("buyers_28")
        rest = [row for row in range(len(models)) if models.items[row] not in mine]
        later = {row: (-buyers[row], -models.column("buyers_84")[row], row) for row in rest}
        assert set(pairs.row[chosen]) == set(sorted(rest, key=later.__getitem__)[:3])


def test_own_knn_and_next_scores_equal_sums(pairs: Candidates, history: Interactions, models: ItemModels) -> None:
    taste = user_matrix(history.before(DAY).user_days(), DAY, SETTINGS.half_life).toarray()[:, models.items]
    for k in range(0, len(pairs), 7):
        user, item, row = int(pairs.user[k]), int(pairs.item[k]), int(pairs.row[k])
        own = sum(0.5 ** ((DAY - day) / OWN_HALF_LIFE) for day in bought(history, user, item))
        assert pairs.scores[k, GENERATORS.index("own")] == pytest.approx(own, rel=1e-5)
        near = [(n, float(s)) for n, s in zip(models.neighbours[row], models.similarities[row], strict=True) if n >= 0]
        parts = {int(models.items[n]): taste[user, n] * s for n, s in near}
        assert pairs.scores[k, GENERATORS.index("knn")] == pytest.approx(sum(parts.values()), rel=1e-4, abs=1e-6)
        turned = zip(models.next_neighbours[row], models.next_similarities[row], strict=True)
        turn = sum(taste[user, models.items[n]] * float(s) for n, s in turned if n >= 0)
        assert pairs.scores[k, GENERATORS.index("next")] == pytest.approx(turn, rel=1e-4, abs=1e-6)
        squares = sum(value**2 for value in parts.values())
        assert pairs.carriers[k] == pytest.approx(sum(parts.values()) ** 2 / squares if squares else 0, rel=1e-4)
        if pairs.reason[k] >= 0:
            assert parts[int(pairs.reason[k])] == pytest.approx(max(parts.values()), rel=1e-5)


def test_a_generator_that_is_not_asked_proposes_and_says_nothing(history: Interactions, models: ItemModels) -> None:
    asked = ("own", "popular")
    pairs = propose(history, models, DAY, generators=asked, per_source=FEW)
    rest = [place for place, name in enumerate(GENERATORS) if name not in asked]
    assert pairs.proposed[:, GENERATORS.index("popular")].any()
    assert not pairs.proposed[:, rest].any()
    table = dict(zip(FEATURES, features(pairs, history, models, DAY).T, strict=True))
    assert np.isnan(table["knn_score"]).all()
    assert np.isnan(table["als_popular_5"]).all()
    assert not np.isnan(table["own_popular_10"]).any()


def test_fold_in_solves_the_ridge(history: Interactions, models: ItemModels) -> None:
    taste = user_matrix(history.before(DAY).user_days(), DAY, SETTINGS.half_life)[:, models.items].tocsr()
    y, alpha, ridge = models.factors.astype(float), SETTINGS.alpha, SETTINGS.regularization
    user = 2
    weight = taste[user].toarray()[0]
    confidence = np.where(weight > 0, alpha * weight, 1.0)
    left = y.T @ np.diag(confidence) @ y + ridge * np.eye(y.shape[1])
    right = y.T @ (np.where(weight > 0, confidence, 0.0))
    np.testing.assert_allclose(fold_in(taste, models)[user], np.linalg.solve(left, right), rtol=1e-3, atol=1e-5)


def test_own_features_equal_counts(
    pairs: Candidates, history: Interactions, models: ItemModels, table: dict[str, np.ndarray]
) -> None:
    for k in range(0, len(pairs), 5):
        user, item = int(pairs.user[k]), int(pairs.item[k])
        days, visits = bought(history, user, item), bought(history, user)
        assert table["is_own"][k] == bool(days)
        assert table["own_days"][k] == len(days)
        assert table["own_decay_14"][k] == pytest.approx(sum(0.5 ** ((DAY - day) / 14) for day in days), rel=1e-5)
        assert table["own_in_3"][k] == pytest.approx(len(set(days) & set(visits[-3:])) / 3)
        if not days:
            assert np.isnan(table["own_last"][k])
            continue
        assert table["own_last"][k] == DAY - days[-1]
        assert table["own_missed"][k] == sum(day > days[-1] for day in visits)
        assert table["own_rate"][k] == pytest.approx(len(days) / sum(day >= days[0] for day in visits))
        usual = models.column("gap")[pairs.row[k]]
        assert table["own_gap"][k] == pytest.approx((days[-1] - days[0] + 2 * usual) / (len(days) + 1), rel=1e-5)


def test_user_features_equal_counts(pairs: Candidates, history: Interactions, table: dict[str, np.ndarray]) -> None:
    for user in np.unique(pairs.user):
        k = int(np.flatnonzero(pairs.user == user)[0])
        visits = bought(history, user)
        lines = [(int(i), int(d)) for i, d, u in zip(history.item, history.day, history.user, strict=True) if u == user]
        lines = sorted({line for line in lines if line[1] < DAY})
        assert table["user_baskets"][k] == pytest.approx(np.log1p(len(visits)), rel=1e-5)
        assert table["user_last"][k] == DAY - visits[-1]
        assert table["user_size"][k] == pytest.approx(len(lines) / len(visits), rel=1e-5)
        assert table["user_repeats"][k] == pytest.approx(1 - len({i for i, _ in lines}) / len(lines), abs=1e-6)


def test_ranks_and_z_are_the_users_own(pairs: Candidates, table: dict[str, np.ndarray]) -> None:
    for user in np.unique(pairs.user):
        rows = np.flatnonzero(pairs.user == user)
        score = table["knn_score"][rows]
        order = sorted(range(len(rows)), key=lambda r: (-score[r], pairs.item[rows[r]]))
        assert [table["knn_rank"][rows[r]] for r in order] == list(range(1, len(rows) + 1))
        assert table["knn_z"][rows].mean() == pytest.approx(0, abs=1e-4)
        new = [r for r in order if not table["is_own"][rows[r]]]
        assert [table["knn_kind_rank"][rows[r]] for r in new] == list(range(1, len(new) + 1))


def test_attribute_shares_equal_counts(
    pairs: Candidates, history: Interactions, models: ItemModels, table: dict[str, np.ndarray]
) -> None:
    candidate = set(models.items.tolist())
    for k in range(0, len(pairs), 11):
        lines = {
            (int(i), int(d))
            for u, i, d in zip(history.user, history.item, history.day, strict=True)
            if u == pairs.user[k] and d < DAY and int(i) in candidate
        }
        weight = {line: 0.5 ** ((DAY - line[1]) / OWN_HALF_LIFE) for line in lines}
        same = sum(value for (item, _), value in weight.items() if item % 3 == pairs.item[k] % 3)
        assert table["attribute_2"][k] == pytest.approx(same / sum(weight.values()), rel=1e-4)
    assert np.isnan(table["attribute_3"]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_users_rows_do_not_depend_on_the_block(
    history: Interactions, models: ItemModels, pairs: Candidates, seed: int
) -> None:
    whole = features(pairs, history, models, DAY)
    users = np.unique(pairs.user)
    part = np.random.default_rng(seed).permutation(users)[:4]
    alone = history.part(np.isin(history.user, part))
    block = propose(alone, models, DAY, per_source=FEW)
    rows = np.isin(pairs.user, part)
    for field in fields(Candidates):
        np.testing.assert_allclose(getattr(block, field.name), getattr(pairs, field.name)[rows], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features(block, alone, models, DAY), whole[rows], rtol=1e-4, atol=1e-4)


def test_the_day_and_later_change_nothing(history: Interactions, models: ItemModels, pairs: Candidates) -> None:
    past = history.before(DAY)
    again = propose(past, models, DAY, per_source=FEW)
    assert np.array_equal(again.item, pairs.item)
    assert np.array_equal(features(again, past, models, DAY), features(pairs, history, models, DAY), equal_nan=True)


def test_vectors_bring_items_never_sold(history: Interactions) -> None:
    draw = np.random.default_rng(3)
    past = history.part(history.item != 4)  # 4 is in the catalogue and was never sold
    models = fit(past, DAY, settings=SETTINGS, catalogue=np.array([4]))
    item_vectors = draw.normal(size=(len(history.items), 6)).astype(np.float32)
    user_vectors = draw.normal(size=(len(history.users), 6)).astype(np.float32)
    pairs = propose(
        past, models, DAY, user_vectors=user_vectors, item_vectors=item_vectors[models.items], per_source=FEW
    )
    fresh = pairs.proposed[:, GENERATORS.index("fresh")]
    assert set(np.unique(pairs.user[(pairs.item == 4) & fresh])) == set(np.unique(pairs.user))
    cosine = (user_vectors[pairs.user] * item_vectors[pairs.item]).sum(axis=1)
    np.testing.assert_allclose(pairs.scores[:, GENERATORS.index("bert")], cosine, rtol=1e-4, atol=1e-5)
    assert not np.isnan(features(pairs, past, models, DAY)[:, list(FEATURES).index("bert_z")]).any()


def test_nobody_with_a_history_means_no_rows(history: Interactions, models: ItemModels) -> None:
    nobody = history.before(0)
    pairs = propose(nobody, models, DAY)
    assert len(pairs) == 0
    assert features(pairs, nobody, models, DAY).shape == (0, len(FEATURES))


@pytest.mark.parametrize("part", ["knn", "next", "basket", "ease", "als", "popular", "trend"])
def test_an_ablated_run_is_the_run_proposed_by_the_other_generators(
    history: Interactions, models: ItemModels, pairs: Candidates, part: str
) -> None:
    """No votes, places, scores or carriers of it are left: every column is as if it had never proposed."""
    left, table = without(pairs, features(pairs, history, models, DAY), [part])
    rest = [name for name in GENERATORS if name != part]
    fresh = propose(history, models, DAY, per_source=FEW, generators=rest)
    expected = features(fresh, history, models, DAY)
    explained = {"reason", "carried", "carriers"} if part == "knn" else set()
    for each in fields(Candidates):
        if each.name not in explained:
            np.testing.assert_array_equal(getattr(left, each.name), getattr(fresh, each.name), each.name)
    hidden = explained | ({"user_taste_popular"} if part == "popular" else set())
    for place, name in enumerate(FEATURES):
        if name in hidden:
            assert np.isnan(table[:, place]).all(), name
        else:
            np.testing.assert_allclose(table[:, place], expected[:, place], rtol=1e-4, err_msg=name)


def test_without_own_history_no_own_item_is_left(history: Interactions, models: ItemModels, pairs: Candidates) -> None:
    left, table = without(pairs, features(pairs, history, models, DAY), ["own"])
    column = dict(zip(FEATURES, table.T, strict=True))
    assert not column["is_own"].any()
    assert np.isnan(column["own_score"]).all()
    assert not left.proposed[:, GENERATORS.index("own")].any()
