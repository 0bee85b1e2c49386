"""One figure is how good forecasts of weekly units are over many series, with an interval from resampled items.

Everything is an error summed per item first: weeks of one item, and its pairs, are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import nbinom

from udfs.demand.block import LEVELS, Codes, Doubles, added
from udfs.evaluation.metrics import Bootstrap, Interval


@dataclass(frozen=True)
class Judged:
    """What one contender said of series [n, weeks], in what `Figures` needs: the point, p10, p50 and p90.

    dispersion [n], with `mean` [n, weeks]: where its distribution is known to be negative binomial.
    """

    point: Doubles
    low: Doubles
    middle: Doubles
    high: Doubles
    mean: Doubles | None = None
    dispersion: Doubles | None = None

    def rows(self, chosen: Codes) -> Judged:
        """What it said of those series."""
        mean, spread = (None if part is None else part[chosen] for part in (self.mean, self.dispersion))
        point, low, middle, high = (part[chosen] for part in (self.point, self.low, self.middle, self.high))
        return Judged(point, low, middle, high, mean, spread)


def pinball(units: Doubles, quantile: Doubles, level: float) -> Doubles:
    """Per entry: level x what the units exceed the quantile by, or (1 - level) x what they fall short of it."""
    loss: Doubles = np.maximum(level * (units - quantile), (level - 1) * (units - quantile))
    return loss


def pit_inside(units: Doubles, mean: Doubles, dispersion: Doubles, low: float = 0.1, high: float = 0.9) -> Doubles:
    """Per entry: the probability that its randomised PIT lies between the levels.

    A count has P(X < units) .. P(X <= units) of its distribution to itself; what of that lies between the levels, as a
    share (Czado, Gneiting & Held 2009). Where the distribution is right the mean is high - low, whatever the counts.
    """
    size, dispersion = np.broadcast_arrays(np.maximum(mean, 1e-12) / (dispersion - 1), dispersion)
    end, start, sold = (
        dispersion**-size,
        np.zeros(units.shape),
        units > 0,
    )  # that nothing is sold needs no beta function
    end[sold] = nbinom.cdf(units[sold], size[sold], 1 / dispersion[sold])
    start[sold] = nbinom.cdf(units[sold] - 1, size[sold], 1 / dispersion[sold])
    width = np.maximum(end - start, 1e-12)
    inside: Doubles = np.clip((high - start) / width, 0, 1) - np.clip((low - start) / width, 0, 1)
    return inside


def errors(units: Doubles, judged: Judged, item: Codes, items: int) -> dict[str, tuple[Doubles, Doubles]]:
    """Per metric, what is summed per item, above and below the line: each [items].

    wape: |units - point| over units; wape_mean: the same of the expected units, where they are not the point; bias:
    point over units; pinball_10, _50, _90 and their mean: a loss a series and week; covered: closed interval p10..p90,
    in which counts as rare as these lie too often; covered_pit: the same for the randomised PIT, which does not suffer
    from that.
    """

    def total(values: Doubles) -> Doubles:
        return added(item, items, values.sum(axis=1))

    sold, entries = total(units), total(np.ones_like(units))
    told = {"wape": (total(np.abs(units - judged.point)), sold), "bias": (total(judged.point), sold)}
    losses = [
        total(pinball(units, part, level))
        for part, level in zip((judged.low, judged.middle, judged.high), LEVELS, strict=True)
    ]
    told |= {f"pinball_{round(100 * level)}": (loss, entries) for level, loss in zip(LEVELS, losses, strict=True)}
    told["pinball"] = (np.mean(losses, axis=0), entries)
    told["covered"] = (total(((units >= judged.low) & (units <= judged.high)).astype(np.float64)), entries)
    if judged.mean is not None and judged.dispersion is not None:
        told["wape_mean"] = (total(np.abs(units - judged.mean)), sold)
        told["bias_mean"] = (total(judged.mean), sold)
        told["covered_pit"] = (total(pit_inside(units, judged.mean, judged.dispersion[:, None])), entries)
    return told


def figures(told: dict[str, tuple[Doubles, Doubles]], draws: Bootstrap) -> dict[str, Interval]:
    """Each metric over all items, with its 95 % interval."""
    return {metric: draws.ratio(top, bottom) for metric, (top, bottom) in told.items()}
