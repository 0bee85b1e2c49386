"""One result is what the purchases before one day say about items: counts, neighbours and factors, no user in it."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender

from udfs.interactions import Codes, Floats, Interactions
from udfs.top_k.exact import best_columns

Halves: TypeAlias = npt.NDArray[np.float16]
Longs: TypeAlias = npt.NDArray[np.int64]

# The columns of ItemModels.statistics. A buyer is a user, or the basket of a guest.
STATISTICS: Final = (
    "buyers_7",  # distinct buyers in the last 7 days
    "buyers_28",
    "buyers_56",  # in the 28 days before the last 28
    "buyers_84",
    "buyers",  # in all days
    "first_age",  # days since it was first sold; 0 where never
    "last_age",  # days since it was last sold
    "repeat_rate",  # share of known buyers who bought it on a second day, drawn to the shop's own share
    "gap",  # mean days between two purchases of one user, drawn to the shop's own mean
    "quantity",  # mean of log(1 + units) of a user and day
)
PRIOR_BUYERS = 10.0  # so many buyers of the shop's average behaviour stand beside an item's own
SEED = 20_240
ITEMS_PER_BLOCK = 1_024  # of the product of users' items with what they turned to: what is held at a time


@dataclass(frozen=True)
class FitSettings:
    """How item models are fitted; the defaults were tuned on validation cuts of two shops."""

    alive_days: int = 84  # an item is a candidate if it was sold in these days (or is in the catalogue given)
    neighbours: int = 100
    half_life: float = 120.0  # of a purchase's weight in ItemKNN, EASE and ALS, days
    shrinkage: float = 10.0  # users added to either item's count in the cosine
    next_neighbours: int = 200
    next_half_life: float = 20.0  # of the purchases that tell what the buyers of an item turn to, days
    basket_neighbours: int = 50
    ease_items: int = 3_000  # EASE inverts a matrix of the most-bought items
    ease_neighbours: int = 100
    ease_ridge: float = 100.0
    factors: int = 64
    iterations: int = 10
    regularization: float = 30.0
    alpha: float = 5.0
    user_items: int = 500  # a user's items of most weight that count in ItemKNN and ALS: bounds the pairs
    max_users: int = 50_000  # a sample beyond this: bounds the fit
    max_baskets: int = 400_000  # the newest

    def without(self, generators: Collection[str]) -> FitSettings:
        """The same without the neighbours that only these generators read (udfs/candidates.py); 0 of them is none."""
        return replace(self, **{f"{name}_neighbours": 0 for name in ("next", "basket", "ease") if name in generators})


@dataclass(frozen=True)
class ItemModels:
    """One row is one candidate item of the day, in every array; `items` holds their codes, ascending.

    neighbours and those of next, basket and ease hold rows (not codes), strongest first, -1 where there is none;
    a row is no neighbour of itself. factors belong to implicit ALS, `gram` is their Y'Y over all fitted items.
    """

    day: npt.NDArray[np.int32]  # one number: models know purchases before it
    items: Codes
    statistics: Floats  # [items, STATISTICS]
    attributes: Codes  # [items, kinds]: a code per kind of attribute, -1 where unknown
    neighbours: Codes
    similarities: Halves
    next_neighbours: Codes
    next_similarities: Halves
    basket_neighbours: Codes
    basket_similarities: Halves
    ease_neighbours: Codes
    ease_weights: Halves  # positive weights only
    factors: Floats
    gram: Floats
    confidence: Floats  # [alpha, regularization, half_life] of the fold-in

    def __len__(self) -> int:
        """Candidate items."""
        return len(self.items)

    def column(self, name: str) -> Floats:
        """One of STATISTICS, a number per candidate item."""
        return self.statistics[:, STATISTICS.index(name)]

    def rows(self, codes: npt.NDArray[np.integer]) -> Codes:
        """The row of each item code, -1 where it is no candidate item."""
        if not len(self.items):
            return np.full(len(codes), -1, np.int32)
        place = np.minimum(np.searchsorted(self.items, codes), len(self.items) - 1)
        return np.where(self.items[place] == codes, place, -1).astype(np.int32)

    def to_bytes(self) -> bytes:
        """All arrays in NumPy's own format, no pickle."""
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})
        return stream.getvalue()


