"""NDCG of ranked lists, whatever their gains are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

K = 10

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def ndcg(number: Places, rank: npt.NDArray[np.integer], gain: Doubles, ideal: Doubles) -> Doubles:
    """[lists]: NDCG@K (Järvelin and Kekäläinen, 2002); NaN where `ideal` is 0.

    number, rank, gain: of each listed item, its list, its place from 1, and what it is worth. ideal: [lists], what the
    best K of all items are worth, listed or not (`best`).
    """
    shown = np.where(rank <= K, gain / np.log2(rank + 1), 0.0)
    got = np.bincount(number, shown, minlength=len(ideal))
    return np.asarray(np.divide(got, ideal, out=np.full(len(ideal), np.nan), where=ideal > 0), float)


def best(gains: npt.NDArray[np.floating]) -> float:
    """What the best list of these gains is worth."""
    first = np.sort(gains)[::-1][:K]
    return float(first @ (1 / np.log2(np.arange(2, len(first) + 2))))


def best_of_ones(counts: npt.NDArray[np.integer]) -> Doubles:
    """[lists]: what the best list of so many items is worth, each worth 1."""
    sums = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, K + 2)))]
    return np.asarray(sums[np.minimum(counts, K)], float)
