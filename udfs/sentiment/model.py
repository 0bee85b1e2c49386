"""Sentiment of clauses and stars of reviews from unit vectors: a linear score, an attention, and ordinal thresholds.

A review's score is the mean of its clauses' scores, each weighted by its attention; P(stars <= k) is the logistic
function of threshold k less the score (proportional odds: McCullagh 1980). A clause is read like a review of its own,
so its sentiment is learned from stars alone (multiple-instance learning: Angelidis and Lapata, "Multiple Instance
Learning Networks for Fine-Grained Sentiment Analysis", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

STARS: Final = (1, 2, 3, 4, 5)
MOST_ATTENTION = 4.0  # a clause weighs from exp(-4) to exp(4)


@dataclass(frozen=True)
class Head:
    """score, attention: weights over a vector [dims]; thresholds: four, ascending; bias of the attention is of no use.

    slope, review_thresholds: the ordinal head of a review's mean score, which varies less than a clause's.
    """

    score: tuple[float, ...]
    attention: tuple[float, ...]
    thresholds: tuple[float, ...]
    slope: float
    review_thresholds: tuple[float, ...]

    def scores(self, vectors: Floats) -> Doubles:
        """The score of each clause [rows of vectors]."""
        return np.asarray(vectors.astype(np.float64) @ np.asarray(self.score), np.float64)

    def weights(self, vectors: Floats) -> Doubles:
        """The attention of each clause, positive; relative to those of the same review."""
        raw = vectors.astype(np.float64) @ np.asarray(self.attention)
        return np.asarray(np.exp(np.clip(raw, -MOST_ATTENTION, MOST_ATTENTION)), np.float64)

    def of_clauses(self, scores: Doubles) -> Doubles:
        """P(stars = 1 .. 5) of clauses by their scores, [clauses, 5]."""
        return ordinal(scores, self.thresholds)

    def of_reviews(self, mean_scores: Doubles) -> Doubles:
        """P(stars = 1 .. 5) of reviews by their mean scores, [reviews, 5]."""
        return ordinal(self.slope * mean_scores, self.review_thresholds)


def ordinal(scores: Doubles, thresholds: Sequence[float]) -> Doubles:
    """P(stars = 1 .. 5) by proportional odds, [scores, 5]."""
    below = 1 / (1 + np.exp(np.clip(scores[:, None] - np.asarray(thresholds)[None, :], -500, 500)))
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


def polarity(p: Doubles) -> Doubles:
    """P(negative: 1 or 2 stars), P(neutral: 3), P(positive: 4 or 5) from P(stars), [rows, 3]."""
    return np.column_stack([p[:, :2].sum(axis=1), p[:, 2], p[:, 3:].sum(axis=1)]).clip(0, 1)


def sentiment(p: Doubles) -> Doubles:
    """Expected stars, from -1 (1 star) to 1 (5 stars)."""
    return np.asarray(((p @ np.array(STARS, float) - 3) / 2).clip(-1, 1), np.float64)


def means(scores: Doubles, weights: Doubles, review: Rows, count: int) -> Doubles:
    """The weighted mean score of each review [count]; review: of each clause. 0 for a review without a clause."""
    total = np.bincount(review, weights, count)
    return np.asarray(np.bincount(review, weights * scores, count) / np.maximum(total, 1e-12), np.float64)


def likeliest(p: Doubles) -> Rows:
    """The median of P(stars): the stars with the least expected absolute error."""
    return np.asarray(1 + (p.cumsum(axis=1) < 0.5).sum(axis=1).clip(0, 4), np.int64)
