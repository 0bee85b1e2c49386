"""Figures of predicted stars: error, accuracy, macro F1, kappa."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]


def mean_absolute_error(stars: Values, predicted: Values) -> float:
    """Mean distance in stars."""
    return float(np.abs(stars - predicted).mean())


def accuracy(stars: Values, predicted: Values) -> float:
    """Share of exact stars."""
    return float((stars == predicted).mean())


def macro_f1(stars: Values, predicted: Values) -> float:
    """Mean F1 of the five stars; of stars that are neither given nor predicted 0."""
    right = stars == predicted
    f1 = [2 * (right & (stars == k)).sum() / max((stars == k).sum() + (predicted == k).sum(), 1) for k in range(1, 6)]
    return float(np.mean(f1))


def quadratic_kappa(stars: Values, predicted: Values) -> float:
    """Cohen's kappa with squared distances as weights."""
    counts = np.zeros((5, 5))
    np.add.at(counts, (stars - 1, predicted - 1), 1)
    distance = (np.arange(5)[:, None] - np.arange(5)[None, :]) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(1 - (distance * counts).sum() / (distance * by_chance).sum())


def share_cuts(stars: Values, score: Values) -> Values:
    """Four cuts of a score so that predicted stars have the shares of `stars`."""
    shares = np.cumsum([(stars == k).mean() for k in range(1, 5)])
    return np.asarray(np.quantile(score, shares))