def from_bytes(data: bytes) -> ItemModels:
    """What `to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return ItemModels(**{field.name: arrays[field.name] for field in fields(ItemModels)})


def fit(
    interactions: Interactions,
    day: int,
    *,
    settings: FitSettings | None = None,
    catalogue: npt.NDArray[np.integer] | None = None,
    attributes: Codes | None = None,
) -> ItemModels:
    """Models of the purchases before `day`; later ones are not looked at.

    catalogue: codes of further candidate items (described, never or not lately sold); attributes: [all items, kinds].
    """
    settings = settings or FitSettings()
    seen = interactions.before(day)
    count = len(seen.items)
    alive = np.zeros(count, bool)
    alive[seen.item[seen.day >= day - settings.alive_days]] = True
    if catalogue is not None:
        alive[catalogue] = True
    items = np.flatnonzero(alive).astype(np.int32)
    days = seen.user_days()
    known = _sampled(days, settings)
    taste = user_matrix(known, day, settings.half_life, settings.user_items)[:, items].tocsr()
    taste = taste[np.diff(taste.indptr) > 0]
    neighbours, similarities = _cosine(taste, settings.neighbours, settings.shrinkage)
    next_neighbours, next_similarities = _turned_to(known, items, day, settings)
    baskets = _baskets(seen, settings)[:, items].tocsr() if settings.basket_neighbours else taste[:0]
    basket = _cosine(baskets, settings.basket_neighbours, settings.shrinkage)
    ease = _ease(taste, settings)
    factors = _als(taste, settings)
    kinds = np.empty((len(items), 0), np.int32) if attributes is None else attributes[items].astype(np.int32)
    return ItemModels(
        day=np.array([day], np.int32),
        items=items,
        statistics=_statistics(seen, days, day)[items],
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


def decay(age: npt.NDArray[np.integer], half_life: float) -> Floats:
    """What a purchase of so many days ago still weighs: 1 today, 1/2 after half_life days."""
    weight: Floats = np.exp2(-age.astype(np.float32) / np.float32(half_life))
    return weight


def user_matrix(days: Interactions, day: int, half_life: float, user_items: int | None = None) -> sp.csr_matrix:
    """[users, items]: the decayed number of days on which the user bought the item, at most 1 + log of it.

    days: as `Interactions.user_days` gives them. user_items: so many of a user's items are kept, those of most weight.
    """
    matrix = days.matrix(decay(day - days.day, half_life))
    matrix.sum_duplicates()
    matrix.data = np.where(matrix.data > 1, 1 + np.log(np.maximum(matrix.data, 1)), matrix.data).astype(np.float32)
    if user_items is not None and len(matrix.data) and int(np.diff(matrix.indptr).max()) > user_items:
        user = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        matrix.sort_indices()
        rank = ranks(user, matrix.data) - 1
        matrix.data[rank >= user_items] = 0
        matrix.eliminate_zeros()
    return matrix


def starts(group: npt.NDArray[np.generic]) -> tuple[Longs, Longs]:
    """For sorted `group`: the first row of each group, and each row's group number."""
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if len(group) else np.empty(0, np.int64)
    number = np.zeros(len(group), np.int64)
    number[first[1:]] = 1
    return first, np.cumsum(number)


def ranks(group: Longs, score: Floats) -> Longs:
    """Each row's place in its group, 1 first, by (score desc, position asc), NaN last; `group` is ascending."""
    place = np.empty(len(group), np.int64)
    start = 0
    while start < len(group):
        end = min(int(np.searchsorted(group, group[start] + 1_000)), start + (1 << 22))
        if end < len(group) and group[end - 1] == group[end]:  # cut between groups only
            end = int(np.searchsorted(group, group[end]))
        part = slice(start, end)
        number = np.where(np.isnan(score[part]), -np.inf, score[part]).astype(np.float32)
        bits = (number + np.float32(0)).view(np.uint32)  # + 0: -0 is 0
        descending = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)
        place_of_group = (group[part] - group[start]).astype(np.uint64)
        key = place_of_group << np.uint64(54) | descending << np.uint64(22) | np.arange(end - start, dtype=np.uint64)
        key.sort()
        order = (key & np.uint64((1 << 22) - 1)).astype(np.int64)
        first, new = starts(group[part])  # the groups' rows are where they were
        place[start + order] = np.arange(end - start) - first[new] + 1
        start = end
    return place


