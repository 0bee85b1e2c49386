"""The fitted demand model, for pairs of a location and an item and for items in all locations: rates and their spread.

Per level one LightGBM with Poisson loss, starting from a mean of the series' own past, and the weights of the spread of
the counts (udfs/demand/dispersion.py). Weights are fitted to forecasts by models of the other half of the items: those
of the trees that learned from the same rows are too near.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import lightgbm as lgb
import numpy as np
import pandas as pd

from udfs import json_model
from udfs.demand.block import Codes, Doubles, Ids
from udfs.demand.dispersion import LEAST_EXTRA, Spread, fit_spread, spread_of
from udfs.demand.features import FEATURES, ITEM_FEATURES, ITEM_INPUTS, Floats, base
from udfs.trees_text import trees_text

Level = Literal["pair", "item"]

LEVEL_FEATURES: Final[Mapping[Level, tuple[str, ...]]] = {"pair": FEATURES, "item": ITEM_FEATURES}
FIXED: Final[dict[str, Any]] = {
    "objective": "poisson",
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,  # with deterministic: the same trees on any number of threads, to the last digit (a test)
    "verbosity": -1,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 127,
}


@dataclass(frozen=True)
class Settings:
    """How the model is fitted; the defaults were chosen on validation cuts that precede the test cuts."""

    origins: int = 3  # past origins, 28 days apart, the newest 28 days before run_date
    max_pairs: int = 800_000  # training rows of pairs, all origins together: beyond it, items are sampled
    trees: int = 200
    learning_rate: float = 0.05
    leaves: int = 31
    spread_rows: int = 150_000  # of a level, complete items: the spread is fitted to them
    threads: int = 0  # 0: as many as the machine has cores


@dataclass(frozen=True)
class Model:
    """LightGBM's text and the weights of the spread, for pairs and for items; "" is the base alone, and Poisson."""

    run_day: int
    names: tuple[str, ...]  # FEATURES of the code that fitted it
    pair_trees: str
    pair_dispersion: tuple[float, ...]
    item_trees: str
    item_dispersion: tuple[float, ...]
    pair_overdispersion: tuple[float, ...] = ()  # none: a model of a version that had no overdispersion
    item_overdispersion: tuple[float, ...] = ()

    def to_json(self) -> str:
        """The model as one JSON object."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Model:
    """Model from the text of `Model.to_json`. ValueError on other text, and on a model with other features."""
    model = json_model.from_json(Model, text, "a demand model", "fit it again")
    if model.names != FEATURES:
        raise ValueError("this demand model reads other features than this version computes: fit it again")
    return model


def rates(model: Model, level: Level, features: Floats, threads: int = 1) -> tuple[Doubles, Spread]:
    """Units in an ordinary week [rows] and their spread, by LEVEL_FEATURES of the level; the same on any threads."""
    if level == "pair":
        trees, weights = model.pair_trees, (model.pair_dispersion, model.pair_overdispersion)
    else:
        trees, weights = model.item_trees, (model.item_dispersion, model.item_overdispersion)
    rate = rate_of(level, trees, features, threads)
    dispersion, overdispersion = (np.array(part, np.float64) for part in weights)
    if not len(dispersion):
        return rate, Spread(np.full(len(rate), 1 + LEAST_EXTRA), np.zeros(len(rate)))
    return rate, spread_of(dispersion, overdispersion, _spread_inputs(level, features, rate))


def fit_level(level: Level, item_id: Ids, features: Floats, units: Doubles, settings: Settings) -> dict[str, Any]:
    """The fields of `Model` of one level. item_id: of each row."""
    if units.sum() <= 0:
        return {f"{level}_trees": "", f"{level}_dispersion": ()}
    trees = _fit_trees(level, features, units, settings)
    rows, rate = _rates_unseen(level, item_id, features, units, settings)
    weights = fit_spread(units[rows], rate, _spread_inputs(level, features[rows], rate))
    named = zip(("dispersion", "overdispersion"), weights, strict=True)
    return {f"{level}_trees": trees} | {f"{level}_{name}": tuple(part.tolist()) for name, part in named}


def _rates_unseen(
    level: Level, item_id: Ids, features: Floats, units: Doubles, settings: Settings
) -> tuple[Codes, Doubles]:
    """Rows of about `spread_rows`, complete items, and the rate of each by a model of the other half of these items."""
    item, items = pd.factorize(item_id)
    order = np.random.default_rng(FIXED["seed"]).permutation(len(items))
    drawn = np.flatnonzero(order[item] < max(len(order) * settings.spread_rows / len(item), 2))
    half = order[item[drawn]] % 2
    rate = np.empty(len(drawn))
    for seen in (0, 1):
        learn, rest = drawn[half == seen], half != seen
        trees = _fit_trees(level, features[learn], units[learn], settings)
        rate[rest] = rate_of(level, trees, features[drawn[rest]], _threads(settings))
    return drawn, rate


def _fit_trees(level: Level, features: Floats, units: Doubles, settings: Settings) -> str:
    """LightGBM's text; "" where nothing was sold."""
    if units.sum() <= 0:
        return ""
    params = FIXED | {
        "num_threads": _threads(settings),
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": min(200, max(len(units) // 50, 1)),
    }
    start = np.log(base(features, level))
    data = lgb.Dataset(_seen(level, features), units.mean(axis=1), init_score=start, params=params)
    return trees_text(lgb.train(params, data, settings.trees))


def _threads(settings: Settings) -> int:
    return settings.threads or os.cpu_count() or 1


def rate_of(level: Level, trees: str, features: Floats, threads: int = 1) -> Doubles:
    """Units a week of each row."""
    start = base(features, level)
    if not trees or not len(features):
        return start
    raw = lgb.Booster(model_str=trees).predict(_seen(level, features), raw_score=True, num_threads=threads)
    rate: Doubles = np.exp(np.asarray(raw, np.float64)) * start
    return rate


def _seen(level: Level, features: Floats) -> Floats:
    """The feature columns used by the trees of the level."""
    return features if level == "pair" else np.ascontiguousarray(features[:, ITEM_INPUTS])


def _spread_inputs(level: Level, features: Floats, rate: Doubles) -> Doubles:
    """[rows, 3]: logarithms of the rate, of the item's units per sale, and of the recent trend."""
    names = LEVEL_FEATURES[level]
    a_sale = features[:, names.index("item_units_a_sale")].astype(np.float64)
    month, week = (features[:, names.index(f"{level}_units_{days}")].astype(np.float64) for days in (28, 7))
    burst = np.log1p(np.maximum(week, month)) - np.log1p(rate)
    return np.column_stack([np.log(np.maximum(rate, 1e-6)), np.log(np.maximum(a_sale, 1)), burst])
