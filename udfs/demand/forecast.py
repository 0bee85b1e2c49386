"""Demand forecast of an item at a location, by week: expected units, p10, p50 and p90.

One global model for all pairs of a location and an item: LightGBM with Poisson loss on the features of
udfs/demand/features.py at past origins, starting from a mean of the pair's own past; then the dispersion of the counts
(udfs/demand/dispersion.py) by maximum likelihood. A pair's rate is even over the four weeks except for holidays; the
days of a week have the shares of udfs/demand/day_shares.py. A second, smaller model of the same kind forecasts an
item's sales in all locations together, also those where it was not sold lately.

Spark calls `training_rows` per block of items, `fit` once on all of them, `forecast` per block.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import lightgbm as lgb
import numpy as np
import pandas as pd

from udfs import json_model
from udfs.demand.block import LEVELS, LISTED_DAYS, WEEK, WEEKS_AHEAD, Block, Codes, Doubles, Ids, Shop, added
from udfs.demand.counts import quantiles
from udfs.demand.day_shares import Holiday, day_weights
from udfs.demand.dispersion import LEAST_DISPERSION, dispersion_of, fit_dispersion
from udfs.demand.features import FEATURES, ITEM_FEATURES, ITEM_INPUTS, Floats, base, item_features, pair_features
from udfs.horizon import HORIZON_DAYS

Level = Literal["pair", "item"]

TARGETS: Final = ("week_1", "week_2", "week_3", "week_4")
LEVEL_FEATURES: Final[Mapping[Level, tuple[str, ...]]] = {"pair": FEATURES, "item": ITEM_FEATURES}
KEYS: Final = ("level", "origin", "item_id", "location_id")
THREADS: Final = re.compile(r"\[num_threads: \d+\]\n")  # the only line of a model's text that depends on the machine
FIXED: Final[dict[str, Any]] = {
    "objective": "poisson",
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,  # with deterministic: the same trees on any number of threads, to the last digit (a test)
    "verbosity": -1,
}


@dataclass(frozen=True)
class Settings:
    """How the model is fitted; the defaults were chosen on validation cuts that precede the test cuts."""

    origins: int = 3  # past origins, 28 days apart, the newest 28 days before run_date
    max_pairs: int = 800_000  # training rows of pairs, all origins together: beyond it, items are sampled
    trees: int = 200
    learning_rate: float = 0.05
    leaves: int = 31
    dispersion_rows: int = 200_000
    threads: int = 0  # 0: as many as the machine has cores


@dataclass(frozen=True)
class Model:
    """LightGBM's text and the dispersion weights, for pairs and for items; "" is the base alone, and Poisson."""

    run_day: int
    names: tuple[str, ...]  # FEATURES of the code that fitted it
    pair_trees: str
    pair_dispersion: tuple[float, ...]
    item_trees: str
    item_dispersion: tuple[float, ...]

    def to_json(self) -> str:
        """The model as one JSON object."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Model:
    """Model from the text of `Model.to_json`. ValueError on other text, and on a model with other features."""
    model = json_model.from_json(Model, text, "a demand model", "fit it again")
    if model.names != FEATURES:
        raise ValueError("this demand model reads other features than this version computes: fit it again")
    return model


@dataclass(frozen=True)
class Forecast:
    """Forecasts of pairs; expected, p10, p50 and p90 are [pairs, 4] of the four weeks after run_day.

    category: [pairs] category of the pair's item, "" for none.
    """

    run_day: int
    item_id: Ids
    location_id: Ids
    category: Ids
    expected: Doubles
    p10: Doubles
    p50: Doubles
    p90: Doubles
    dispersion: Doubles

    def to_frame(self) -> pd.DataFrame:
        """One row a pair and week: location_id, item_id, category (None for none), target_day (the week's first),
        expected_units, p10, p50, p90, dispersion.
        """
        category = np.array([name or None for name in self.category], object)
        ids = {"location_id": self.location_id, "item_id": self.item_id, "category": category}
        days = _first_days(self.run_day)
        return _long(ids, days, self.expected, (self.p10, self.p50, self.p90), self.dispersion)


def sample_share(pairs: int, settings: Settings | None = None) -> float:
    """The share of items to learn from in a shop of so many listed pairs."""
    settings = settings or Settings()
    return min(1.0, settings.max_pairs / settings.origins / max(pairs, 1))


def training_rows(
    block: Block, shop: Shop, run_day: int, share: float = 1.0, settings: Settings | None = None
) -> pd.DataFrame:
    """One row a pair (level 0) or item (level 1) and past origin: KEYS, FEATURES and TARGETS, units of the weeks after.

    Covers about `share` of the items (`sample_share`), the same ones in every block. The weeks of the newest origin end
    on run_day. Origins before half a LISTED_DAYS of history are left out, if there is a later one.
    """
    settings = settings or Settings()
    block, first_day = block.as_known(run_day).sample(share), shop.as_of(run_day).first_day
    frames = []
    for number in range(1, settings.origins + 1):
        origin = run_day - HORIZON_DAYS * number
        if origin < first_day + (WEEK if number == 1 else LISTED_DAYS // 2):
            break
        pairs, of_pairs = pair_features(block, shop, origin)
        ahead = block.weeks_ahead(origin)
        item, location = block.pair_item[pairs], block.pair_location[pairs]
        frames.append(_rows(0, origin, block.items[item], block.locations[location], of_pairs, ahead[pairs]))
        items = np.unique(item)
        total = np.stack([added(block.pair_item, len(block.items), week) for week in ahead.T], axis=1)
        of_items = np.full((len(items), len(FEATURES)), np.nan, np.float32)
        of_items[:, -len(ITEM_FEATURES) :] = item_features(block, shop, origin)[items]
        frames.append(_rows(1, origin, block.items[items], np.full(len(items), "", object), of_items, total[items]))
    return pd.concat(frames, ignore_index=True) if frames else _rows(0, 0, *_no_rows())


def fit(rows: pd.DataFrame, run_day: int, settings: Settings | None = None) -> Model:
    """The model of the rows of all blocks together, whatever their order."""
    settings = settings or Settings()
    rows = rows.sort_values(list(KEYS), kind="stable", ignore_index=True)
    fields: dict[str, Any] = {}
    for level, names in LEVEL_FEATURES.items():
        part = rows[rows["level"] == (level == "item")]
        features = part[list(names)].to_numpy(np.float32)
        units = part[list(TARGETS)].to_numpy(np.float64)
        fields |= _fit_level(level, features, units, settings)
    return Model(run_day=run_day, names=FEATURES, **fields)


def forecast(block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()) -> Forecast:
    """The next four weeks of every pair of the block that was sold in the LISTED_DAYS up to run_day."""
    pairs, features = pair_features(block, shop, run_day)
    rate, spread = rates(model, "pair", features)
    item = block.pair_item[pairs]
    expected = rate[:, None] * _week_weights(block, shop, run_day, holidays)[item]
    low, middle, high = quantiles(expected, spread, LEVELS)
    location = block.locations[block.pair_location[pairs]]
    return Forecast(run_day, block.items[item], location, block.category[item], expected, low, middle, high, spread)


def item_weeks(block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()) -> pd.DataFrame:
    """`forecast_items` of the items that were sold in the LISTED_DAYS up to run_day, one row an item and week.

    item_id, target_day (the week's first), expected_units, p10, p50, p90, dispersion.
    """
    weeks, spread = forecast_items(block, shop, model, run_day, holidays)
    listed = np.unique(block.pair_item[block.listed(run_day)])
    weeks, spread = weeks[listed], spread[listed]
    return _long(
        {"item_id": block.items[listed]}, _first_days(run_day), weeks, quantiles(weeks, spread, LEVELS), spread
    )


def forecast_items(
    block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()
) -> tuple[Doubles, Doubles]:
    """For every item of the block: units in all locations in each of the 4 weeks [items, 4], and their dispersion.

    More than the sum over its listed pairs: an item is also bought where it was not in the last 26 weeks.
    """
    if not len(block.items):
        return np.zeros((0, WEEKS_AHEAD)), np.zeros(0)
    features = item_features(block, shop, run_day)
    rate, spread = rates(model, "item", features)
    return rate[:, None] * _week_weights(block, shop, run_day, holidays), spread


def rates(model: Model, level: Level, features: Floats) -> tuple[Doubles, Doubles]:
    """Units in an ordinary week [rows] and their dispersion [rows], by LEVEL_FEATURES of the level."""
    pairs = level == "pair"
    rate = _rate(level, model.pair_trees if pairs else model.item_trees, features)
    return rate, _dispersion(level, model.pair_dispersion if pairs else model.item_dispersion, features, rate)


def _week_weights(block: Block, shop: Shop, run_day: int, holidays: Sequence[Holiday]) -> Doubles:
    """[items, 4]: each week after run_day relative to an ordinary one, by its holidays."""
    if not len(block.items):
        return np.ones((0, WEEKS_AHEAD))
    weights = day_weights(shop, block.category, run_day, holidays)
    means: Doubles = weights.reshape(len(weights), WEEKS_AHEAD, WEEK).mean(axis=2)
    return means


def _first_days(run_day: int) -> Codes:
    """[4]: the first day of each week after run_day."""
    return run_day + 1 + WEEK * np.arange(WEEKS_AHEAD)


def _fit_level(level: Level, features: Floats, units: Doubles, settings: Settings) -> dict[str, Any]:
    """The fields of `Model` of one level."""
    prior = {f"{level}_trees": "", f"{level}_dispersion": ()}
    if units.sum() <= 0:
        return prior
    params = FIXED | {
        "num_threads": settings.threads or os.cpu_count() or 1,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": min(200, max(len(units) // 50, 1)),
        "lambda_l2": 1.0,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "max_bin": 127,
    }
    data = lgb.Dataset(
        _seen(level, features), units.mean(axis=1), init_score=np.log(base(features, level)), params=params
    )
    trees = THREADS.sub("", str(lgb.train(params, data, settings.trees).model_to_string()))
    drawn = np.sort(np.random.default_rng(FIXED["seed"]).permutation(len(units))[: settings.dispersion_rows])
    rate = _rate(level, trees, features[drawn])
    weights = fit_dispersion(units[drawn], rate, _dispersion_inputs(level, features[drawn], rate))
    return {f"{level}_trees": trees, f"{level}_dispersion": tuple(float(weight) for weight in weights)}


def _rate(level: Level, trees: str, features: Floats) -> Doubles:
    """Units a week of each row."""
    start = base(features, level)
    if not trees or not len(features):
        return start
    raw = lgb.Booster(model_str=trees).predict(_seen(level, features), raw_score=True, num_threads=1)
    rate: Doubles = np.exp(np.asarray(raw, np.float64)) * start
    return rate


def _seen(level: Level, features: Floats) -> Floats:
    """The feature columns used by the trees of the level."""
    return features if level == "pair" else np.ascontiguousarray(features[:, ITEM_INPUTS])


def _dispersion_inputs(level: Level, features: Floats, rate: Doubles) -> Doubles:
    """[rows, 3]: logarithms of the rate, of the item's units per sale, and of the recent trend."""
    names = FEATURES if level == "pair" else ITEM_FEATURES
    a_sale = features[:, names.index("item_units_a_sale")].astype(np.float64)
    month, week = (features[:, names.index(f"{level}_units_{days}")].astype(np.float64) for days in (28, 7))
    burst = np.log1p(np.maximum(week, month)) - np.log1p(rate)
    return np.column_stack([np.log(np.maximum(rate, 1e-6)), np.log(np.maximum(a_sale, 1)), burst])


def _dispersion(level: Level, weights: tuple[float, ...], features: Floats, rate: Doubles) -> Doubles:
    if not weights:
        return np.full(len(rate), LEAST_DISPERSION)
    return dispersion_of(np.array(weights), _dispersion_inputs(level, features, rate))


def _long(
    ids: Mapping[str, Ids], days: Codes, expected: Doubles, levels: Sequence[Doubles], dispersion: Doubles
) -> pd.DataFrame:
    """One row a series and week, `days` being the first of each: ids, dispersion [series], others [series, weeks]."""
    count, width = expected.shape
    return pd.DataFrame(
        {
            **{name: np.repeat(values, width) for name, values in ids.items()},
            "target_day": np.tile(days, count),
            "expected_units": expected.ravel(),
            **{name: values.ravel() for name, values in zip(("p10", "p50", "p90"), levels, strict=True)},
            "dispersion": np.repeat(dispersion, width),
        }
    )


def _rows(level: int, origin: int, items: Ids, locations: Ids, features: Floats, units: Doubles) -> pd.DataFrame:
    keys = pd.DataFrame({"level": np.full(len(items), level, np.int8), "origin": np.full(len(items), origin, np.int32)})
    keys["item_id"], keys["location_id"] = items, locations
    numbers = np.column_stack([features, units.astype(np.float32)])
    return pd.concat([keys, pd.DataFrame(numbers, columns=[*FEATURES, *TARGETS])], axis=1)


def _no_rows() -> tuple[Ids, Ids, Floats, Doubles]:
    empty = np.empty(0, object)
    return empty, empty, np.zeros((0, len(FEATURES)), np.float32), np.zeros((0, len(TARGETS)))
