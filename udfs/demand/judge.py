"""Comparison of a newly fitted demand model with the one in use, on four weeks that neither has learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlogy

from udfs.demand.block import Doubles, added, in_sample
from udfs.demand.forecast import LEVEL_FEATURES, TARGETS, Level, Model, Settings, fit, rates
from udfs.evaluation.metrics import Bootstrap
from udfs.horizon import HORIZON_DAYS

LEVELS: Final[tuple[Level, ...]] = ("pair", "item")
DRAWS: Final = 400


@dataclass(frozen=True)
class Verdict:
    """Whether runs may use a new model, and the figures behind the decision.

    log_score_<level>: its negative log likelihood per series and week; gain_<level>, _low, _high: the share by which
    that is below the model in use, with the 95 % interval over items.
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

    Both are from `fit_judged`, so that neither has learned from the weeks of the `held_out` rows; None: no such model.
    """
    promoted, figures = True, {}
    for level in LEVELS:
        part = newest[newest["level"] == (level == "item")]
        if fitted is None or part.empty:
            continue
        ours = log_scores(fitted, level, part)
        figures[f"log_score_{level}"] = float(ours.mean())
        if current is None:
            continue
        item, items = pd.factorize(part["item_id"], sort=True)
        codes, theirs = np.asarray(item, np.int64), log_scores(current, level, part)
        draws = Bootstrap(len(items), draws=DRAWS)
        worse = draws.relative(added(codes, len(items), ours), added(codes, len(items), theirs))
        figures |= {f"gain_{level}": -worse.value, f"gain_{level}_low": -worse.high, f"gain_{level}_high": -worse.low}
        promoted &= not worse.low > 0
    return Verdict(promoted, {name: value for name, value in figures.items() if np.isfinite(value)})


def log_scores(model: Model, level: Level, rows: pd.DataFrame) -> Doubles:
    """[rows]: the mean over the row's weeks of -log P(units), by the model's negative binomial."""
    features = rows[list(LEVEL_FEATURES[level])].to_numpy(np.float32)
    mean, dispersion = (part[:, None] for part in rates(model, level, features))
    units = rows[list(TARGETS)].to_numpy(np.float64)
    size = np.maximum(mean, 1e-9) / (dispersion - 1)
    chance = gammaln(units + size) - gammaln(size) - gammaln(units + 1) - size * np.log(dispersion)
    chance += xlogy(units, (dispersion - 1) / dispersion)
    scores: Doubles = -chance.mean(axis=1)
    return scores
