"""Generators against a dense proposal in plain NumPy: every item is scored for every user."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.test_item_models import DAY, shop
from udfs.interactions import Floats, Interactions
from udfs.recommend import candidates, generators
from udfs.recommend.best_rows import best, merged, on_common_grid
from udfs.recommend.candidates import GENERATORS, Candidates, propose
from udfs.recommend.fit_item_models import fit
from udfs.recommend.item_models import FitSettings, ItemModels
from udfs.recommend.user_matrix import decay, user_matrix
from udfs.top_k.products import on_grid

SETTINGS = FitSettings(
    alive_days=90, neighbours=6, next_neighbours=6, basket_neighbours=4, ease_neighbours=5, factors=4, iterations=3
)
UNSOLD = [3, 11, 20, 39]


def drawn(seed: int) -> tuple[Interactions, ItemModels, Floats, Floats]:
    """A shop with items never sold, one user without vectors, and items with the same vector or none."""
    draw = np.random.default_rng(seed)
    history = shop(seed, users=20, items=40, lines=900)
    history = history.part(~np.isin(history.item, UNSOLD))
    unsold = np.array([code for code in UNSOLD if code < len(history.items)])
    models = fit(history, DAY, settings=SETTINGS, catalogue=unsold)
    vectors = draw.normal(size=(len(history.items), 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    vectors[1::5] = vectors[0]
    vectors[2::7] = 0
    users = draw.normal(size=(len(history.users), 6)).astype(np.float32)
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    users[5] = 0
    return history, models, users, vectors


def dense(history: Interactions, models: ItemModels, users: Floats, vectors: Floats) -> dict[str, Floats]:
    """[users, candidate items by code]: the scores of each generator."""
    days, order = history.before(DAY).user_days(), np.argsort(models.items)
    taste = user_matrix(days, DAY, SETTINGS.half_life)[:, models.items].tocsr()
    fresh, shape = models.column("first_age") <= generators.FRESH_DAYS, (len(users), len(models))
    factors, unit = on_common_grid(models.factors)
    scores = {"own": days.matrix(decay(DAY - days.day, candidates.OWN_HALF_LIFE))[:, models.items].toarray()}
    for name, votes in models.votes.items():
        scores[name] = np.zeros(shape, np.float32)
        scores[name][:, : models.fitted] = (taste[:, : models.fitted] @ votes).toarray()
    scores["als"] = np.zeros(shape, np.float32)
    scores["als"][:, : models.fitted] = on_grid(generators.fold_in(taste, models)) @ factors.T.astype(float) * unit
    scores["popular"] = np.broadcast_to(generators.popularity(models), shape)
    scores["trend"] = np.broadcast_to(generators.trend(models), shape)
    scores["bert"] = (on_grid(users) @ vectors[models.items].T.astype(float)).astype(np.float32)
    scores["fresh"] = np.where(fresh, scores["bert"], np.float32(-np.inf))
    return {name: scores[name][:, order] for name in GENERATORS}


def proposed(scores: dict[str, Floats], limit: int) -> dict[str, npt.NDArray[np.bool_]]:
    """The proposals of a dense block: the `limit` best by (score desc, item asc) of what each may propose."""
    chosen = {}
    for name, score in scores.items():
        may = (score > 0) if name in ("own", *generators.VOTES) else score > -np.inf
        may = may & ((scores["own"] > 0) == (name == "own"))
        first = np.argsort(np.where(may, -score.astype(float), np.inf), axis=1, kind="stable")[:, :limit]
        chosen[name] = np.zeros(score.shape, bool)
        np.put_along_axis(chosen[name], first, True, axis=1)
        chosen[name] &= may
    return chosen


@pytest.mark.parametrize("limit", [1, 4, 50])
@pytest.mark.parametrize("seed", [1, 2])
def test_proposals_equal_those_of_a_dense_block(seed: int, limit: int) -> None:
    history, models, users, vectors = drawn(seed)
    pairs = propose(
        history,
        models,
        DAY,
        user_vectors=users,
        item_vectors=vectors[models.items],
        per_source=dict.fromkeys(GENERATORS, limit),
    )
    scores = dense(history, models, users, vectors)
    by = proposed(scores, limit)
    has_history = np.unique(history.before(DAY).known().user)
    union = np.logical_or.reduce(list(by.values()))[has_history]
    user, place = np.nonzero(union)
    user = has_history[user]
    assert np.array_equal(pairs.user, user)
    assert np.array_equal(pairs.item, np.sort(models.items)[place])
    assert np.array_equal(models.items[pairs.row], pairs.item)
    for column, name in enumerate(GENERATORS):
        assert np.array_equal(pairs.proposed[:, column], by[name][user, place]), name
        assert np.array_equal(pairs.scores[:, column], scores[name][user, place]), name


def test_a_user_has_the_same_rows_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    history, models, users, vectors = drawn(3)

    def found() -> Candidates:
        return propose(history, models, DAY, user_vectors=users, item_vectors=vectors[models.items])

    all_at_once = found()
    monkeypatch.setattr(candidates, "USERS_PER_BLOCK", 7)
    monkeypatch.setattr(generators, "USERS_PER_SUM", 3)
    parts = found()
    for field in fields(Candidates):
        assert np.array_equal(getattr(parts, field.name), getattr(all_at_once, field.name), equal_nan=True), field.name


def test_the_best_are_by_score_then_item() -> None:
    draw = np.random.default_rng(0)
    for count in (0, 1, 5, 30, 40):
        score, item = draw.integers(0, 2, 30).astype(np.float32), draw.permutation(30)
        assert best(score, item, count).tolist() == np.lexsort((item, -score))[:count].tolist()
    rows, scores = np.array([[4, 2]]), np.array([[2, 1]], np.float32)
    more = np.array([[3, -1]]), np.array([[2, -np.inf]], np.float32)
    assert merged(np.arange(9), 4, (rows, scores), more)[0].tolist() == [[3, 4, 2, -1]]
