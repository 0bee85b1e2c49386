"""Calibration of probabilities: how far they are from what was bought, over bins of equally many rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from udfs.evaluation.metrics import Bootstrap, Interval, Mask, percentile_ends

BINS = 10
WILSON_Z = 1.959964  # standard normal, 97.5 %


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error and, per bin of rising probability, purchases over the sum of probabilities."""

    error: Interval
    ratios: tuple[Interval, ...]


def calibration(
    probability: npt.NDArray[np.floating],
    bought: Mask,
    user: npt.NDArray[np.integer],
    draws: Bootstrap,
    bins: int = BINS,
) -> Calibration:
    """Calibration of rows of users, numbered from 0 up to draws.users; each resample draws users with all their rows.

    Error: the mean over rows of |mean probability - share bought| of the row's bin. Bins hold equally many rows, but
    for ties: equal probabilities share a bin.
    """
    number = bins_of(probability, bins)
    count, cell = int(number.max(initial=-1)) + 1, user.astype(np.int64) * bins + number
    shape = draws.users, bins
    rows, said, hit = (
        np.bincount(cell, values, minlength=draws.users * bins).reshape(shape)[:, :count].astype(np.float64)
        for values in (None, probability, bought)
    )
    total = draws.sums(np.hstack([rows, said, hit]))
    each, predicted, observed = np.split(total, 3, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(predicted - observed).sum(axis=1) / each.sum(axis=1)
        error = float(np.abs(said.sum(axis=0) - hit.sum(axis=0)).sum() / rows.sum())
    users = int((rows.sum(axis=1) > 0).sum())
    ratios = draws.intervals([draws.of_ratio(hit[:, place], said[:, place]) for place in range(count)])
    return Calibration(Interval(error, *percentile_ends(errors), users), tuple(ratios))


def bins_of(probability: npt.NDArray[np.floating], bins: int = BINS) -> npt.NDArray[np.int64]:
    """The bin of each row by rising probability, from 0 without gaps."""
    value = np.sort(probability)
    edges = np.unique(value[np.arange(bins) * len(value) // bins]) if len(value) else value
    return np.asarray(np.searchsorted(edges, probability, side="right") - 1, np.int64)


@dataclass(frozen=True)
class ReliabilityBin:
    """Bin of rows with similar probability: mean, share bought with its 95 % Wilson interval, number of rows."""

    predicted: float
    observed: float
    low: float
    high: float
    count: int


def reliability(probability: npt.NDArray[np.floating], bought: Mask, bins: int = 20) -> list[ReliabilityBin]:
    """Reliability bins by rising probability, of similar size; equal probabilities share a bin.

    Bins of equal width would put nearly every row, whose probability is small, into the first.
    """
    order = np.argsort(probability, kind="stable")
    value, hit = probability[order].astype(np.float64), bought[order].astype(np.float64)
    edges = np.searchsorted(value, value[np.arange(bins) * len(value) // bins]) if len(value) else np.zeros(0, np.int64)
    places = np.unique(np.append(edges, len(value)))
    result = []
    for start, end in pairwise(places):
        n, share = int(end - start), float(hit[start:end].mean())
        spread = WILSON_Z * np.sqrt(share * (1 - share) / n + WILSON_Z**2 / (4 * n * n))
        middle, scale = share + WILSON_Z**2 / (2 * n), 1 + WILSON_Z**2 / n
        ends = (float((middle - spread) / scale), float((middle + spread) / scale))
        result.append(ReliabilityBin(float(value[start:end].mean()), share, *ends, n))
    return result


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: the mean over rows of |predicted - observed| of their bin; NaN without rows."""
    rows = sum(each.count for each in bins)
    off = sum(each.count * abs(each.predicted - each.observed) for each in bins)
    return off / rows if rows else float("nan")
