"""The fitted model of users: a hazard of the next purchase, purchase days and value ahead.

A discrete-time hazard by LightGBM (a row a user, cut and future week, as long as there was no purchase) gives the
chance and the date of the next purchase, drawn half-way, in log odds, to a model of "buys within a horizon"; a Poisson
model the purchase days and a Tweedie model the value of a horizon, both as factors on MBG/NBD's expectation, with
quantile heads for the value's interval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from udfs import json_model
from udfs.trees_text import trees_text
from udfs.users import btyd
from udfs.users.btyd import Parameters
from udfs.users.features import Seen
from udfs.users.history import Doubles
from udfs.users.next_purchase import Ahead, ahead
from udfs.users.training_rows import HORIZONS, INPUTS, WEEKS, Floats, Rows, base_days, inputs, mean_spend

FIXED: Final[Mapping[str, Any]] = {
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "lambda_l2": 5.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 127,
}
LEAST_ROWS: Final = 100  # fewer are no model: MBG/NBD alone
MOST_ROWS: Final = 200_000  # of one LightGBM; more rows of the same users and cuts teach little
YEAR: Final = 365


@dataclass(frozen=True)
class Settings:
    """How the model is fitted; all was chosen on cuts before the test cuts.

    trees, leaves: of the hazard and the quantiles. The models of a horizon have twice as many.
    """

    cuts: int = 26
    trees: int = 100
    learning_rate: float = 0.04
    leaves: int = 7
    threads: int = 1


@dataclass(frozen=True)
class ProfileModel:
    """LightGBM's texts ("" where there was nothing to learn from) and MBG/NBD's parameters.

    weeks: the longest week ahead of which a hazard was seen; later weeks are like it.
    horizon: the longest horizon that was seen; a longer one is read as if it were that, beside MBG/NBD's growth.
    """

    run_day: int
    names: tuple[str, ...]
    counts: tuple[float, ...]
    weeks: int
    horizon: int
    hazard: str = ""
    buys: str = ""
    days: str = ""
    value: str = ""
    value_low: str = ""
    value_high: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> Parameters:
        """MBG/NBD's."""
        return btyd.parameters(self.counts)

    def to_json(self) -> str:
        """The model as one JSON object."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Forecast:
    """What is ahead of the users of a `Seen`; of the horizons 28, 90 and 365 in this order where there are three."""

    ahead: Ahead
    p_alive: Doubles
    days: Doubles  # [users, 3]
    value: Doubles  # [users, 2] of 90 and 365 days
    low: Doubles  # [users, 2]
    high: Doubles


def from_json(text: str) -> ProfileModel:
    """Model from the text of `ProfileModel.to_json`. ValueError on other text, and on a model with other inputs."""
    model = json_model.from_json(ProfileModel, text, "a profile model", "train it again")
    if model.names != INPUTS:
        raise ValueError("this profile model reads other features than this version computes: train it again")
    return model


def fit(rows: Rows, counts: Parameters, run_day: int, settings: Settings | None = None) -> ProfileModel:
    """A model of these rows; of too few rows MBG/NBD alone."""
    how = settings or Settings()
    weeks = int(rows.hazard[:, INPUTS.index("span")].max(initial=-1)) + 1
    longest = int(rows.horizon.max(initial=0))
    trees: dict[str, str] = {}
    if len(rows.hazard) >= LEAST_ROWS and 0 < rows.bought.mean() < 1:
        trees["hazard"] = _fit(
            rows.hazard, rows.bought.astype(float), None, rows.hazard_weight, {"objective": "binary"}, how
        )
    if len(rows.spans) >= LEAST_ROWS and rows.days.any():
        more = replace(how, trees=2 * how.trees, leaves=2 * how.leaves)
        if trees:
            bought = (rows.days > 0).astype(float)
            trees["buys"] = _fit(rows.spans, bought, None, rows.weight, {"objective": "binary"}, more)
        trees["days"] = _fit(rows.spans, rows.days, np.log(rows.base), rows.weight, {"objective": "poisson"}, more)
        start = np.log(np.maximum(rows.base_value, 1e-6))
        tweedie = {"objective": "tweedie", "tweedie_variance_power": 1.5}
        trees["value"] = _fit(rows.spans, rows.value, start, rows.weight, tweedie, more)
        far = rows.horizon == longest
        for name, level in (("value_low", 0.1), ("value_high", 0.9)):
            objective = {"objective": "quantile", "alpha": level}
            trees[name] = _fit(rows.spans[far], np.log1p(rows.value[far]), None, rows.weight[far], objective, how)
    found = ProfileModel(run_day, INPUTS, (counts.r, counts.alpha, counts.a, counts.b), weeks, longest)
    return replace(found, **trees)  # type: ignore[arg-type]


def predict(model: ProfileModel, seen: Seen) -> Forecast:
    """The forecast of each user of `seen`."""
    counts = model.parameters
    known = np.arange(len(seen.user))
    facts = (seen.frequency, seen.recency, seen.age)
    ahead_ = _ahead(model, seen)
    base = {each: base_days(seen, each, counts) for each in (28, 90, YEAR)}
    days = {each: base[each] * _factor(model.days, model, seen, each) for each in (28, 90)}
    days[28] = np.maximum(days[28], ahead_.active(28))
    days[90] = np.maximum.reduce([days[90], ahead_.active(90), days[28]])
    growth = np.maximum(base[YEAR] / base[90], 1)
    year = days[90] * growth
    value = base[90] * mean_spend(seen) * _factor(model.value, model, seen, 90)
    low, high = value * 0, 4 * value
    if model.value_low:
        far = inputs(seen, known, np.full(len(known), float(model.horizon)))
        scale = 90 / model.horizon
        low, high = (scale * np.expm1(np.maximum(_raw(text, far), 0)) for text in (model.value_low, model.value_high))
    high = np.maximum.reduce([high, low, value])
    low = np.minimum(low, value)
    of_year = np.column_stack([np.ones(len(known)), growth])
    return Forecast(
        ahead_,
        btyd.p_alive(*facts, counts),
        np.column_stack([days[28], days[90], year]),
        *(part[:, None] * of_year for part in (value, low, high)),
    )


def _ahead(model: ProfileModel, seen: Seen) -> Ahead:
    """The next purchase's day by the hazards and, at the horizons that were seen, by the model of these."""
    found = ahead(_hazards(model, seen), seen.weekday)
    if not model.buys:
        return found
    known, spans = np.arange(len(seen.user)), [each for each in HORIZONS if each <= model.horizon]
    rows = [inputs(seen, known, np.full(len(known), float(each))) for each in spans]
    return found.drawn_to(spans, np.column_stack([_raw(model.buys, each) for each in rows]))


