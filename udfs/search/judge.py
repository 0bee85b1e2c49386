"""Judgement of a ranking by grades of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """NDCG@k with gain 2^grade - 1 (Burges et al., 2005); an item without a grade is worth nothing.

    grades: of one query, the judged items; at least one above 0, else NaN.
    """
    discount = 1 / np.log2(np.arange(k) + 2)
    gains = np.array([2.0 ** grades.get(item, 0) - 1 for item in ranked[:k]])
    best = np.sort([2.0**grade - 1 for grade in grades.values()])[::-1][:k]
    ideal = float(best @ discount[: len(best)])
    return float(gains @ discount[: len(gains)]) / ideal if ideal > 0 else float("nan")
