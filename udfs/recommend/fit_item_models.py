"""The fit of item models, from the purchases before one day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.item_models import FitSettings, ItemModels
from udfs.recommend.item_statistics import statistics_of
from udfs.recommend.neighbours import cosine, ease_regression, turned_to
from udfs.recommend.user_matrix import user_matrix

SEED = 20_240


def fit(
    interactions: Interactions,
    day: int,
    *,
    settings: FitSettings | None = None,
    catalogue: npt.NDArray[np.integer] | None = None,
    attributes: Codes | None = None,
) -> ItemModels:
    """Models of the purchases before `day`; later ones are not used.

    catalogue: codes of further candidate items (described, never or not lately sold); attributes: [all items, kinds].
    """
    settings = settings or FitSettings()
    seen = interactions.before(day)
    count = len(seen.items)
    alive = np.zeros(count, bool)
    alive[seen.item[seen.day >= day - settings.alive_days]] = True
    if catalogue is not None:
        alive[catalogue] = True
    never = np.bincount(seen.item, minlength=count) == 0
    items = np.flatnonzero(alive & ~never).astype(np.int32)
    days = seen.user_days()
    known = _sampled(days, settings)
    taste = user_matrix(known, day, settings.half_life, settings.user_items)[:, items].tocsr()
    taste = taste[np.diff(taste.indptr) > 0]
    neighbours, similarities = cosine(taste, settings.neighbours, settings.shrinkage)
    next_neighbours, next_similarities = turned_to(known, items, day, settings)
    baskets = _baskets(seen, settings)[:, items].tocsr() if settings.basket_neighbours else taste[:0]
    basket = cosine(baskets, settings.basket_neighbours, settings.shrinkage)
    ease = ease_regression(taste, settings)
    factors = _als(taste, settings)
    items = np.concatenate([items, np.flatnonzero(alive & never).astype(np.int32)])
    kinds = np.empty((len(items), 0), np.int32) if attributes is None else attributes[items].astype(np.int32)
    return ItemModels(
        day=np.array([day], np.int32),
        items=items,
        statistics=statistics_of(seen, days, day)[items],
        attributes=kinds,
        neighbours=neighbours,
        similarities=similarities,
        next_neighbours=next_neighbours,
        next_similarities=next_similarities,
        basket_neighbours=basket[0],
        basket_similarities=basket[1],
        ease_neighbours=ease[0],
        ease_weights=ease[1],
        factors=factors,
        gram=factors.T @ factors,
        confidence=np.array([settings.alpha, settings.regularization, settings.half_life], np.float32),
    )


def _sampled(days: Interactions, settings: FitSettings) -> Interactions:
    """The purchases of at most max_users users, drawn by a fixed seed."""
    active = np.unique(days.user)
    if len(active) <= settings.max_users:
        return days
    is_drawn = np.zeros(len(days.users), bool)
    is_drawn[np.random.default_rng(SEED).choice(active, settings.max_users, replace=False)] = True
    return days.part(is_drawn[days.user])


def _baskets(seen: Interactions, settings: FitSettings) -> sp.csr_matrix:
    """[baskets, items] of 0 and 1: what was bought together, guests included, the newest baskets."""
    baskets, first = np.unique(seen.basket[::-1], return_index=True)
    newest = baskets[np.argsort(first, kind="stable")[: settings.max_baskets]]
    chosen = np.isin(seen.basket, newest)
    code = np.unique(seen.basket[chosen], return_inverse=True)[1]
    ones = np.ones(len(code), np.float32)
    matrix = sp.csr_matrix((ones, (code, seen.item[chosen])), shape=(len(newest), len(seen.items)))
    matrix.data[:] = 1  # duplicates were added up
    return matrix


def _als(matrix: sp.csr_matrix, settings: FitSettings) -> Floats:
    """[columns, factors]: implicit ALS on one thread from a fixed seed."""
    if not matrix.nnz or not settings.factors:
        return np.zeros((matrix.shape[1], settings.factors), np.float32)
    model = AlternatingLeastSquares(
        factors=settings.factors,
        iterations=settings.iterations,
        regularization=settings.regularization,
        alpha=settings.alpha,
        random_state=SEED,
        num_threads=1,
        use_gpu=False,
    )
    model.fit(matrix.astype(np.float32), show_progress=False)
    unseen = np.bincount(matrix.indices, minlength=matrix.shape[1]) == 0
    factors: Floats = np.asarray(model.item_factors, np.float32).copy()
    factors[unseen] = 0  # would stay at their random start
    return factors