def _sampled(days: Interactions, settings: FitSettings) -> Interactions:
    """The purchases of at most max_users users, drawn by a fixed seed."""
    active = np.unique(days.user)
    if len(active) <= settings.max_users:
        return days
    kept = np.zeros(len(days.users), bool)
    kept[np.random.default_rng(SEED).choice(active, settings.max_users, replace=False)] = True
    return days.part(kept[days.user])


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


def _turned_to(days: Interactions, items: Codes, day: int, settings: FitSettings) -> tuple[Codes, Halves]:
    """For each item the `next_neighbours` items whose buyers turn to it most: rows and similarities, best first.

    similarity of y for the buyers of x = sum over users of x_u y_u / n_u, over |x| |y|: x_u is 1 if the user bought x,
    y_u is what the user's purchases of y still weigh (at most 1) over what they weigh on average in the shop, so that
    a busy season does not raise every similarity; n_u is the number of the user's items, |x| the root of the sum of
    x_u / n_u. Who buys few things says more by each. An item with one buyer says nothing to others and has no weight.
    """
    rows = np.full((len(items), settings.next_neighbours), -1, np.int32)
    similarities = np.zeros(rows.shape, np.float16)
    if not settings.next_neighbours:
        return rows, similarities
    ever = days.matrix()[:, items].tocsr()
    ever.data[:] = 1
    bought = user_matrix(days, day, settings.half_life, settings.user_items)[:, items].tocsr()
    bought.data[:] = 1
    lately = days.within(day - settings.alive_days, day)
    turned = lately.matrix(decay(day - lately.day, settings.next_half_life))[:, items].tocsr()
    turned.data = np.minimum(turned.data, 1)
    turned.data /= max(float(turned.sum()) / max(ever.nnz, 1), 1e-9)
    per_user = sp.diags(1 / np.maximum(np.diff(ever.indptr), 1).astype(np.float32))
    length = np.sqrt(np.asarray((per_user @ ever).sum(axis=0)).ravel())
    shared = np.bincount(ever.indices, minlength=len(items)) > 1
    scale = 1 / np.where(length > 0, length, 1)
    left = (bought @ sp.diags((scale * shared).astype(np.float32))).tocsr()
    left.eliminate_zeros()
    right = (per_user @ turned @ sp.diags(scale.astype(np.float32))).T.tocsr()
    for start in range(0, len(items), ITEMS_PER_BLOCK):
        part = _strongest((right[start : start + ITEMS_PER_BLOCK] @ left).tocsr(), start, settings.next_neighbours)
        rows[start : start + ITEMS_PER_BLOCK], similarities[start : start + ITEMS_PER_BLOCK] = part
    return rows, similarities


def _strongest(near: sp.csr_matrix, first: int, count: int) -> tuple[Codes, Halves]:
    """The `count` largest values of each row with their columns, by (value desc, column asc), -1 where there are fewer.

    Row 0 stands for item `first`, which is no neighbour of itself.
    """
    shape = near.shape[0], count
    near.sort_indices()
    row = np.repeat(np.arange(shape[0]), np.diff(near.indptr))
    near.data[near.indices == row + first] = 0
    kept = near.data > 0
    for number in np.flatnonzero(np.diff(near.indptr) > count):
        part = slice(near.indptr[number], near.indptr[number + 1])
        values = near.data[part]
        kept[part] &= values >= np.partition(values, -count)[-count]
    row, column, value = row[kept], near.indices[kept], near.data[kept].astype(np.float32)
    rank = ranks(row, value) - 1
    best = rank < count
    rows, values = np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    rows[row[best], rank[best]] = column[best]
    values[row[best], rank[best]] = value[best]
    return rows, values


