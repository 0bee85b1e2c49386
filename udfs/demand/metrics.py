"""Accuracy of weekly demand forecasts over many series, with intervals from resampled items.

Errors are summed per item first: the weeks of one item, and its pairs, are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import nbinom

from udfs.demand.block import LEVELS, Codes, Doubles, added
from udfs.evaluation.metrics import Bootstrap, Interval


@dataclass(frozen=True)
class Judged:
    """Forecasts of one contender for series [n, weeks]: the point, p10, p50 and p90.

    dispersion [n], with `mean` [n, weeks]: only of a contender whose distribution is negative binomial.
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


def pit_inside(units: Doubles, mean: Doubles, dispersion: Doubles, low: float = 0.1, high: float = 0.9) -> Doubles:
    """Per entry: the probability that its randomised PIT lies between the levels.

    A count covers P(X < units) .. P(X <= units) of its distribution; the result is the share of that interval between
    the levels (Czado, Gneiting & Held 2009). Under the right distribution the mean is high - low for any counts.
    """
    size, dispersion = np.broadcast_arrays(np.maximum(mean, 1e-12) / (dispersion - 1), dispersion)
    end, start, sold = (
        dispersion**-size,
        np.zeros(units.shape),
        units > 0,
    )  # zero units need no beta function
    end[sold] = nbinom.cdf(units[sold], size[sold], 1 / dispersion[sold])
    start[sold] = nbinom.cdf(units[sold] - 1, size[sold], 1 / dispersion[sold])
    width = np.maximum(end - start, 1e-12)
    inside: Doubles = np.clip((high - start) / width, 0, 1) - np.clip((low - start) / width, 0, 1)
    return inside


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
        sums["covered_pit"] = (total(pit_inside(units, judged.mean, judged.dispersion[:, None])), entries)
    return sums


def figures(sums: dict[str, tuple[Doubles, Doubles]], draws: Bootstrap) -> dict[str, Interval]:
    """Each metric over all items, with its 95 % interval."""
    return {metric: draws.ratio(top, bottom) for metric, (top, bottom) in sums.items()}
