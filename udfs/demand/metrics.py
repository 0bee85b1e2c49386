"""Accuracy of weekly demand forecasts over many series, with intervals from resampled items.

Errors are summed per item first: the weeks of one item, and its pairs, are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from udfs.demand.block import LEVELS, WEEK, Codes, Doubles, added
from udfs.demand.counts import pit_inside
from udfs.demand.dispersion import RANGES, Spread
from udfs.evaluation.metrics import Bootstrap, Interval

BANDS: Final = (0.0, 0.1, 1.0, 10.0, np.inf)  # of the mean of a sum


@dataclass(frozen=True)
class Judged:
    """Forecasts of one contender for series [n, weeks]: the point, p10, p50 and p90.

    dispersion (variance / mean) and `mean`, both [n, weeks]: of a contender whose distribution is negative binomial.
    """

    point: Doubles
    low: Doubles
    middle: Doubles
    high: Doubles
    mean: Doubles | None = None
    dispersion: Doubles | None = None

    def rows(self, chosen: Codes) -> Judged:
        """The forecasts of the chosen series."""
        mean, spread = (None if part is None else part[chosen] for part in (self.mean, self.dispersion))
        point, low, middle, high = (part[chosen] for part in (self.point, self.low, self.middle, self.high))
        return Judged(point, low, middle, high, mean, spread)


def pinball(units: Doubles, quantile: Doubles, level: float) -> Doubles:
    """Pinball loss per entry: level x the excess of the units over the quantile, or (1 - level) x the shortfall."""
    loss: Doubles = np.maximum(level * (units - quantile), (level - 1) * (units - quantile))
    return loss


def errors(units: Doubles, judged: Judged, item: Codes, items: int) -> dict[str, tuple[Doubles, Doubles]]:
    """Numerator and denominator of each metric, summed per item: each [items].

    wape: |units - point| over units; wape_mean: the same with the expected units, where they are not the point; bias:
    point over units; pinball_10, _50, _90 and their mean: loss per series and week; covered: share of units in the
    closed interval p10..p90, which is too high for counts as small as these; covered_pit: the same by the randomised
    PIT, which is free of that bias.
    """

    def total(values: Doubles) -> Doubles:
        return added(item, items, values.sum(axis=1))

    sold, entries = total(units), total(np.ones_like(units))
    sums = {"wape": (total(np.abs(units - judged.point)), sold), "bias": (total(judged.point), sold)}
    losses = [
        total(pinball(units, part, level))
        for part, level in zip((judged.low, judged.middle, judged.high), LEVELS, strict=True)
    ]
    sums |= {f"pinball_{round(100 * level)}": (loss, entries) for level, loss in zip(LEVELS, losses, strict=True)}
    sums["pinball"] = (np.mean(losses, axis=0), entries)
    sums["covered"] = (total(((units >= judged.low) & (units <= judged.high)).astype(np.float64)), entries)
    if judged.mean is not None and judged.dispersion is not None:
        sums["wape_mean"] = (total(np.abs(units - judged.mean)), sold)
        sums["bias_mean"] = (total(judged.mean), sold)
        sums["covered_pit"] = (total(*pit_inside(units, judged.mean, judged.dispersion, (0.1, 0.9))), entries)
    return sums


def coverage(
    units: Doubles, mean: Doubles, spread: Spread, item: Codes, items: int
) -> dict[str, dict[str, tuple[Doubles, Doubles]]]:
    """By band of the mean, "" for all: numerator and denominator, summed per item, of shares of sums of days.

    covered_<n>d: sums over the first n days between p10 and p90; above_<n>d: above the 95 % level, by the randomised
    PIT. units, mean: [n, weeks]. With a mean far below 1 no interval of counts holds exactly 80 %.
    """
    sums, means = np.cumsum(units, axis=1), np.cumsum(mean, axis=1)
    bands = {"": np.ones(sums.shape)}
    for low, high in pairwise(BANDS):
        bands[f", mean {low:g} to {high:g}"] = ((means >= low) & (means < high)).astype(np.float64)
    result: dict[str, dict[str, tuple[Doubles, Doubles]]] = {band: {} for band in bands}
    insides = pit_inside(sums, means, spread.of(means), *(part.levels for part in RANGES))
    for part, inside in zip(RANGES, insides, strict=True):
        for band, chosen in bands.items():
            for week in range(units.shape[1]):
                top, bottom = (added(item, items, values[:, week]) for values in (inside * chosen, chosen))
                result[band][f"{part.name}_{(week + 1) * WEEK}d"] = (top, bottom)
    return result


def figures(sums: dict[str, tuple[Doubles, Doubles]], draws: Bootstrap) -> dict[str, Interval]:
    """Each metric over all items, with its 95 % interval."""
    return {metric: draws.ratio(top, bottom) for metric, (top, bottom) in sums.items()}
