"""Neighbours of items, strongest first: ItemKNN, what buyers turn to, and EASE."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from implicit.nearest_neighbours import ItemItemRecommender

from udfs.interactions import Codes, Interactions
from udfs.recommend.grouped import ranks
from udfs.recommend.item_models import FitSettings, Halves
from udfs.recommend.user_matrix import decay, user_matrix
from udfs.top_k.exact import best_columns

ITEMS_PER_BLOCK = 1_024  # of the product of users' items with what they turned to: what is held at a time


def turned_to(
    days: Interactions, items: Codes, day: int, settings: FitSettings, times: float = 1.0
) -> tuple[Codes, Halves]:
    """For each item the `next_neighbours` items whose buyers turn to it most: rows and similarities, best first.

    similarity of y for the buyers of x = sum over users of x_u y_u / n_u, over |x| |y|: x_u is 1 if the user bought x,
    y_u is what the user's purchases of y still weigh (at most 1) over what they weigh on average in the shop, so that
    a busy season does not raise every similarity; n_u is the number of the user's items, |x| the root of the sum of
    x_u / n_u. A purchase of a user with few items weighs more. An item with one buyer has weight 0; of `times` as many
    users as the settings are for, one with so many buyers.
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
    shared = np.bincount(ever.indices, minlength=len(items)) > times
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

    Row 0 is item `first`; an item is no neighbour of itself.
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


def cosine(matrix: sp.csr_matrix, count: int, shrinkage: float) -> tuple[Codes, Halves]:
    """Each column's `count` most similar columns: rows and cosines, by (similarity desc, column asc).

    similarity = x.y / sqrt((x.x + shrinkage) (y.y + shrinkage)): a pair seen once is no strong pair.
    """
    width = matrix.shape[1]
    shape = (width, count)
    if not (matrix.nnz and count):
        return np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    squares = np.bincount(matrix.indices, matrix.data.astype(np.float64) ** 2, minlength=width)
    scaled = matrix.astype(np.float64)
    scaled.data /= np.sqrt(squares + shrinkage)[scaled.indices]
    model = ItemItemRecommender(K=count + 1, num_threads=1)
    model.fit(scaled, show_progress=False)
    near = model.similarity.tocsr()
    near.sort_indices()
    row, col = np.repeat(np.arange(width), np.diff(near.indptr)), near.indices
    is_pair = (row != col) & (near.data > 0)
    row, col, value = row[is_pair], col[is_pair], near.data[is_pair].astype(np.float32)
    rank = ranks(row, value) - 1
    best = rank < count
    rows, similarities = np.full(shape, -1, np.int32), np.zeros(shape, np.float16)
    rows[row[best], rank[best]] = col[best]
    similarities[row[best], rank[best]] = value[best]
    return rows, similarities


def ease_regression(matrix: sp.csr_matrix, settings: FitSettings) -> tuple[Codes, Halves]:
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
