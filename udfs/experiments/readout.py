"""Read-out of an experiment: the effect of each variant on a metric of users, adjusted by their own past.

The adjustment is CUPED (Deng, Xu, Kohavi and Walker 2013): what a user did before the experiment explains most of what
the user does in it, and no variant can have changed it. Two intervals: one for a single look on a day fixed ahead, and
one that holds however often it is looked at, by a mixture sequential probability ratio test (Johari, Koomen, Pekelis
and Walsh 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from operator import add
from typing import Final

from scipy import stats

ALPHA: Final = 0.05
POWER: Final = 0.8
LEAST_SRM_P: Final = 1e-3  # below it the shares of users are not what chance gives: something is wrong with the logs
CONTROL: Final = 0  # the first variant: what the others are compared with


class SampleRatioError(ValueError):
    """The variants have other shares of the users than they were assigned: no effect can be read."""


@dataclass(frozen=True)
class Moments:
    """Of one variant's users: how many, and sums of the metric during the experiment, before it, and of products."""

    users: int
    during: float
    before: float
    during_squared: float
    before_squared: float
    product: float

    def __add__(self, other: Moments) -> Moments:
        """Those of both together."""
        return Moments(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def covariance(self) -> tuple[float, float, float]:
        """Variance of the metric during, of the metric before, and their covariance; 0 below two users."""
        if self.users < 2:
            return 0.0, 0.0, 0.0
        pairs = (
            (self.during_squared, self.during, self.during),
            (self.before_squared, self.before, self.before),
            (self.product, self.during, self.before),
        )
        found = ((squares - one * two / self.users) / (self.users - 1) for squares, one, two in pairs)
        during, before, together = found
        return max(during, 0.0), max(before, 0.0), together


@dataclass(frozen=True)
class Readout:
    """One variant of an experiment: its users, their mean, and its effect over the first variant, in the metric's unit.

    low, high: 95 % interval for one look; low_always, high_always: for any number of looks. cuped_r2: share of the
    metric's variance that the past explains. needed: users a variant needs to find `minimum_effect` with 80 % power.
    The first variant has an effect of 0 and no interval (NaN).
    """

    users: int
    mean: float
    effect: float
    low: float
    high: float
    low_always: float
    high_always: float
    cuped_r2: float
    needed: int

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval for any number of looks says so, else `undecided`."""
        if self.low_always > 0:
            return "better"
        return "worse" if self.high_always < 0 else "undecided"


def read_out(variants: Sequence[Moments], minimum_effect: float) -> tuple[list[Readout], float]:
    """A Readout of each variant, and the p-value of their shares of the users, which should be equal.

    A user without any purchase counts with 0. minimum_effect: relative to the first variant's mean. SampleRatioError
    below LEAST_SRM_P.
    """
    counts = [one.users for one in variants]
    p = sample_ratio_p(counts)
    if p < LEAST_SRM_P:
        listed = ", ".join(f"{count:,}" for count in counts)
        raise SampleRatioError(f"variants have {listed} users, expected equal shares (p = {p:.1g})")
    everybody = reduce(add, variants)
    during, before, together = everybody.covariance
    slope = together / before if before > 0 else 0.0
    r2 = together * slope / during if during > 0 else 0.0
    usual = _mean(variants[CONTROL], everybody, slope)
    scale = minimum_effect * abs(usual) if math.isfinite(usual) else 0.0
    needed = users_needed(during * (1 - r2), scale)
    found = []
    for number, one in enumerate(variants):
        mean = _mean(one, everybody, slope)
        if number == CONTROL or min(one.users, variants[CONTROL].users) < 2:
            found.append(Readout(one.users, mean, 0.0, math.nan, math.nan, math.nan, math.nan, r2, needed))
            continue
        effect = mean - usual
        variance = _variance(one, slope) + _variance(variants[CONTROL], slope)
        once, always = half_width(variance), half_width_always(variance, scale)
        ends = effect - once, effect + once, effect - always, effect + always
        found.append(Readout(one.users, mean, effect, *ends, r2, needed))
    return found, p


def _mean(one: Moments, everybody: Moments, slope: float) -> float:
    """Mean of the metric less what the past explains of the difference to everybody's (CUPED)."""
    if not one.users:
        return math.nan
    return one.during / one.users - slope * (one.before / one.users - everybody.before / everybody.users)


def _variance(one: Moments, slope: float) -> float:
    """Variance of `_mean`."""
    during, before, together = one.covariance
    return max(during + slope**2 * before - 2 * slope * together, 0.0) / one.users


def half_width(variance: float) -> float:
    """Of the 95 % interval of an effect whose estimate has this variance, for one look."""
    return float(stats.norm.ppf(1 - ALPHA / 2)) * math.sqrt(variance)


def half_width_always(variance: float, scale: float) -> float:
    """The same for any number of looks; narrowest for effects of about `scale`, infinite without one."""
    if scale <= 0 or variance <= 0:
        return math.inf if variance > 0 else 0.0
    mixing = scale**2
    bound = 2 * math.log(1 / ALPHA) + math.log((variance + mixing) / variance)
    return math.sqrt(variance * (variance + mixing) / mixing * bound)


def users_needed(variance: float, effect: float) -> int:
    """Users of each variant by which an effect is found with 80 % power, looking once; 0 for no effect."""
    if effect <= 0:
        return 0
    quantiles = float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))
    return math.ceil(2 * variance * (quantiles / effect) ** 2)


def sample_ratio_p(counts: Sequence[int]) -> float:
    """p-value of equal shares of the users (chi-square); 1 without users."""
    return float(stats.chisquare(counts).pvalue) if sum(counts) else 1.0
