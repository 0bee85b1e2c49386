"""Comparison of a newly fitted demand model with the one in use, on four weeks that neither has learned from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlogy

from udfs.demand.block import WEEK, Codes, Doubles, added, in_sample
from udfs.demand.counts import pit_inside
from udfs.demand.dispersion import RANGES, Spread
from udfs.demand.forecast import TARGETS, fit
from udfs.demand.model import LEVEL_FEATURES, Level, Model, Settings, rates
from udfs.evaluation.metrics import Bootstrap
from udfs.horizon import HORIZON_DAYS

LEVELS: Final[tuple[Level, ...]] = ("pair", "item")
DRAWS: Final = 400


@dataclass(frozen=True)
class Verdict:
    """Whether runs may use a new model, and the figures behind the decision.

    log_score_<level>: its negative log likelihood per series and week; gain_<level>, _low, _high: the share by which
    that is below the model in use, with the 95 % interval over items. covered_<level>_<n>d, above_<level>_<n>d: the
    shares of demands over the first n days between p10 and p90, and above the 95 % level, by the randomised PIT.
    """

    promoted: bool
    figures: dict[str, float]


def held_out(rows: pd.DataFrame, run_day: int) -> pd.DataFrame:
    """The training rows whose four weeks are the newest, ending on run_day."""
    return rows[rows["origin"] == run_day - HORIZON_DAYS]


def fit_judged(rows: pd.DataFrame, run_day: int, settings: Settings, most: int) -> Model | None:
    """A model of the earlier rows alone, of at most about `most` of them, complete by item; None without any."""
    earlier = rows[rows["origin"] < run_day - HORIZON_DAYS]
    if earlier.empty:
        return None
    items = earlier["item_id"].unique()
    drawn = {item for item in items if in_sample(item, most / len(earlier))}
    return fit(earlier[earlier["item_id"].isin(drawn)], run_day - HORIZON_DAYS, settings)


def judge(fitted: Model | None, current: Model | None, newest: pd.DataFrame) -> Verdict:
    """Promoted unless the model is significantly worse than the one in use, for pairs or for items.

    Worse is a worse log score; or intervals of the demand over 7, 14, 21 or 28 days that are off beyond chance (80 %
    within p10 to p90 by more than 3 points, or 5 % above the 95 % level by more than 1: RANGES) and further off than
    those of the model in use. Without one, there is nothing better to keep.

    Both are from `fit_judged`, so that neither has learned from the weeks of the `held_out` rows; None: no such model.
    """
    promoted, figures = True, {}
    for level in LEVELS:
        part = newest[newest["level"] == (level == "item")]
        if fitted is None or part.empty:
            continue
        units, cores = part[list(TARGETS)].to_numpy(np.float64), os.cpu_count() or 1
        features = part[list(LEVEL_FEATURES[level])].to_numpy(np.float32)
        own_rates = rates(fitted, level, features, cores)
        ours = log_scores(units, *own_rates)
        figures[f"log_score_{level}"] = float(ours.mean())
        item, items = pd.factorize(part["item_id"], sort=True)
        codes, draws = np.asarray(item, np.int64), Bootstrap(len(items), draws=DRAWS)
        shares, off = _coverage(level, units, *own_rates, codes, draws)
        figures |= shares
        if current is None:
            continue
        their_rates = rates(current, level, features, cores)
        promoted &= not off > max(_coverage(level, units, *their_rates, codes, draws)[1], 0)
        theirs = log_scores(units, *their_rates)
        worse = draws.relative(added(codes, len(items), ours), added(codes, len(items), theirs))
        figures |= {f"gain_{level}": -worse.value, f"gain_{level}_low": -worse.high, f"gain_{level}_high": -worse.low}
        promoted &= not worse.low > 0
    return Verdict(promoted, {name: value for name, value in figures.items() if np.isfinite(value)})


def _coverage(
    level: Level, units: Doubles, rate: Doubles, spread: Spread, item: Codes, draws: Bootstrap
) -> tuple[dict[str, float], float]:
    """Shares of sums of days within the levels, and how far the worst is off: in tolerances, above 0 beyond one.

    What may be chance does not count as off: half the 95 % interval over items, and at least what as many independent
    items would give, for the bootstrap of few items does not vary where none of them is above a level.
    """
    sums = np.cumsum(units, axis=1)
    shares: dict[str, float] = {}
    worst = -1.0
    for week in range(1, len(TARGETS) + 1):
        mean = rate * week
        insides = pit_inside(sums[:, week - 1], mean, spread.of(mean), *(part.levels for part in RANGES))
        for part, inside in zip(RANGES, insides, strict=True):
            share = draws.ratio(added(item, draws.users, inside), added(item, draws.users))
            shares[f"{part.name}_{level}_{week * WEEK}d"] = share.value
            binomial = 2 * (part.wanted * (1 - part.wanted) / draws.users) ** 0.5
            chance = max(share.high - share.value, share.value - share.low, binomial)
            worst = max(worst, (abs(share.value - part.wanted) - chance) / part.tolerance - 1)
    return shares, worst


def log_scores(units: Doubles, rate: Doubles, spread: Spread) -> Doubles:
    """[rows]: the mean over the row's weeks of -log P(units [rows, weeks]), by the negative binomial of its rate."""
    mean, dispersion = rate[:, None], spread.of(rate)[:, None]
    size = np.maximum(mean, 1e-9) / (dispersion - 1)
    chance = gammaln(units + size) - gammaln(size) - gammaln(units + 1) - size * np.log(dispersion)
    chance += xlogy(units, (dispersion - 1) / dispersion)
    scores: Doubles = -chance.mean(axis=1)
    return scores
