"""One result row is one query's best items, in an order that is total and the same on every machine.

Vectors are compared as they are stored, in float16. The product of two float16 values is a whole multiple of
2^-48, and for rows of length up to 5 every partial sum stays below 2^5, so it fits the 53 bits of a float64:
the sum is exact, in whatever order a matrix product adds. Hence equal vectors get equal scores, and neither
block size nor threads nor the BLAS library can turn a tie into an order. (In float32 they do, in the last
bit.)
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.floating]
Floats: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]

QUERY_BLOCK = 256  # with 8,192 items: 16 MiB of float64 scores at a time
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
    stored, ids = items.astype(np.float16), np.asarray(item_ids, dtype=np.str_)
    for start in range(0, n, QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        banned = _positions(exclude[rows], ids) if exclude is not None else None
        best_items[rows], best_scores[rows] = _best(queries[rows], stored, kept, banned, block)
    return best_items, best_scores


def _best(
    queries: Vectors, items: Vectors, k: int, banned: tuple[Indices, Indices] | None, block: int
) -> tuple[Indices, Floats]:
    """The best k for one block of queries, kept up to date as blocks of items go by."""
    n, m = len(queries), len(items)
    exact = queries.astype(np.float16).astype(np.float64)
    best_items = np.full((n, k), m, np.int64)  # m: no item yet; it sorts after every real one
    best_scores = np.full((n, k), -np.inf, np.float32)
    for start in range(0, m, block):
        scores = (exact @ items[start : start + block].astype(np.float64).T).astype(np.float32)
        if banned is not None:
            here = (banned[1] >= start) & (banned[1] < start + block)
            scores[banned[0][here], banned[1][here] - start] = -np.inf
        # An item of a later block has a later id, so it must beat the k-th score so far: equal is not enough.
        floor = best_scores[:, -1]
        if start == 0 and scores.shape[1] > k:
            floor = np.nextafter(np.partition(scores, -k, axis=1)[:, -k], np.float32(-np.inf))
        rows, columns = np.nonzero(scores > floor[:, None])
        all_rows = np.concatenate([np.repeat(np.arange(n), k), rows])
        all_scores = np.concatenate([best_scores.ravel(), scores[rows, columns]])
        all_items = np.concatenate([best_items.ravel(), columns + start])
        order = np.lexsort((all_items, -all_scores, all_rows))
        first_of_row = np.searchsorted(all_rows[order], np.arange(n))
        chosen = order[first_of_row[:, None] + np.arange(k)]
        best_items, best_scores = all_items[chosen], all_scores[chosen]
    return np.where(best_items == m, -1, best_items), best_scores


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
