"""Demand forecast of an item at a location, by week: expected units, p10, p50 and p90.

One global model for all pairs of a location and an item (udfs/demand/model.py) on the features of
udfs/demand/features.py at past origins. A pair's rate is even over the four weeks except for holidays; the days of a
week have the shares of udfs/demand/day_shares.py. A second, smaller model of the same kind forecasts an item's sales in
all locations together, also those where it was not sold lately. In a shop of one location the first one gives both.

Spark calls `training_rows` per block of items, `fit` once on all of them, `forecast` per block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from udfs.demand.block import LEVELS, LISTED_DAYS, WEEK, WEEKS_AHEAD, Block, Codes, Doubles, Ids, Shop, added
from udfs.demand.counts import quantiles
from udfs.demand.day_shares import Holiday, day_weights
from udfs.demand.dispersion import Spread
from udfs.demand.features import FEATURES, ITEM_FEATURES, Floats, item_features, pair_features
from udfs.demand.model import LEVEL_FEATURES, Model, Settings, fit_level, rates
from udfs.horizon import HORIZON_DAYS

TARGETS: Final = ("week_1", "week_2", "week_3", "week_4")
KEYS: Final = ("level", "origin", "item_id", "location_id")


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
    spread: Spread

    def to_frame(self) -> pd.DataFrame:
        """One row a pair and week: location_id, item_id, category (None for none), target_day (the week's first),
        expected_units, p10, p50, p90, dispersion, overdispersion.
        """
        category = np.array([name or None for name in self.category], object)
        ids = {"location_id": self.location_id, "item_id": self.item_id, "category": category}
        days = _first_days(self.run_day)
        return _long(ids, days, self.expected, (self.p10, self.p50, self.p90), self.spread)


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
        fields |= fit_level(level, part["item_id"].to_numpy(object), features, units, settings)
    return Model(run_day=run_day, names=FEATURES, **fields)


def forecast(block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()) -> Forecast:
    """The next four weeks of every pair of the block that was sold in the LISTED_DAYS up to run_day."""
    pairs, features = pair_features(block, shop, run_day)
    rate, spread = rates(model, "pair", features)
    item = block.pair_item[pairs]
    expected = rate[:, None] * _week_weights(block, shop, run_day, holidays)[item]
    low, middle, high = quantiles(expected, spread.of(expected), LEVELS)
    location = block.locations[block.pair_location[pairs]]
    return Forecast(run_day, block.items[item], location, block.category[item], expected, low, middle, high, spread)


def item_weeks(block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()) -> pd.DataFrame:
    """`forecast_items`, one row an item and week.

    item_id, target_day (the week's first), expected_units, p10, p50, p90, dispersion, overdispersion.
    """
    items, weeks, spread = forecast_items(block, shop, model, run_day, holidays)
    levels = quantiles(weeks, spread.of(weeks), LEVELS)
    return _long({"item_id": block.items[items]}, _first_days(run_day), weeks, levels, spread)


def forecast_items(
    block: Block, shop: Shop, model: Model, run_day: int, holidays: Sequence[Holiday] = ()
) -> tuple[Codes, Doubles, Spread]:
    """Items with a listed pair: units in all locations in each of the 4 weeks [items, 4], and the spread of a sum.

    More than the sum over its listed pairs: an item is also bought where it was not in the last 26 weeks. In a shop of
    one location the forecast of the item's only pair.
    """
    items = np.unique(block.pair_item[block.listed(run_day)])
    if len(shop.as_of(run_day).locations.keys) == 1:
        pairs, features = pair_features(block, shop, run_day)
        items, order = np.unique(block.pair_item[pairs], return_index=True)
        rate, spread = rates(model, "pair", features[order])
    else:
        features = item_features(block, shop, run_day) if len(items) else np.zeros((0, len(ITEM_FEATURES)), np.float32)
        rate, spread = rates(model, "item", features[items])
    return items, rate[:, None] * _week_weights(block, shop, run_day, holidays)[items], spread


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


def _long(
    ids: Mapping[str, Ids], days: Codes, expected: Doubles, levels: Sequence[Doubles], spread: Spread
) -> pd.DataFrame:
    """One row a series and week, `days` being the first of each: ids, spread [series], others [series, weeks]."""
    count, width = expected.shape
    return pd.DataFrame(
        {
            **{name: np.repeat(values, width) for name, values in ids.items()},
            "target_day": np.tile(days, count),
            "expected_units": expected.ravel(),
            **{name: values.ravel() for name, values in zip(("p10", "p50", "p90"), levels, strict=True)},
            "dispersion": np.repeat(spread.dispersion, width),
            "overdispersion": np.repeat(spread.overdispersion, width),
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
