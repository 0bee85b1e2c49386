"""The fit of item models, from the purchases before one day: of everybody, or of a sample of users.

What is a count comes from everybody (`ItemCounts`). What is learned from a sample does not depend on its size: beyond
`reference_users`, ridges and shrinkage grow with the users, as every sum over users does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.item_models import FitSettings, Halves, ItemModels
from udfs.recommend.item_statistics import ItemCounts, count_items, statistics_of
from udfs.recommend.neighbours import cosine, ease_regression, turned_to
from udfs.recommend.user_matrix import user_matrix

SEED = 20_240
START = 0.01  # the largest of ALS's factors at the start


def fit(
    interactions: Interactions,
    day: int,
    *,
    settings: FitSettings | None = None,
    counts: ItemCounts | None = None,
    catalogue: npt.NDArray[np.integer] | None = None,
    attributes: Codes | None = None,
    threads: int = 1,
) -> ItemModels:
    """Models of the purchases before `day`; later ones are not used.

    counts: of everybody, where `interactions` are those of a sample. catalogue: codes of further candidate items
    (described, never or not lately sold); attributes: [all items, kinds]. threads: models fitted side by side, each on
    one thread: the bits stay the same.
    """
    settings = settings or FitSettings()
    seen = interactions.before(day)
    counts = counts or count_items(seen, day)
    alive = (counts.column("buyers") > 0) & (counts.column("last_day") >= day - settings.alive_days)
    if catalogue is not None:
        alive[catalogue] = True
    never = counts.column("buyers") == 0
    items = np.flatnonzero(alive & ~never).astype(np.int32)
    days = seen.user_days()
    times = max(1.0, len(np.unique(days.user)) / settings.reference_users)
    scaled = _scaled(settings, times)
    taste = user_matrix(days, day, settings.half_life, settings.user_items)[:, items].tocsr()
    taste = taste[np.diff(taste.indptr) > 0]
    with ThreadPoolExecutor(threads) as pool:
        turned = pool.submit(turned_to, days, items, day, settings, times)
        alike = pool.submit(cosine, taste, settings.neighbours, scaled.shrinkage)
        factorised = pool.submit(_als, taste, scaled, times)
        regressed = pool.submit(ease_regression, taste, scaled)
        together = pool.submit(_together, seen, items, settings, scaled.shrinkage)
        neighbours, similarities = alike.result()
        next_neighbours, next_similarities = turned.result()
        basket_neighbours, basket_similarities = together.result()
        ease, factors = regressed.result(), factorised.result()
    items = np.concatenate([items, np.flatnonzero(alive & never).astype(np.int32)])
    kinds = np.empty((len(items), 0), np.int32) if attributes is None else attributes[items].astype(np.int32)
    return ItemModels(
        day=np.array([day], np.int32),
        reference=np.array([counts.reference], np.float32),
        items=items,
        statistics=statistics_of(counts, day)[items],
        attributes=kinds,
        neighbours=neighbours,
        similarities=similarities,
        next_neighbours=next_neighbours,
        next_similarities=next_similarities,
        basket_neighbours=basket_neighbours,
        basket_similarities=basket_similarities,
        ease_neighbours=ease[0],
        ease_weights=ease[1],
        factors=factors,
        gram=factors.T @ factors,
        confidence=np.array([scaled.alpha, scaled.regularization, scaled.half_life], np.float32),
    )


def _scaled(settings: FitSettings, times: float) -> FitSettings:
    """The settings for `times` as many users as they are for: what they add to sums over users grows as these do.

    ALS adds the same to the sums over a user's items, which do not grow: with the root of `times`, both sides' factors
    are those of `times` on the items' side alone, up to a common factor (see `_als`).
    """
    return replace(
        settings,
        shrinkage=settings.shrinkage * times,
        ease_ridge=settings.ease_ridge * times,
        regularization=settings.regularization * float(np.sqrt(times)),
    )


def _together(seen: Interactions, items: Codes, settings: FitSettings, shrinkage: float) -> tuple[Codes, Halves]:
    """Neighbours over baskets, as `cosine` gives them."""
    baskets, share = _baskets(seen, settings)
    return cosine(baskets[:, items].tocsr(), settings.basket_neighbours, shrinkage * share)


def _baskets(seen: Interactions, settings: FitSettings) -> tuple[sp.csr_matrix, float]:
    """[baskets, items] of 0 and 1: what was bought together, guests included; and the share of baskets drawn."""
    baskets = np.unique(seen.basket)
    share = min(1.0, settings.max_baskets / max(len(baskets), 1))
    if share < 1:
        baskets = np.sort(np.random.default_rng(SEED).choice(baskets, settings.max_baskets, replace=False))
    chosen = np.isin(seen.basket, baskets)
    code = np.searchsorted(baskets, seen.basket[chosen])
    ones = np.ones(len(code), np.float32)
    matrix = sp.csr_matrix((ones, (code, seen.item[chosen])), shape=(len(baskets), len(seen.items)))
    matrix.data[:] = 1  # duplicates were added up
    return matrix, share


def _als(matrix: sp.csr_matrix, settings: FitSettings, times: float) -> Floats:
    """[columns, factors]: implicit ALS on one thread from a fixed seed.

    Users start at 0 and items at a multiple of the fourth root of `times`, by which these solutions are larger: then
    the products of users' and items' factors are the same however often all users are copied.
    """
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
    start = np.random.default_rng(SEED).random((matrix.shape[1], settings.factors), np.float32)
    model.user_factors = np.zeros((matrix.shape[0], settings.factors), np.float32)
    model.item_factors = start * np.float32(START * times**0.25)
    model.fit(matrix.astype(np.float32), show_progress=False)
    unseen = np.bincount(matrix.indices, minlength=matrix.shape[1]) == 0
    factors: Floats = np.asarray(model.item_factors, np.float32).copy()
    factors[unseen] = 0  # would stay at their random start
    return factors
