"""Candidates: one row is one user and one item that some generator proposes for that user."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.grouped import Longs, ranks
from udfs.recommend.item_models import Halves, ItemModels
from udfs.recommend.user_matrix import decay, user_matrix

# A generator scores every item for every user; the figure is how many items of a user it proposes.
PER_SOURCE: Final = {
    "own": 200,  # what the user bought before
    "knn": 100,  # ItemKNN over users
    "next": 100,  # what the buyers of the user's items turn to lately
    "basket": 50,  # what lies in one basket with the user's items
    "ease": 60,  # EASE over the most-bought items
    "als": 100,  # implicit ALS, folded in
    "popular": 60,  # buyers in the last 28 days
    "trend": 20,  # more buyers this week than earlier weeks predict
    "bert": 60,  # cosine of the user's and the item's vector
    "fresh": 20,  # the same among items first sold in the last 14 days or never
}
GENERATORS: Final = tuple(PER_SOURCE)
FRESH_DAYS = 14
OWN_HALF_LIFE = 120.0
USERS_PER_BLOCK = 128  # [block, items] of float32 for each generator is held at a time
REASON_NEIGHBOURS = 50


@dataclass(frozen=True)
class Candidates:
    """One row is one pair, by (user, item); users without known purchases have none.

    user, item: codes; row: the item's row in ItemModels; scores: [rows, GENERATORS], NaN where a generator was
    not requested or needs vectors that were not given; reason: code of the own item with the largest part of the
    ItemKNN score, -1 where none; carried: that own item's share of the score; carriers: how many own items
    are neighbours.
    """

    user: Codes
    item: Codes
    row: Codes
    scores: Floats
    proposed: npt.NDArray[np.bool_]
    reason: Codes
    carried: Floats
    carriers: Floats

    def __len__(self) -> int:
        """Pairs."""
        return len(self.user)


def propose(
    history: Interactions,
    models: ItemModels,
    day: int,
    *,
    user_vectors: Floats | None = None,
    item_vectors: Floats | None = None,
    generators: Collection[str] = GENERATORS,
    per_source: dict[str, int] | None = None,
) -> Candidates:
    """The union of these generators for the users of `history`, from their purchases before `day`.

    user_vectors: [all users, dims] by user code; item_vectors: [all items, dims] by item code, a zero row where an
    item has none. A user's rows depend on that user's purchases and on the models only.
    """
    days = history.before(day).user_days()
    users = np.unique(days.user)
    limits = PER_SOURCE | (per_source or {})
    half_life = float(models.confidence[2])
    taste = user_matrix(days, day, half_life)[users][:, models.items].tocsr()
    own = days.matrix(decay(day - days.day, OWN_HALF_LIFE))[users][:, models.items].tocsr()
    near = _transposed(models.neighbours, models.similarities)
    near_next = _transposed(models.next_neighbours, models.next_similarities)
    near_basket = _transposed(models.basket_neighbours, models.basket_similarities)
    near_ease = _transposed(models.ease_neighbours, models.ease_weights)
    popular, trend = popularity(models), _trend(models)
    factors = models.factors.astype(np.float64)
    vectors = None if item_vectors is None else item_vectors[models.items].astype(np.float64)
    with_vectors = vectors is not None and user_vectors is not None
    fresh = models.column("first_age") <= FRESH_DAYS
    parts = []
    for start in range(0, len(users), USERS_PER_BLOCK):
        block = slice(start, min(start + USERS_PER_BLOCK, len(users)))
        weight = taste[block]
        scores: dict[str, Floats] = {
            "own": own[block].toarray(),
            "knn": (weight @ near).toarray(),
            "next": (weight @ near_next).toarray(),
            "basket": (weight @ near_basket).toarray(),
            "ease": (weight @ near_ease).toarray(),
            "als": _products(fold_in(weight, models), factors),
            "popular": np.broadcast_to(popular, (weight.shape[0], len(models))),
            "trend": np.broadcast_to(trend, (weight.shape[0], len(models))),
        }
        if with_vectors:
            assert user_vectors is not None
            assert vectors is not None
            scores["bert"] = _products(user_vectors[users[block]], vectors)
            scores["fresh"] = np.where(fresh, scores["bert"], np.float32(-np.inf))
        scores = {name: score for name, score in scores.items() if name in generators}
        parts.append(_block(scores, limits, weight.toarray(), models, users[block]))
    if not parts:  # no user with a history
        none = np.empty(0, np.int32)
        wide = np.empty((0, len(GENERATORS)), np.float32)
        return Candidates(none, none, none, wide, wide > 0, none, wide[:, 0], wide[:, 0])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Candidates(*joined)


def _products(users: Floats, items: npt.NDArray[np.float64]) -> Floats:
    """[users, items]: the product of each pair, rounded from float64.

    In float32 its last bit would depend on the number of users in the block, and so would the order of near ties.
    """
    return np.asarray(users.astype(np.float64) @ items.T, np.float32)


def fold_in(taste: sp.csr_matrix, models: ItemModels) -> Floats:
    """[users, factors]: each user's ALS factors in closed form, from the user's row of `taste` alone."""
    alpha, regularization = float(models.confidence[0]), float(models.confidence[1])
    size = models.factors.shape[1]
    ridge = models.gram.astype(np.float64) + regularization * np.eye(size)
    result = np.zeros((taste.shape[0], size), np.float32)
    for user in range(taste.shape[0]):
        part = slice(taste.indptr[user], taste.indptr[user + 1])
        own = models.factors[taste.indices[part]].astype(np.float64)
        confidence = alpha * taste.data[part].astype(np.float64)
        if len(confidence):
            # implicit: confidence c = alpha x weight is 1 + (c - 1): Y'CY = Y'Y + Y'(C - 1)Y
            left = ridge + (own * (confidence - 1)[:, None]).T @ own
            result[user] = np.linalg.solve(left, own.T @ confidence)
    return result


def _transposed(rows: Codes, values: Halves) -> sp.csr_matrix:
    """[own items, items]: the similarity where the own item is among the item's neighbours."""
    is_neighbour = rows >= 0
    ends = np.concatenate([[0], np.cumsum(is_neighbour.sum(axis=1))])
    near = sp.csr_matrix(
        (values[is_neighbour].astype(np.float32), rows[is_neighbour], ends), shape=(len(rows), len(rows))
    )
    return near.T.tocsr()


