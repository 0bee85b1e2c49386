"""Peers: the models that a recommender must beat, each fitted in seconds.

`fit(interactions, day, **params)` sees purchases before `day` alone and gives a Scorer. Each peer also comes blended
with recent popularity, score + b * log(1 + recent buyers): such a blend is a peer too, and often the strongest.
peer_tuning.py chooses hyperparameters on a validation cut, for each task; all is seeded and runs on one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.item_models import transposed
from udfs.recommend.neighbours import cosine
from udfs.recommend.peer_scorer import RECENT_DAYS, Scorer, scorer
from udfs.recommend.user_matrix import user_matrix
from udfs.top_k.exact import best_columns

EASE_ITEMS = 6_000  # EASE inverts a matrix of this many items: some 5 s and 300 MiB on one core
SEED = 7


def _profile(days: Interactions, day: int, half_life: float | None) -> sp.csr_matrix:
    """[users, items] the number of days on which the user bought the item, each halved every half_life days."""
    age = day - days.day
    return days.matrix(None if half_life is None else np.exp2(-age / half_life))


def _dense(matrix: sp.csr_matrix) -> Floats:
    return np.asarray(matrix.toarray(), np.float32)


def _diagonal(values: npt.NDArray[np.floating]) -> sp.dia_matrix:
    return sp.diags(values.astype(np.float32))


def popularity(interactions: Interactions, day: int, *, days: int = RECENT_DAYS) -> Scorer:
    """Buyers of the last days."""
    seen = interactions.before(day)
    score = seen.within(day - days, day).buyers().astype(np.float32)
    return scorer(seen, day, lambda users: np.tile(score, (len(users), 1)))


def own_history(interactions: Interactions, day: int, *, half_life: float = 60, shape: float = 1.0) -> Scorer:
    """The days on which the user bought the item, the older the lighter, to the power `shape`."""
    seen = interactions.before(day)
    profile = _profile(seen.user_days(), day, half_life)
    profile.data **= np.float32(shape)
    return scorer(seen, day, lambda users: _dense(profile[users]))


def item_knn(
    interactions: Interactions,
    day: int,
    *,
    half_life: float = 120,
    pair_half_life: float | None = 30,
    others: float = 1.0,
    neighbours: int | None = None,
    shrinkage: float = 0.0,
) -> Scorer:
    """Decayed purchases times the cosine of items' buyers, without a cut-off of neighbours.

    A buyer counts by 1 / sqrt(number of items bought), and, with pair_half_life, for the item proposed by the recency
    of the purchase: an item is near that such buyers turn to now. The user's own purchase of the item itself counts
    once more, (1 / others - 1)-fold: with `others` below 1, repeats come first.

    With `neighbours`, the form that our own generator has: the cosine of decayed purchases, the more the less each, an
    item's nearest alone, with `shrinkage` users added to either item's count (neighbours.py).
    """
    seen = interactions.before(day)
    days = seen.user_days()
    profile = _profile(days, day, half_life)
    own = np.float32(1 / others - 1)
    if neighbours is not None:
        profile = user_matrix(days, day, half_life)
        near = transposed(*cosine(profile, neighbours, shrinkage))
        return scorer(seen, day, lambda users: _dense(profile[users] @ near + own * profile[users]))
    bought = _profile(days, day, None)
    bought.data[:] = 1
    per_user = _diagonal(np.maximum(np.diff(bought.indptr), 1) ** -0.5)
    bought = (per_user @ bought).tocsr()
    length = np.sqrt(np.asarray(bought.multiply(bought).sum(axis=0)).ravel())
    scale = _diagonal(1 / np.where(length > 0, length, 1))
    lately = bought
    if pair_half_life is not None:
        lately = _profile(days, day, pair_half_life)
        lately.data = np.minimum(lately.data, 1)
        lately = per_user @ lately
    # (profile @ items) @ items: through users, of whom there are few, instead of items by items.
    left, right = (bought @ scale).T.tocsr(), (lately @ scale).tocsr()

    def of(users: Codes) -> Floats:
        mine = profile[users]
        near = np.asarray(_dense(mine @ left) @ right, np.float32)
        return near + own * _dense(mine) if own else near

    return scorer(seen, day, of)


def ease(
    interactions: Interactions, day: int, *, ridge: float = 300, half_life: float | None = 120, items: int = EASE_ITEMS
) -> Scorer:
    """EASE (Steck 2019) over the `items` most bought: each item from all others by ridge regression, in closed form.

    A user's purchases are decayed when they are scored, and count 1 without a half-life; as examples they count 1.
    """
    seen = interactions.before(day)
    days = seen.user_days()
    count = np.bincount(days.item, minlength=len(seen.items))
    order = np.lexsort((np.arange(len(count)), -count))[:items]
    chosen = np.sort(order[count[order] > 0])
    profile = _profile(days, day, half_life)[:, chosen]
    bought = profile.copy()
    bought.data[:] = 1
    if half_life is None:
        profile = bought
    gram = _dense(bought.T @ bought)
    gram[np.diag_indices_from(gram)] += ridge
    with threadpool_limits(1):
        inverse = lapack.spotri(lapack.spotrf(gram)[0])[0]  # the upper triangle alone
    inverse = np.triu(inverse) + np.triu(inverse, 1).T
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    weights[np.diag_indices_from(weights)] = 0

    def of(users: Codes) -> Floats:
        scores = np.zeros((len(users), len(seen.items)), np.float32)
        scores[:, chosen] = profile[users] @ weights
        return scores

    return scorer(seen, day, of)


def als(
    interactions: Interactions,
    day: int,
    *,
    factors: int = 64,
    half_life: float | None = 120,
    alpha: float = 1.0,
    ridge: float = 0.01,
    iterations: int = 15,
) -> Scorer:
    """Implicit ALS (Hu et al. 2008); confidence is the decayed number of purchases, or 1 without a half-life."""
    seen = interactions.before(day)
    confidence = _profile(seen.user_days(), day, half_life)
    if half_life is None:
        confidence.data[:] = 1
    model = AlternatingLeastSquares(
        factors=factors, regularization=ridge, alpha=alpha, iterations=iterations, num_threads=1, random_state=SEED
    )
    return _factors(model, confidence, seen, day)


def bpr(
    interactions: Interactions,
    day: int,
    *,
    factors: int = 32,
    rate: float = 0.05,
    ridge: float = 0.01,
    iterations: int = 60,
) -> Scorer:
    """BPR (Rendle et al. 2009): factors under which bought items come before others."""
    seen = interactions.before(day)
    model = BayesianPersonalizedRanking(
        factors=factors,
        learning_rate=rate,
        regularization=ridge,
        iterations=iterations,
        num_threads=1,
        random_state=SEED,
    )
    return _factors(model, _profile(seen.user_days(), day, None), seen, day)


def _factors(model: Any, bought: sp.csr_matrix, seen: Interactions, day: int) -> Scorer:
    with threadpool_limits(1):
        model.fit(bought, show_progress=False)
    users, items = np.asarray(model.user_factors), np.asarray(model.item_factors).T
    return scorer(seen, day, lambda chosen: users[chosen] @ items)


def tifu_knn(
    interactions: Interactions,
    day: int,
    *,
    groups: int = 7,
    within: float = 0.9,
    between: float = 0.7,
    own_share: float = 0.7,
    neighbours: int = 300,
) -> Scorer:
    """TIFU-KNN (Hu et al. 2020): own_share * the user's vector + (1 - own_share) * the mean of the nearest users'.

    A vector: days of purchase in `groups` groups of like size, weighted by `within` per day back in a group and by
    `between` per group back.
    """
    seen = interactions.before(day)
    lines = seen.user_days()
    baskets, basket = np.unique(np.stack([lines.user, lines.day]).astype(np.int64), axis=1, return_inverse=True)
    user = baskets[0]
    count = np.bincount(user, minlength=len(seen.users))
    back = np.cumsum(count)[user] - 1 - np.arange(len(user))  # 0 is the user's last
    size = np.ceil(count[user] / groups).astype(np.int64)
    group, used = back // size, np.ceil(count[user] / size)
    members = np.where(group == used - 1, count[user] - (used - 1) * size, size)
    weight = within ** (back % size) / members * between**group / used
    vectors = lines.matrix(weight[basket.ravel()])
    known = np.flatnonzero(count).astype(np.int32)
    others = vectors[known]
    transposed, squares = others.T.tocsr(), np.asarray(others.multiply(others).sum(axis=1)).ravel()

    def of(users: Codes) -> Floats:
        mine = vectors[users]
        nearness = 2 * _dense(mine @ transposed) - squares  # the squared distance, less what is the same for all
        nearness[users[:, None] == known] = -np.inf
        near = best_columns(nearness, min(neighbours, max(len(known) - 1, 1)))
        rows, places = np.nonzero(near >= 0)
        share = np.full(len(rows), 1 / near.shape[1], np.float32)
        mean = sp.csr_matrix((share, (rows, near[rows, places])), shape=nearness.shape) @ others
        return _dense(mine * np.float32(own_share) + mean * np.float32(1 - own_share))

    return scorer(seen, day, of)
