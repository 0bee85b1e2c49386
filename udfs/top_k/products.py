"""Exact top-k by products of any real vectors, of items that need not be in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from udfs.top_k.exact import Rows, Vectors, best_of_scan
from udfs.top_k.scan import Doubles, Floats, Indices, Scan, Scores, float_slack

READERS = 1_024  # queries that share one reading of the items
GRID_BITS = 24


def on_grid(vectors: Vectors) -> Doubles:
    """Each row in multiples of 2^-24 of a power of two that is no less than its length.

    A product with a float16 row, or with one of a common power of two, is then a sum without any rounding, in whatever
    order it is added. The change is no larger than float32's own rounding of the longest value.
    """
    rows = vectors.astype(np.float64)
    unit = np.exp2(np.ceil(np.log2(np.maximum(np.linalg.norm(rows, axis=1), 1e-30))) - GRID_BITS)[:, None]
    return np.asarray(np.rint(rows / unit) * unit)


def best_products(
    queries: Doubles, items: Rows, k: int, banned: tuple[Indices, Indices], block: int = 8_192
) -> tuple[Indices, Floats]:
    """One row per query: positions in items and products rounded to float32, both [n, min(k, items)]; -1, -inf where
    a query has fewer.

    queries [n, d]: rows of `on_grid`, items of length 5 at most. Order: product descending, then position. banned:
    (query, position) pairs that are left out. Items are read a block at a time, once for READERS queries.
    """
    n, length = len(queries), min(k, len(items))
    positions, products = np.full((n, length), -1, np.int64), np.full((n, length), -np.inf, np.float32)
    if not length:
        return positions, products
    order = np.arange(len(items))
    by_query = np.argsort(banned[0], kind="stable")
    query, position = banned[0][by_query], banned[1][by_query]
    for start in range(0, n, READERS):
        part = slice(start, start + READERS)
        mine = slice(*np.searchsorted(query, [start, start + READERS]))
        scan = Scan(order, lambda some: _products(some, items, block))
        positions[part], products[part] = best_of_scan(
            queries[part], items, length, (query[mine] - start, position[mine]), scan
        )
    return positions, products


def _products(queries: Doubles, items: Rows, block: int) -> Scores:
    """Scores of a float32 scan of items that are read as they are needed."""
    single, slack = queries.astype(np.float32), float_slack(queries)

    def blocks() -> Iterator[tuple[Doubles, Floats]]:
        for start in range(0, len(items), block):
            rows = np.arange(start, min(start + block, len(items)))
            yield slack, single @ items.take(rows, axis=0).T

    return Scores(np.ones(len(queries)), blocks())
