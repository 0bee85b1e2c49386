"""Spread of units sold over runs of days, fitted to counts and their forecast means.

Units of any run of days with mean m have variance = dispersion x m + overdispersion x m^2, both of the pair, and are
negative binomial: n = m / (D - 1) and p = 1 / D in scipy.stats.nbinom, where D = dispersion + overdispersion x m is
variance / mean. The first term is what days do independently of each other (NB1; Cameron & Trivedi 1986). The second
is a factor that they share (NB2): the rate itself is uncertain, and is too high or too low for weeks on end. So a
month's sum is wider than four independent weeks, and one pair of numbers holds for every run of days.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from scipy import special
from scipy.optimize import minimize

from udfs.demand.block import Doubles
from udfs.demand.counts import pit_inside

LEAST_EXTRA: Final = 1e-3  # of dispersion - 1: nearer to 0 it is Poisson to three digits, and n has no bound
LARGEST_LOG: Final = 20.0  # of dispersion - 1 and overdispersion: half a billion, so that exp cannot overflow
RIDGE: Final = 1e-3
LIKELIHOOD_ROWS: Final = 15_000  # eight weights need no more: 2 s
CALIBRATION_ROWS: Final = 15_000
CALIBRATION_RIDGE: Final = 0.5


class Range(NamedTuple):
    """Levels of a distribution between which a share of its sums is wanted, give or take the tolerance."""

    name: str
    levels: tuple[float, float]
    wanted: float
    tolerance: float


RANGES: Final = (Range("covered", (0.1, 0.9), 0.8, 0.03), Range("above", (0.95, 1.0), 0.05, 0.01))


class Spread(NamedTuple):
    """Dispersion and overdispersion of each row, both [rows]."""

    dispersion: Doubles
    overdispersion: Doubles

    def rows(self, chosen: Any) -> Spread:
        """The spread of the chosen rows."""
        return Spread(self.dispersion[chosen], self.overdispersion[chosen])

    def of(self, mean: Doubles) -> Doubles:
        """Variance / mean of demands with these means, [rows] or [rows, n]."""
        dispersion, over = (part.reshape(-1, *(1,) * (mean.ndim - 1)) for part in self)
        ratio: Doubles = dispersion + over * mean
        return ratio


def spread_of(dispersion: Doubles, overdispersion: Doubles, inputs: Doubles) -> Spread:
    """Spread of the rows by the weights of `fit_spread`; no weights of overdispersion: none."""
    extra = np.exp(np.clip(_with_constant(inputs) @ dispersion, np.log(LEAST_EXTRA), LARGEST_LOG))
    if not len(overdispersion):
        return Spread(1 + extra, np.zeros(len(inputs)))
    return Spread(1 + extra, np.exp(np.clip(_with_constant(inputs) @ overdispersion, -LARGEST_LOG, LARGEST_LOG)))


def fit_spread(units: Doubles, mean: Doubles, inputs: Doubles) -> tuple[Doubles, Doubles]:
    """Weights [F + 1] for log(dispersion - 1) and for log(overdispersion): of the inputs [rows, F], then the constant.

    units: [rows, weeks] counts; mean [rows]: of each of these weeks, by a model that has not learned from the row, or
    the spread is too narrow. Composite likelihood of the sums over runs of 1, 2, 4, ... weeks, with a ridge; then both
    constants are moved to where the 80 % interval and the 95 % level of the sums over the first weeks hold best: counts
    have a longer tail than the negative binomial, and the likelihood pays for it with intervals that are too wide.
    """
    step = -(-len(units) // LIKELIHOOD_ROWS) or 1
    units, mean, inputs = units[::step], np.maximum(mean[::step], 1e-9), inputs[::step]
    design = _with_constant(inputs)
    width = design.shape[1]
    likelihood = _Likelihood(units, mean, design)
    extra = max(float(((units - mean[:, None]) ** 2).sum() / (units.shape[1] * mean.sum())) - 1, 0.1)
    start = np.zeros(2 * width)  # half of the weeks' variance each: from far too little of one, the likelihood is flat
    start[width - 1], start[-1] = np.log(extra / 2), np.log(extra / 2 * mean.sum() / (mean**2).sum())
    fitted = minimize(likelihood.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    weights = np.asarray(fitted[:width], np.float64), np.asarray(fitted[width:], np.float64)
    for part, moved in zip(weights, _calibrated(units, mean, spread_of(*weights, inputs)), strict=True):
        part[-1] += moved
    return weights


class _Likelihood:
    """Composite likelihood of runs of weeks, disjoint ones of each length; every length weighs the same."""

    def __init__(self, units: Doubles, mean: Doubles, design: Doubles) -> None:
        self.mean, self.design = mean, design
        weeks = units.shape[1]
        self.lengths = [2**power for power in range(weeks.bit_length()) if 2**power <= weeks]
        parts = []
        for length in self.lengths:
            count = weeks // length
            for first in range(count):
                total = units[:, first * length : (first + 1) * length].sum(axis=1)
                row = np.flatnonzero(total)
                parts.append((row, np.full(len(row), length), total[row], np.full(len(row), 1 / count)))
        self.row, self.length, self.sold, self.weight = (np.concatenate(part) for part in zip(*parts, strict=True))

    def loss(self, weights: Doubles) -> tuple[float, Doubles]:
        """Mean negative log likelihood with the ridge, and its gradient."""
        rows, width = self.design.shape
        spread = spread_of(weights[:width], weights[width:], self.design[:, :-1])
        extra, over = spread.dispersion - 1, spread.overdispersion
        value, slope, slope_over = 0.0, np.zeros(rows), np.zeros(rows)
        for length in self.lengths:
            mean = length * self.mean
            ratio = extra + over * mean
            size, log = mean / ratio, np.log1p(ratio)
            value -= float((size * log).sum())
            change = size / ratio * log - size / (1 + ratio)  # by the ratio
            slope, slope_over = slope + change, slope_over + change * mean
        row, sold = self.row, self.sold
        mean = self.length * self.mean[row]
        ratio = extra[row] + over[row] * mean
        size = mean / ratio
        chance = special.gammaln(sold + size) - special.gammaln(size) + sold * (np.log(ratio) - np.log1p(ratio))
        value += float((self.weight * chance).sum())
        change = sold / (ratio * (1 + ratio)) - size / ratio * (special.digamma(sold + size) - special.digamma(size))
        change *= self.weight
        slope = (slope + np.bincount(row, change, rows)) * extra
        slope_over = (slope_over + np.bincount(row, change * mean, rows)) * over
        gradient = np.concatenate([self.design.T @ slope, self.design.T @ slope_over]) / (rows * len(self.lengths))
        loss = -value / (rows * len(self.lengths)) + RIDGE / 2 * float(weights @ weights)
        return loss, RIDGE * weights - gradient


def _calibrated(units: Doubles, mean: Doubles, spread: Spread) -> Doubles:
    """[2]: logarithms of the factors for dispersion - 1 and overdispersion with which the levels hold best."""
    step = -(-len(units) // CALIBRATION_ROWS) or 1
    sums, spread = np.cumsum(units[::step], axis=1), spread.rows(slice(None, None, step))
    means = mean[::step, None] * np.arange(1, units.shape[1] + 1)

    def off(logs: Doubles) -> float:
        factor = np.exp(logs)
        ratio = Spread(1 + (spread.dispersion - 1) * factor[0], spread.overdispersion * factor[1]).of(means)
        total = CALIBRATION_RIDGE * float(logs @ logs)
        insides = pit_inside(sums, means, ratio, *(part.levels for part in RANGES))
        for part, inside in zip(RANGES, insides, strict=True):
            noise = part.tolerance**2 + part.wanted * (1 - part.wanted) / len(sums)
            total += float(((inside.mean(axis=0) - part.wanted) ** 2).sum() / noise)
        return total

    simplex = np.array([[0.0, 0.0], [-0.3, 0.0], [0.0, -0.3]])
    options = {"maxfev": 40, "xatol": 0.02, "fatol": 0.02, "initial_simplex": simplex}
    return np.asarray(minimize(off, np.zeros(2), method="Nelder-Mead", options=options).x, np.float64)


def _with_constant(inputs: Doubles) -> Doubles:
    return np.column_stack([inputs, np.ones(len(inputs))])
