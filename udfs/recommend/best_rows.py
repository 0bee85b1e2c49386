"""Rows with the best scores, in a total order, and item vectors by the rows of item models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from udfs.interactions import Codes, Floats
from udfs.recommend.grouped import Longs
from udfs.top_k.exact import Rows
from udfs.top_k.products import best_products
from udfs.top_k.scan import Doubles


@dataclass(frozen=True)
class VectorsOfRows:
    """Vectors by row instead of by item code: `vectors` has them by code, `codes` [rows] that of each row."""

    vectors: Rows
    codes: npt.NDArray[np.integer]

    def __len__(self) -> int:
        """Rows."""
        return len(self.codes)

    def take(self, indices: npt.NDArray[np.integer], /, *, axis: int = 0) -> Floats:
        """float32 [indices, dims]."""
        return self.vectors.take(self.codes[indices].astype(np.int64), axis=axis)


def best(score: Floats, item: npt.NDArray[np.integer], count: int) -> Longs:
    """Places of the `count` best by (score desc, item asc), in this order; without sorting the others."""
    chosen = np.arange(len(score))
    if count <= 0:
        return chosen[:0]
    if count < len(score):
        edge = np.partition(score, len(score) - count)[len(score) - count]
        chosen = np.flatnonzero(score >= edge)
        if len(chosen) > 4 * count:  # many ties: those with the first items are enough
            above, ties = chosen[score[chosen] > edge], chosen[score[chosen] == edge]
            needed = count - len(above)
            chosen = np.concatenate([above, ties[np.argpartition(item[ties], needed - 1)[:needed]]])
    return chosen[np.lexsort((item[chosen], -score[chosen]))[:count]]


def on_common_grid(vectors: Floats) -> tuple[Floats, float]:
    """Vectors over a power of two that makes the longest at most 1, in multiples of 2^-24; and that power."""
    longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max(initial=0.0)))
    unit = float(np.exp2(np.ceil(np.log2(longest)))) if longest else 1.0
    scaled = np.rint(vectors.astype(np.float64) / unit * 2.0**24) / 2.0**24
    return scaled.astype(np.float32), unit


def searched(
    queries: Doubles, vectors: Rows, rows: Longs, count: int, own: tuple[Longs, Longs]
) -> tuple[Longs, Floats]:
    """The `count` of these rows (ascending by item) with the largest products, best first: rows [n, k] and products.

    own: (query, row) pairs to leave out. -1 where a query has fewer.
    """
    row_order = np.argsort(rows, kind="stable")
    place = np.searchsorted(rows, own[1], sorter=row_order)
    found = row_order[np.minimum(place, len(rows) - 1)] if len(rows) else place
    known = rows[found] == own[1] if len(rows) else np.zeros(len(place), bool)
    some = VectorsOfRows(vectors, rows)
    positions, products = best_products(queries, some, count, (own[0][known], found[known]))
    listed = rows[np.maximum(positions, 0)] if len(rows) else positions
    return np.where(positions >= 0, listed, -1), products


def merged(items: Codes, count: int, one: tuple[Longs, Floats], other: tuple[Longs, Floats]) -> tuple[Longs, Floats]:
    """The `count` best of two lists of rows and scores [n, k], by (score desc, item asc); -1, -inf where fewer."""
    rows, scores = np.concatenate([one[0], other[0]], axis=1), np.concatenate([one[1], other[1]], axis=1)
    order = np.lexsort((items[rows], -scores), axis=1)[:, :count]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