def _hazards(model: ProfileModel, seen: Seen) -> Doubles:
    """[users, WEEKS] probability of a purchase in a week after none since the cut."""
    known = np.arange(len(seen.user))
    if not model.hazard:
        facts = (seen.frequency, seen.recency, seen.age)
        active = [btyd.p_active(*facts, float(week), model.parameters) for week in range(WEEKS + 1)]
        left = 1 - np.column_stack(active)
        return np.asarray(1 - left[:, 1:] / np.maximum(left[:, :-1], 1e-12), np.float64)
    week = np.minimum(np.arange(WEEKS), model.weeks - 1).astype(np.float64)
    rows = inputs(seen, np.repeat(known, WEEKS), np.tile(week, len(known)))
    return (1 / (1 + np.exp(-_raw(model.hazard, rows)))).reshape(len(known), WEEKS)


def _factor(text: str, model: ProfileModel, seen: Seen, horizon: int) -> Doubles:
    """[users] factor on MBG/NBD's expectation of a horizon; of one that was never seen, that of the longest."""
    known = np.arange(len(seen.user))
    if not text:
        return np.ones(len(known))
    return np.exp(_raw(text, inputs(seen, known, np.full(len(known), float(min(horizon, model.horizon))))))


def _fit(
    rows: Floats, label: Doubles, start: Doubles | None, weight: Doubles, objective: dict[str, Any], how: Settings
) -> str:
    params = (
        dict(FIXED)
        | objective
        | {
            "num_threads": how.threads,
            "learning_rate": how.learning_rate,
            "num_leaves": how.leaves,
            "min_data_in_leaf": int(min(200, max(min(len(rows), MOST_ROWS) // 50, 1))),
        }
    )
    chosen = _drawn(len(rows))
    begun = None if start is None else start[chosen]
    data = lgb.Dataset(rows[chosen], label[chosen], weight=weight[chosen], init_score=begun, params=params)
    return trees_text(lgb.train(params, data, how.trees))


def _drawn(count: int) -> npt.NDArray[np.int64]:
    """At most MOST_ROWS rows, in order: the same of as many rows."""
    if count <= MOST_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(int(FIXED["seed"])).choice(count, MOST_ROWS, replace=False))


def _raw(text: str, rows: Floats) -> Doubles:
    if not len(rows):
        return np.zeros(0)
    return np.asarray(lgb.Booster(model_str=text).predict(rows, raw_score=True, num_threads=1), np.float64)
