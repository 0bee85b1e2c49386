"""Trends: keys (queries, items, categories) whose counts of late are more than their own past explains.

A count is of users and days, so one user counts once a day. Expected is the key's share of the shop's sessions in its
own past, times the sessions of the window; what it does not explain is negative binomial, with the key's own
dispersion drawn to that of all keys. Keys are tested in strata of their expected count, each at its own false discovery
rate (Benjamini and Hochberg 1995; the strata are independent of the counts under the null hypothesis: Bourgon,
Gentleman and Huber 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy import stats

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

WINDOWS: Final = (7, 14)  # days; the first is the one whose ratio is published
HALF_LIFE, PAST_DAYS = 112.0, 365  # of what a day counts in a key's own past
WEEKS = 16  # earlier windows that the dispersion is measured on, a week apart
FEWEST_DAYS = 28  # of past before a window, or it says nothing of dispersion
TRIMMED = 0.96  # quantile of earlier surprises beyond which they are trends themselves
PRIOR = 100.0  # weight of all keys' dispersion in a key's own, in squared expected counts
LEAST_DISPERSION, LEAST_SHARED = 0.005, 0.01
LEAST_COUNT, LEAST_RATIO = 5, 1.5
STRATA: Final = (5.0, 10.0, 20.0)  # of the expected count
RISING_RATES: Final = (0.02, 0.4, 0.4, 0.4)  # false discovery rate of each stratum: 3 % of all, see bench/trends.py
FALLING_RATES: Final = (0.02, 0.1, 0.1, 0.1)


@dataclass(frozen=True)
class Window:
    """Counts and expected counts of keys in one window: [keys] of the last one, and [weeks, keys] of earlier ones."""

    days: int
    count: Doubles
    expected: Doubles
    earlier_count: Doubles
    earlier_expected: Doubles


def window(counts: sp.csr_matrix, sessions: Doubles, days: int) -> Window:
    """The last `days` of counts [keys, days] and sessions [days], and the same windows of the weeks before."""
    last = counts.shape[1]
    ends = [last] + [last - 7 * week for week in range(1, WEEKS + 1) if last - 7 * week - days >= FEWEST_DAYS]
    count = np.stack([_sum(counts, end - days, end) for end in ends])
    expected = np.stack([_share(counts, sessions, end - days) * sessions[end - days : end].sum() for end in ends])
    return Window(days, count[0], expected[0], count[1:], expected[1:])


def _sum(counts: sp.csr_matrix, start: int, end: int) -> Doubles:
    return np.asarray(counts[:, start:end].sum(axis=1), float).ravel()


def _share(counts: sp.csr_matrix, sessions: Doubles, end: int) -> Doubles:
    """[keys]: decayed share of the sessions before day `end` that each key had, of half a count at least."""
    start = max(0, end - PAST_DAYS)
    weight = 0.5 ** ((end - 1 - np.arange(start, end)) / HALF_LIFE)
    return np.asarray((counts[:, start:end] @ weight + 0.5) / (sessions[start:end] * weight).sum(), float)


@dataclass(frozen=True)
class Surprises:
    """Sums of a key's, or all keys', unexplained squares and of squared expected counts; trends left out."""

    unexplained: Doubles
    squares: Doubles


def surprises(windows: Window, cut: float) -> Surprises:
    """Those of each key; `cut` is the surprise, in Poisson deviations, from which a week is a trend itself."""
    expected, count = windows.earlier_expected, windows.earlier_count
    usual = (expected >= 1) & ((count - expected) < cut * np.sqrt(expected))
    unexplained = np.where(usual, (count - expected) ** 2 - expected, 0).sum(axis=0)
    return Surprises(unexplained, np.where(usual, expected**2, 0).sum(axis=0))


def surprise_cut(windows: Window) -> float:
    """The TRIMMED quantile of earlier surprises of keys with an expected count of 1 at least; inf where none has."""
    enough = windows.earlier_expected >= 1
    deviations = (windows.earlier_count - windows.earlier_expected)[enough] / np.sqrt(windows.earlier_expected[enough])
    return float(np.quantile(deviations, TRIMMED)) if len(deviations) else np.inf


def size_of(own: Surprises) -> Doubles:
    """[keys]: size of the negative binomial, 1 over the dispersion: variance = mean + mean^2 / size."""
    shared = max(LEAST_SHARED, own.unexplained.sum() / max(own.squares.sum(), 1e-9))
    dispersion = (own.unexplained + PRIOR * shared) / (own.squares + PRIOR)
    return np.asarray(1 / np.maximum(dispersion, LEAST_DISPERSION), float)


def p_values(windows: Window, size: Doubles) -> tuple[Doubles, Doubles]:
    """[keys]: probability of such a count or a larger one without a trend; and of such a one or a smaller one."""
    share = size / (size + windows.expected)
    above = stats.nbinom.sf(windows.count - 1, size, share)
    return np.asarray(above, float), np.asarray(stats.nbinom.cdf(windows.count, size, share), float)


def discoveries(p: Doubles, rate: float) -> tuple[Labels, Doubles]:
    """Benjamini and Hochberg: which are discoveries at this rate, and each one's q-value."""
    order = np.argsort(p, kind="stable")
    raw = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1)
    return q <= rate, q


