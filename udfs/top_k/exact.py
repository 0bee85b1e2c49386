"""Exact top-k search, in a total order that is the same on every machine.

Vectors are compared as they are stored, in float16. The product of two float16 values is a whole multiple of
2^-48, and for rows of length up to 5 every partial sum stays below 2^5, so it fits the 53 bits of a float64:
the sum is exact, in whatever order a matrix product adds. Hence equal vectors get equal scores, and neither
block size nor threads nor the BLAS library can turn a tie into an order. (In float32 they do, in the last
bit.)

Most scores are computed only to be dropped. So all items are scanned in float32 or in 8 bits (udfs/top_k/scan.py),
which is two to eight times as fast, and only the items that may be among the best, by a bound on the scan's rounding
error, are scored exactly. The lists are the same whichever scan is used.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from udfs.top_k.scan import LONGEST_ROW, Doubles, Floats, Indices, Scan, float_slack, scan_of

Vectors: TypeAlias = npt.NDArray[np.floating]

QUERY_BLOCK = 256  # with 8,192 items: 8 MiB of float32 scores at a time
COLUMN_GROUPS = 2_048
POOL = 32  # candidates kept for a query, in multiples of k, before the worst are dropped


class Candidates(NamedTuple):
    """Candidates of a scan: a query's row, an item that may be among its best, and the upper bound of its score."""

    rows: Indices
    found: Indices
    most: Floats


