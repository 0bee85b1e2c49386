"""One result row is one query's best items, in an order that is total and the same on every machine.

Vectors are compared as they are stored, in float16. The product of two float16 values is a whole multiple of
2^-48, and for rows of length up to 5 every partial sum stays below 2^5, so it fits the 53 bits of a float64:
the sum is exact, in whatever order a matrix product adds. Hence equal vectors get equal scores, and neither
block size nor threads nor the BLAS library can turn a tie into an order. (In float32 they do, in the last
bit.)

Most scores are needed only to be dropped, and float32 is twice as fast: it finds the items that may be among the
best, by a margin that no rounding exceeds, and these alone are scored exactly.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.floating]
Floats: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]

QUERY_BLOCK = 256  # with 8,192 items: 8 MiB of float32 scores at a time
POOL = 2  # candidates kept for a query, in multiples of k, before the worst are dropped
LONGEST_ROW = 5.0  # the exactness above needs it; a normalised row is 1


def top_k(
    queries: Vectors,
    items: Vectors,
    item_ids: npt.NDArray[np.str_],
    k: int,
    *,
    exclude: Sequence[Sequence[str]] | None = None,
    block: int = 8_192,
) -> tuple[Indices, Floats]:
    """One row per query: positions in items (int64) and scores (float32 dot products), both [n, min(k, m)].

    queries [n, d], items [m, d], item_ids [m] strictly ascending. Order: score descending, then item_id
    ascending, where the score is the float32 returned. exclude, if given, lists for each query the item_ids
    it must not get (unknown ids are ignored); a row left with too few items ends in position -1, score -inf.
    At most QUERY_BLOCK x block scores exist at a time. Raises ValueError on shapes, order or values that do
    not fit.
    """
    _check(queries, items, item_ids, k, exclude, block)
    n, kept = len(queries), min(k, len(items))
    best_items = np.full((n, kept), -1, np.int64)
    best_scores = np.full((n, kept), -np.inf, np.float32)
    if kept == 0:
        return best_items, best_scores
    stored, ids = items.astype(np.float16).astype(np.float32), np.asarray(item_ids, dtype=np.str_)
    for start in range(0, n, QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        banned = _positions(exclude[rows], ids) if exclude is not None else None
        best_items[rows], best_scores[rows] = _best(queries[rows], stored, kept, banned, block)
    return best_items, best_scores


def _best(
    queries: Vectors, items: Floats, k: int, banned: tuple[Indices, Indices] | None, block: int
) -> tuple[Indices, Floats]:
    """The best k for one block of queries, out of a pool of candidates that is filled as blocks of items go by."""
    n, m = len(queries), len(items)
    exact = queries.astype(np.float16).astype(np.float64)
    margin = _margin(exact, items)
    floor = np.full(n, -np.inf, np.float32)  # what a candidate's float32 score must exceed
    rows, found, scores = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, m, block):
        near = exact.astype(np.float32) @ items[start : start + block].T
        width = near.shape[1]
        if banned is not None:
            here = (banned[1] >= start) & (banned[1] < start + block)
            near[banned[0][here], banned[1][here] - start] = -np.inf
        if start == 0 and width > k:
            floor = np.nextafter(np.partition(near, -k, axis=1)[:, -k] - margin, np.float32(-np.inf))
        at = np.flatnonzero(near > floor[:, None])
        rows, found = np.concatenate([rows, at // width]), np.concatenate([found, at % width + start])
        scores = np.concatenate([scores, near.ravel()[at]])
        if len(rows) > POOL * n * k:
            order = np.lexsort((-scores, rows))
            edges = np.searchsorted(rows[order], np.arange(n + 1))
            full = np.diff(edges) >= k
            kth = scores[order[edges[:-1][full] + k - 1]]
            floor[full] = np.nextafter(kth - margin[full], np.float32(-np.inf))
            kept = order[scores[order] > floor[rows[order]]]
            rows, found, scores = rows[kept], found[kept], scores[kept]
        if len(rows) > 2 * POOL * n * k:  # nothing but ties: only exact scores and ids tell which of them to drop
            rows, found, scores, _ = _exact_best(exact, items, rows, found, k)
    rows, found, scores, place = _exact_best(exact, items, rows, found, k)
    best_items, best_scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    best_items[rows, place], best_scores[rows, place] = found, scores
    return best_items, best_scores


def _margin(exact: npt.NDArray[np.float64], items: Floats) -> Floats:
    """By how much two float32 scores of a query may differ although the exact ones are equal: [n].

    A float32 sum of d products is off by at most d x 2^-24 x the product of the lengths, in whatever order it is
    added; twice that for two scores, and doubled once more for the roundings around it.
    """
    longest = np.sqrt(np.einsum("ij,ij->i", items, items).max(initial=0.0))
    lengths = np.linalg.norm(exact, axis=1)
    return np.asarray(4 * (items.shape[1] + 2) * 2.0**-24 * longest * lengths, np.float32)


def _exact_best(
    exact: npt.NDArray[np.float64], items: Floats, rows: Indices, found: Indices, k: int
) -> tuple[Indices, Indices, Floats, Indices]:
    """The best k candidates of each row by exact score, then item: rows, items, scores, and places from 0."""
    by_row = np.argsort(rows, kind="stable")
    rows, found = rows[by_row], found[by_row]
    edges = np.searchsorted(rows, np.arange(len(exact) + 1))
    scores = np.empty(len(rows), np.float32)
    for row, query in enumerate(exact):
        here = slice(edges[row], edges[row + 1])
        scores[here] = items[found[here]].astype(np.float64) @ query
    order = np.lexsort((found, -scores, rows))
    place = np.arange(len(rows)) - edges[rows]  # rows are in order already
    order, place = order[place < k], place[place < k]
    return rows[order], found[order], scores[order], place


def _positions(exclude: Sequence[Sequence[str]], item_ids: npt.NDArray[np.str_]) -> tuple[Indices, Indices]:
    """One (query row, item position) per excluded id that is among item_ids."""
    rows = np.repeat(np.arange(len(exclude)), [len(ids) for ids in exclude])
    wanted = np.array([item_id for ids in exclude for item_id in ids], dtype=np.str_)
    found = np.minimum(np.searchsorted(item_ids, wanted), len(item_ids) - 1)
    known = item_ids[found] == wanted
    return rows[known], found[known]


def _check(
    queries: Vectors,
    items: Vectors,
    item_ids: npt.NDArray[np.str_],
    k: int,
    exclude: Sequence[Sequence[str]] | None,
    block: int,
) -> None:
    if k < 1 or block < 1:
        raise ValueError(f"k and block must be at least 1; they are {k} and {block}")
    if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
        raise ValueError(f"queries [n, d] and items [m, d] expected; found {queries.shape} and {items.shape}")
    if len(item_ids) != len(items) or not bool(np.all(item_ids[:-1] < item_ids[1:])):
        raise ValueError(f"{len(items)} item_ids expected, each once, ascending; {len(item_ids)} found")
    if exclude is not None and len(exclude) != len(queries):
        raise ValueError(f"exclude has {len(exclude)} lists for {len(queries)} queries")
    for name, vectors in (("queries", queries), ("items", items)):
        longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0.0)))
        if not longest <= LONGEST_ROW:  # true for NaN as well
            raise ValueError(f"{name}: the longest row is {longest}, at most {LONGEST_ROW} expected; normalise")
