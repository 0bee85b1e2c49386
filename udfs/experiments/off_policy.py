"""Off-policy value: what another choice would have been worth, by choices that were drawn with known probabilities.

Three estimators: inverse propensity scoring (IPS; Horvitz and Thompson 1952), its self-normalised form (SNIPS;
Swaminathan and Joachims 2015), and the doubly robust one (DR; Dudík, Langford and Li 2011), which weighs only what a
model of rewards leaves unexplained. Intervals are by clusters of rows that may depend on each other, such as a user's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST_EFFECTIVE: Final = 100  # rows; with fewer, an estimate is a handful of lucky draws
Z: Final = 1.959963984540054  # of 95 % of a normal distribution

Floats = npt.NDArray[np.float64]


class PropensityError(ValueError):
    """A row has no propensity, or one that is no probability: no weight can be given to it."""


@dataclass(frozen=True)
class Choices:
    """Logged rows: equally long arrays of doubles, `cluster` of integers.

    propensity: of what was chosen, under the policy that logged; target: the same under the policy to be valued;
    reward: what the choice brought; expected: what a model expects of it; expected_of_target: what the model expects of
    the target's choice, on average. The model must not have learned from these rows' own rewards.
    """

    cluster: npt.NDArray[np.int64]
    propensity: Floats
    target: Floats
    reward: Floats
    expected: Floats
    expected_of_target: Floats


@dataclass(frozen=True)
class Sums:
    """Sums over rows, and sums over clusters of products of their sums; those of disjoint clusters can be added.

    a: weighted rewards of a cluster, b: its weights, n: its rows, d: its doubly robust terms.
    """

    clusters: float = 0.0
    rows: float = 0.0
    weights: float = 0.0
    squared_weights: float = 0.0
    max_weight: float = 0.0
    rewards: float = 0.0
    robust: float = 0.0
    nn: float = 0.0
    aa: float = 0.0
    an: float = 0.0
    ab: float = 0.0
    bb: float = 0.0
    dd: float = 0.0
    dn: float = 0.0

    @property
    def effective(self) -> float:
        """Effective sample: as many rows of equal weight are as certain (Kish 1965); 0 without rows."""
        return self.weights**2 / self.squared_weights if self.squared_weights else 0.0


@dataclass(frozen=True)
class Estimate:
    """Value of a policy, in rewards a choice, by one estimator, with its 95 % interval; NaN below LEAST_EFFECTIVE."""

    estimator: str
    value: float
    low: float
    high: float


def sums(rows: Choices) -> Sums:
    """Sums of the rows. PropensityError where a propensity is not in (0, 1] or a target is not in [0, 1]."""
    _refuse(rows.propensity, ~((rows.propensity > 0) & (rows.propensity <= 1)), "propensity", "above 0 and at most 1")
    _refuse(rows.target, ~((rows.target >= 0) & (rows.target <= 1)), "target", "at least 0 and at most 1")
    if not len(rows.cluster):
        return Sums()
    weight = rows.target / rows.propensity
    terms = rows.expected_of_target + weight * (rows.reward - rows.expected)
    _, place = np.unique(rows.cluster, return_inverse=True)
    a, b, d = (np.bincount(place, weights=each) for each in (weight * rows.reward, weight, terms))
    n = np.bincount(place).astype(float)
    products = (float(one @ other) for one, other in ((n, n), (a, a), (a, n), (a, b), (b, b), (d, d), (d, n)))
    whole = (len(n), n.sum(), b.sum(), weight @ weight, weight.max(), a.sum(), d.sum())
    return Sums(*(float(each) for each in whole), *products)


def added(parts: Iterable[Sums]) -> Sums:
    """Sums of disjoint clusters together."""
    every = np.array([astuple(part) for part in parts], float).reshape(-1, len(fields(Sums)))
    if not len(every):
        return Sums()
    largest = [field.name for field in fields(Sums)].index("max_weight")
    total = every.sum(axis=0)
    total[largest] = every[:, largest].max()
    return Sums(*total.tolist())


def estimates(total: Sums) -> list[Estimate]:
    """The value by IPS, SNIPS and DR. All NaN where the effective sample is below LEAST_EFFECTIVE, or one cluster."""
    if total.effective < LEAST_EFFECTIVE or total.clusters < 2:
        return [Estimate(name, math.nan, math.nan, math.nan) for name in ("ips", "snips", "dr")]
    return [
        _ratio("ips", total, total.rewards, total.rows, (total.aa, total.an, total.nn)),
        _ratio("snips", total, total.rewards, total.weights, (total.aa, total.ab, total.bb)),
        _ratio("dr", total, total.robust, total.rows, (total.dd, total.dn, total.nn)),
    ]


def _ratio(name: str, total: Sums, above: float, below: float, products: tuple[float, float, float]) -> Estimate:
    """The ratio above / below, with the interval of a ratio of sums over clusters (linearised)."""
    squares, mixed, squares_below = products
    value = above / below
    spread = max(squares - 2 * value * mixed + value**2 * squares_below, 0.0)
    error = Z * math.sqrt(spread * total.clusters / (total.clusters - 1)) / below
    return Estimate(name, value, value - error, value + error)


def _refuse(values: Floats, wrong: npt.NDArray[np.bool_], name: str, expected: str) -> None:
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise PropensityError(
            f"{name} is {values[first]} in row {first} ({int(wrong.sum()):,} such rows), must be {expected}"
        )