@dataclass(frozen=True)
class Trends:
    """[keys]: count, expected count and ratio of the first window, an interval of the ratio, the expected count of the
    next 7 days, the q-value of the direction that the ratio has, and whether the key rises or falls.
    """

    count: Doubles
    expected: Doubles
    ratio: Doubles
    low: Doubles
    high: Doubles
    next_week: Doubles
    q: Doubles
    rises: Labels
    falls: Labels


def trends(counts: sp.csr_matrix, sessions: Doubles) -> Trends:
    """The trends on the last day of counts [keys, days], against the shop's sessions [days]."""
    windows = [window(counts, sessions, days) for days in WINDOWS]
    sizes = [size_of(surprises(each, surprise_cut(each))) for each in windows]
    first, size = windows[0], sizes[0]
    tails = np.array([p_values(each, its_size) for each, its_size in zip(windows, sizes, strict=True)])
    # The smallest of overlapping windows: less than Bonferroni's factor.
    rising_p, falling_p = np.minimum(tails.min(axis=0) * (1 + 0.5 * (len(windows) - 1)), 1)
    ratio = first.count / first.expected
    enough = np.maximum(first.count, first.expected) >= LEAST_COUNT
    stratum = np.digitize(first.expected, STRATA)
    rises, q_rising = _found(np.where(enough & (ratio >= LEAST_RATIO), rising_p, 1.0), stratum, RISING_RATES)
    falls, q_falling = _found(np.where(enough & (ratio <= 1 / LEAST_RATIO), falling_p, 1.0), stratum, FALLING_RATES)
    # Events that the count is worth: those of a Poisson variable as variable as it is.
    worth = (first.count + 0.5) / (1 + first.expected / size)
    low, high = (np.asarray(stats.gamma.ppf(tail, worth), float) / worth for tail in (0.025, 0.975))
    next_sessions = sessions[-28:].sum() / max(len(sessions[-28:]), 1) * 7
    share = (first.count + size) / (first.expected + size) * first.expected / sessions[-first.days :].sum()
    return Trends(
        count=first.count,
        expected=first.expected,
        ratio=ratio,
        low=np.minimum(ratio, ratio * low),
        high=np.maximum(ratio, np.maximum(ratio, 1 / first.expected) * high),
        next_week=np.asarray(share * next_sessions, float),
        q=np.where(ratio >= 1, q_rising, q_falling),
        rises=rises,
        falls=falls,
    )


def _found(p: Doubles, stratum: npt.NDArray[np.int64], rates: Sequence[float]) -> tuple[Labels, Doubles]:
    """Discoveries and q-values, each stratum at its own rate."""
    found, q = np.zeros(len(p), bool), np.ones(len(p))
    for number, rate in enumerate(rates):
        keys = np.flatnonzero(stratum == number)
        if len(keys):
            found[keys], q[keys] = discoveries(p[keys], rate)
    return found & (p < 1), q