def _cosine(matrix: sp.csr_matrix, count: int, shrinkage: float) -> tuple[Codes, Halves]:
    """Each column's `count` most similar columns: rows and cosines, by (similarity desc, column asc).

    similarity = x.y / sqrt((x.x + shrinkage) (y.y + shrinkage)): a pair seen once is no strong pair.
    """
    width = matrix.shape[1]
    shape = (width, count)
    if not matrix.nnz:
        return np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    squares = np.bincount(matrix.indices, matrix.data.astype(np.float64) ** 2, minlength=width)
    scaled = matrix.astype(np.float64)
    scaled.data /= np.sqrt(squares + shrinkage)[scaled.indices]
    model = ItemItemRecommender(K=count + 1, num_threads=1)
    model.fit(scaled, show_progress=False)
    near = model.similarity.tocsr()
    near.sort_indices()
    row, col = np.repeat(np.arange(width), np.diff(near.indptr)), near.indices
    other = (row != col) & (near.data > 0)
    row, col, value = row[other], col[other], near.data[other].astype(np.float32)
    rank = ranks(row, value) - 1
    kept = rank < count
    rows, similarities = np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    rows[row[kept], rank[kept]] = col[kept]
    similarities[row[kept], rank[kept]] = value[kept]
    return rows, similarities


def _ease(matrix: sp.csr_matrix, settings: FitSettings) -> tuple[Codes, Halves]:
    """Each column's strongest columns in EASE, the ridge regression of each item on all others: rows and weights."""
    shape = (matrix.shape[1], settings.ease_neighbours)
    rows, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    if not settings.ease_neighbours:
        return rows, weights
    weight = np.asarray(matrix.sum(axis=0), np.float64).ravel()
    chosen = np.sort(np.argsort(-weight, kind="stable")[: settings.ease_items])
    chosen = chosen[weight[chosen] > 0]
    if len(chosen) < 2:
        return rows, weights
    part = matrix[:, chosen].astype(np.float32)
    gram = (part.T @ part).toarray()
    gram[np.diag_indices_from(gram)] += settings.ease_ridge
    inverse = np.linalg.inv(gram)
    regression = -inverse / np.diag(inverse)  # column = the item that is explained
    np.fill_diagonal(regression, 0)
    by = regression.T
    count = min(settings.ease_neighbours, len(chosen) - 1)
    best = best_columns(by, count)  # finite scores: all rows are full
    value = np.take_along_axis(by, best, axis=1)
    rows[chosen, :count] = np.where(value > 0, chosen[best], -1)
    weights[chosen, :count] = np.maximum(value, 0)
    return rows, weights


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


def _statistics(seen: Interactions, days: Interactions, day: int) -> Floats:
    """[all items, STATISTICS]."""
    count = len(seen.items)
    age = day - seen.day

    def buyers(first: int, end: int) -> Longs:
        return seen.within(day - end + 1, day - first + 1).buyers()

    first_age, last_age = np.zeros(count), np.zeros(count)
    np.maximum.at(first_age, seen.item, age)
    last_age[seen.item] = age  # lines are sorted by day: the last one written is the newest

    order = np.lexsort((days.day, days.item, days.user))
    user, item, when = days.user[order], days.item[order], days.day[order]
    again = np.zeros(len(order), bool)
    again[1:] = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    gap = np.diff(when, prepend=0)
    second = again.copy()
    second[1:] &= ~again[:-1]
    pairs = np.bincount(item[~again], minlength=count)
    repeated = np.bincount(item[second], minlength=count)
    gaps = np.bincount(item[again], minlength=count)
    gap_sum = np.bincount(item[again], gap[again], minlength=count)
    shop_rate = repeated.sum() / max(pairs.sum(), 1)
    shop_gap = gap_sum.sum() / max(gaps.sum(), 1)
    units = np.bincount(days.item, np.log1p(days.quantity), minlength=count)
    columns = {
        "buyers_7": buyers(1, 8),
        "buyers_28": buyers(1, 29),
        "buyers_56": buyers(29, 57),
        "buyers_84": buyers(1, 85),
        "buyers": seen.buyers(),
        "first_age": first_age,
        "last_age": last_age,
        "repeat_rate": (repeated + PRIOR_BUYERS * shop_rate) / (pairs + PRIOR_BUYERS),
        "gap": (gap_sum + PRIOR_BUYERS * shop_gap) / (gaps + PRIOR_BUYERS),
        "quantity": units / np.maximum(np.bincount(days.item, minlength=count), 1),
    }
    return np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)
