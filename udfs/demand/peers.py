"""Baseline forecasts per series, the peers of the demand model: the point that a method publishes, p10, p50 and p90.

History is [series, weeks] of weekly units, oldest first; every method except the seasonal naive one forecasts the same
number for each of the 4 weeks. Points are as published, means as means. Intervals: AutoETS has its own (80 %, cut at
0); the others, which have none, get the usual ones from the series' own one-step errors of the last ERROR_WEEKS weeks,
added to the point and cut at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from udfs.demand.block import WEEKS_AHEAD, Doubles

SEASON_WEEKS: Final = 4  # of the seasonal naive forecast: week h ahead equals the week 4 weeks before it
ERROR_WEEKS: Final = 26
# Of Croston's smoothing: each series gets the one of least squared one-step error.
ALPHAS: Final = (0.05, 0.1, 0.2, 0.3)
LEAST_WEEKS: Final = 13  # AutoETS reads a series from its first sale on, but at least so many weeks
INTERVAL: Final = 80  # per cent: p10 to p90


@dataclass(frozen=True)
class PeerForecast:
    """point, low, middle and high are [series, 4]."""

    point: Doubles
    low: Doubles
    middle: Doubles
    high: Doubles

    def columns(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """point, low, middle, high."""
        return self.point, self.low, self.middle, self.high


def zero(history: Doubles) -> PeerForecast:
    """Zero units: the forecast that minimises WAPE for rare items."""
    nothing = np.zeros((len(history), WEEKS_AHEAD))
    return PeerForecast(nothing, nothing, nothing, nothing)


def empirical(history: Doubles) -> PeerForecast:
    """The series' own quantiles over the last ERROR_WEEKS weeks; the point is the median."""
    parts = [_even(column) for column in _quantiles(history[:, -ERROR_WEEKS:])]
    return PeerForecast(parts[1], *parts)


def seasonal_naive(history: Doubles, season: int = SEASON_WEEKS) -> PeerForecast:
    """Each week as the latest known week a multiple of `season` weeks before it."""
    steps = (np.arange(WEEKS_AHEAD) % season) - season
    return _with_errors(history[:, steps], history[:, season:] - history[:, :-season])


def mean_28_days(history: Doubles) -> PeerForecast:
    """The mean of the last 4 weeks."""
    before = np.cumsum(np.pad(history, ((0, 0), (1, 0))), axis=1)
    means = (before[:, 4:] - before[:, :-4]) / 4
    return _with_errors(_even(means[:, -1]), history[:, 4:] - means[:, :-1])


def croston_sba(history: Doubles, alphas: tuple[float, ...] = ALPHAS) -> PeerForecast:
    """Croston's method with the bias correction of Syntetos & Boylan (2005): (1 - alpha / 2) size / interval.

    Size and interval are smoothed with the same alpha: of `alphas` the one with the least squared one-step error of
    the series (the first of equals). Both start with the first sale, the interval with the weeks up to it.
    """
    count, weeks = history.shape
    best = np.full(count, np.inf)
    point, errors = np.zeros(count), np.zeros((count, weeks))
    for alpha in alphas:
        forecasts, misses = _croston(history, alpha)
        loss = np.square(misses).sum(axis=1)
        better = loss < best
        best, point = np.where(better, loss, best), np.where(better, forecasts, point)
        errors[better] = misses[better]
    return _with_errors(_even(point), errors)


def _croston(history: Doubles, alpha: float) -> tuple[Doubles, Doubles]:
    """The forecast [series] after the last week, and each week's error [series, weeks]."""
    count, weeks = history.shape
    size, interval, since = np.zeros(count), np.ones(count), np.zeros(count)
    rate, errors = np.zeros(count), np.zeros((count, weeks))
    for week, sold in enumerate(history.T):
        errors[:, week] = sold - rate
        since += 1
        some, first = sold > 0, size == 0
        size = np.where(some, np.where(first, sold, size + alpha * (sold - size)), size)
        interval = np.where(some, np.where(first, since, interval + alpha * (since - interval)), interval)
        since[some] = 0
        rate = (1 - alpha / 2) * size / interval
    return rate, errors


def auto_ets(history: Doubles) -> PeerForecast:
    """ETS with the form chosen by AICc (Hyndman & Khandakar 2008), from statsforecast; not seasonal.

    Some 4 ms a series. A series is read from its first sale on, but at least LEAST_WEEKS weeks.
    """
    from statsforecast.models import AutoETS

    model = AutoETS(season_length=1)
    result = np.zeros((3, len(history), WEEKS_AHEAD))
    weeks = history.shape[1]
    for row, series in enumerate(history):
        if not series.any():
            continue
        start = min(int(np.argmax(series > 0)), max(weeks - LEAST_WEEKS, 0))
        predicted = model.forecast(np.ascontiguousarray(series[start:], np.float64), WEEKS_AHEAD, level=[INTERVAL])
        result[:, row] = predicted["mean"], predicted[f"lo-{INTERVAL}"], predicted[f"hi-{INTERVAL}"]
    point, low, high = np.nan_to_num(np.maximum(result, 0))
    return PeerForecast(point, np.minimum(low, point), point, np.maximum(high, point))


PEERS: Final[dict[str, Callable[[Doubles], PeerForecast]]] = {
    "zero": zero,
    "empirical_quantiles": empirical,
    "seasonal_naive": seasonal_naive,
    "mean_28_days": mean_28_days,
    "croston_sba": croston_sba,
    "auto_ets": auto_ets,
}


def _even(column: Doubles) -> Doubles:
    return np.repeat(column[:, None], WEEKS_AHEAD, axis=1)


def _quantiles(values: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """p10, p50 and p90 of each row: the least value that at least this share of the row does not exceed."""
    ordered, count = np.sort(values, axis=1), values.shape[1]
    low, middle, high = (ordered[:, max(-(-count * tenth // 10) - 1, 0)] for tenth in (1, 5, 9))
    return low, middle, high


def _with_errors(point: Doubles, errors: Doubles) -> PeerForecast:
    """The point also as p50; p10 and p90 from the p10 and p90 of the last one-step errors."""
    low, _, high = _quantiles(errors[:, -ERROR_WEEKS:])
    return PeerForecast(
        point,
        np.clip(point + low[:, None], 0, point),
        point,
        np.maximum(point + high[:, None], point),
    )