def popularity(models: ItemModels) -> Floats:
    """A number per candidate item: log of buyers in the last 28 days, and a little of those in 84."""
    popular = np.log1p(models.column("buyers_28")) + 0.01 * np.log1p(models.column("buyers_84"))
    return popular.astype(np.float32)


def _trend(models: ItemModels) -> Floats:
    usual = models.column("buyers_84") / 12
    trend = (models.column("buyers_7") - usual) / np.sqrt(usual + 1)
    return trend.astype(np.float32)


def _top(scores: Floats, count: int) -> npt.NDArray[np.bool_]:
    """True for the `count` best of each row by (score desc, item asc), of those above -inf."""
    rows, width = scores.shape
    if count >= width:
        return scores > -np.inf
    chosen = np.zeros(scores.shape, bool)
    if count <= 0:
        return chosen
    # The count-th best of the chunks' maxima is no more than the count-th best score: few scores are left to sort.
    chunk = max(1, width // (8 * count))
    covered = width // chunk * chunk
    maxima = scores[:, :covered].reshape(rows, -1, chunk).max(axis=2)
    edge = np.partition(maxima, maxima.shape[1] - count, axis=1)[:, -count][:, None]
    row, item = np.nonzero((scores >= edge) & (scores > -np.inf))
    is_best = ranks(row, scores[row, item]) <= count
    chosen[row[is_best], item[is_best]] = True
    return chosen


def _block(
    scores: dict[str, Floats], limits: dict[str, int], taste: Floats, models: ItemModels, users: Codes
) -> tuple[npt.NDArray[Any], ...]:
    """The columns of Candidates for the users of one block."""
    mine = scores["own"] > 0
    proposed = {}
    for name, score in scores.items():
        wanted = np.where(mine, score, np.float32(-np.inf)) if name == "own" else score
        if name in ("knn", "next", "basket", "ease"):
            wanted = np.where(score > 0, score, np.float32(-np.inf))
        if name != "own":  # own items have their generator; the others propose new items
            wanted = np.where(mine, np.float32(-np.inf), wanted)
        proposed[name] = _top(wanted, limits[name])
    union = np.logical_or.reduce(list(proposed.values()))
    user, row = np.nonzero(union)
    values = np.full((len(user), len(GENERATORS)), np.nan, np.float32)
    by = np.zeros(values.shape, bool)
    for place, name in enumerate(GENERATORS):
        if name in scores:
            score = scores[name]
            values[:, place] = score[user, row]
            by[:, place] = proposed[name][user, row]
    reason, carried, carriers = _reasons(user, row, taste, models)
    item = models.items[row]
    return (users[user], item, row.astype(np.int32), values, by, reason, carried, carriers)


def _reasons(user: Longs, row: Longs, taste: Floats, models: ItemModels) -> tuple[Codes, Floats, Floats]:
    """The own item with the largest part of an item's ItemKNN score, its share, and how many own items have a part."""
    near = models.neighbours[row, :REASON_NEIGHBOURS]
    weights = taste[user[:, None], near] * (near >= 0) * models.similarities[row, :REASON_NEIGHBOURS]
    best = weights.argmax(axis=1)
    most = weights[np.arange(len(row)), best]
    total = weights.sum(axis=1)
    reason = np.where(most > 0, models.items[near[np.arange(len(row)), best]], -1)
    share = most / np.maximum(total, np.float32(1e-9))
    return reason.astype(np.int32), share.astype(np.float32), (weights > 0).sum(axis=1).astype(np.float32)