def top_k(
    queries: Vectors,
    items: Vectors,
    item_ids: npt.NDArray[np.str_],
    k: int,
    *,
    exclude: Sequence[Sequence[str]] | None = None,
    block: int = 8_192,
    device: str | None = None,
) -> tuple[Indices, Floats]:
    """One row per query: positions in items (int64) and scores (float32 dot products), both [n, min(k, m)].

    queries [n, d], items [m, d], item_ids [m] strictly ascending. Order: score descending, then item_id
    ascending, where the score is the float32 returned. exclude, if given, lists for each query the item_ids
    it must not get (unknown ids are ignored); a row left with too few items ends in position -1, score -inf.
    device: the torch device that searches (udfs/top_k/device.py); the lists are the same. Without one NumPy and
    ONNX Runtime search, with at most QUERY_BLOCK x block scores at a time. Raises ValueError on shapes,
    order or values that do not fit.
    """
    _check(queries, items, item_ids, k, exclude, block)
    queries, items = (rows.astype(np.float16, copy=False) for rows in (queries, items))
    stored = items.astype(np.float32)
    _check_lengths(queries.astype(np.float32), stored)
    n, length = len(queries), min(k, len(items))
    best_items = np.full((n, length), -1, np.int64)
    best_scores = np.full((n, length), -np.inf, np.float32)
    if length == 0:
        return best_items, best_scores
    ids = np.asarray(item_ids, dtype=np.str_)
    if device is not None and n:
        from udfs.top_k import device as topk_device

        banned = _positions(exclude, ids) if exclude is not None else None
        best_items, best_scores, doubtful = topk_device.top_k(queries, items, length, banned, device)
        again = np.flatnonzero(doubtful)
        if len(again):
            left_out = [exclude[int(row)] for row in again] if exclude is not None else None
            best_items[again], best_scores[again] = top_k(queries[again], items, ids, k, exclude=left_out, block=block)
        return best_items, best_scores
    scan = scan_of(stored, block, n, length)
    for start in range(0, n, QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        banned = _positions(exclude[rows], ids) if exclude is not None else None
        best_items[rows], best_scores[rows] = best_of_scan(queries[rows], stored, length, banned, scan)
    return best_items, best_scores


class Rows(Protocol):
    """Item vectors as float32 rows: an array, or what reads them from a file."""

    def __len__(self) -> int:
        """Items."""

    def take(self, indices: Indices, /, *, axis: int) -> Floats:
        """The vectors of these items."""


def best_of_scan(
    queries: Vectors, items: Rows, k: int, banned: tuple[Indices, Indices] | None, scan: Scan
) -> tuple[Indices, Floats]:
    """The best k for one block of queries, out of a pool of candidates that is filled as blocks of items go by."""
    n, start = len(queries), 0
    exact = queries.astype(np.float64)
    scores = scan.scores(exact)
    least = np.full((n, k), -np.inf, np.float32)  # lower bounds of the k best scores
    pool: list[Candidates] = []
    if banned is not None:
        place = np.empty_like(scan.order)
        place[scan.order] = np.arange(len(items))
        banned = banned[0], place[banned[1]]
    for slack, near in scores.blocks:
        width = near.shape[1]
        if banned is not None:
            in_block = (banned[1] >= start) & (banned[1] < start + width)
            near[banned[0][in_block], banned[1][in_block] - start] = -np.inf
        least = _highest(near, slack, least)
        at = np.flatnonzero(near > _below(least[:, 0] - slack)[:, None])
        rows, columns = np.divmod(at, width)
        most = (near.ravel()[at] + slack[rows]).astype(np.float32)
        pool.append(Candidates(rows, scan.order[columns + start], most))
        if _size(pool) > POOL * n * k:
            pool = [_above(least[:, 0], pool)]
        if _size(pool) > POOL * n * k:  # ties: only exact scores and ids decide what to drop
            pool = [_exact_best(exact, items, pool[0], scores.unit, k)[0]]
        start += width
    best, exact_scores, place = _exact_best(exact, items, _above(least[:, 0], pool), scores.unit, k)
    best_items, best_scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    best_items[best.rows, place], best_scores[best.rows, place] = best.found, exact_scores
    return best_items, best_scores


def _size(pool: list[Candidates]) -> int:
    return sum(len(part.rows) for part in pool)


def _above(least: Floats, pool: list[Candidates]) -> Candidates:
    """The candidates of the pool whose scores may reach the lower bound of their row's best."""
    rows, positions, most = (np.concatenate(parts) for parts in zip(*pool, strict=True))
    kept = np.flatnonzero(most > _below(least)[rows])
    return Candidates(rows[kept], positions[kept], most[kept])


def _highest(near: Floats, slack: Doubles, least: Floats) -> Floats:
    """The highest lower bounds, approximately, of k scores of each row; first the lowest.

    Only the best of each group of items counts, for a partition of all takes longer than their product. With 3k
    groups, the k-th best group has the item that is some 1.2k-th.
    """
    k = least.shape[1]
    size = max(1, near.shape[1] // (3 * k))
    groups = near.shape[1] // size
    tops = near[:, : size * groups].reshape(len(near), size, groups).max(axis=1)
    lowest = (tops - slack[:, None]).astype(np.float32)
    return np.partition(np.concatenate([least, lowest], axis=1), -k, axis=1)[:, -k:]


def _exact_best(
    exact: Doubles, items: Rows, pool: Candidates, unit: Doubles, k: int
) -> tuple[Candidates, Floats, Indices]:
    """The best k candidates of each row by exact score, then item; their scores, and places from 0.

    The k candidates with the highest bounds are scored exactly first: their scores rule out most others, and float32
    scores nearly all of the remaining ones.
    """
    by_row = np.argsort(pool.rows.astype(np.uint16), kind="stable")  # of 16 bits: sorted by radix
    positions, most = pool.found[by_row], pool.most[by_row]
    edges = np.searchsorted(pool.rows[by_row], np.arange(len(exact) + 1))
    single, rounding = exact.astype(np.float32), float_slack(exact)
    chosen, exact_scores = [], []
    for row, query in enumerate(exact):
        bound = most[edges[row] : edges[row + 1]]
        is_likely = bound >= (np.partition(bound, -k)[-k] if len(bound) > k else -np.inf)
        likely = edges[row] + np.flatnonzero(is_likely)
        sure = (items.take(positions[likely], axis=0).astype(np.float64) @ query).astype(np.float32)
        least = np.partition(sure, -k)[-k] if len(sure) >= k else -np.inf  # what is surely below is not needed
        others = edges[row] + np.flatnonzero(~is_likely & (bound > _below(least / unit[row])))
        vectors = items.take(positions[others], axis=0)
        may_be = vectors @ single[row] > _below(least - rounding[row])
        more = (vectors[may_be].astype(np.float64) @ query).astype(np.float32)
        mine, score = np.concatenate([likely, others[may_be]]), np.concatenate([sure, more])
        order = np.lexsort((positions[mine], -score))[:k]
        chosen.append(mine[order])
        exact_scores.append(score[order])
    place = np.concatenate([np.arange(len(row)) for row in chosen])
    best = np.concatenate(chosen)
    return Candidates(pool.rows[by_row[best]], positions[best], most[best]), np.concatenate(exact_scores), place


def _below(values: Doubles | Floats) -> Floats:
    """The float32 just below each value, whichever way it is rounded."""
    below: Floats = np.nextafter(np.asarray(values, np.float32), np.float32(-np.inf))
    return below


def _positions(exclude: Sequence[Sequence[str]], item_ids: npt.NDArray[np.str_]) -> tuple[Indices, Indices]:
    """One (query row, item position) per excluded id that is among item_ids."""
    rows = np.repeat(np.arange(len(exclude)), [len(ids) for ids in exclude])
    wanted = np.array([item_id for ids in exclude for item_id in ids], dtype=np.str_)
    positions = np.minimum(np.searchsorted(item_ids, wanted), len(item_ids) - 1)
    known = item_ids[positions] == wanted
    return rows[known], positions[known]


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


def _check_lengths(queries: Floats, items: Floats) -> None:
    for name, vectors in (("queries", queries), ("items", items)):
        longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0.0)))
        if not longest <= LONGEST_ROW:  # true for NaN as well
            raise ValueError(f"{name}: the longest row is {longest}, at most {LONGEST_ROW} expected; normalise")


def best_columns(scores: Floats, k: int) -> Indices:
    """[n, k] columns by (score desc, column asc); -1 where a row has fewer than k scores above -inf."""
    n, m = scores.shape
    lists = np.full((n, k), -1, np.int64)
    if not n or not m:
        return lists
    floor = np.full(n, np.finfo(np.float32).min, np.float32)
    groups = min(max(COLUMN_GROUPS, k), m)
    if groups >= k:
        # The k-th largest of the maxima of disjoint groups of columns is at most the k-th largest score: few pass it.
        maxima = scores[:, : m // groups * groups].reshape(n, m // groups, groups).max(axis=1)
        floor = np.maximum(floor, np.partition(maxima, groups - k, axis=1)[:, groups - k])
    rows, columns = np.nonzero(scores >= floor[:, None])
    order = np.lexsort((columns, -scores[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n))[rows]
    kept = place < k
    lists[rows[kept], place[kept]] = columns[kept]
    return lists
