"""Demand features: one row per pair, or per item, computed from its sales up to an origin for the 28 days after it.

Sums are units a week, over the window or the part of it with history, so that early and late origins are comparable.
Only records known to the run of the origin are read. Item features cover all locations, so a block must hold all
sales of its items; category and location features come from `Shop`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from udfs.demand.block import HISTORY_DAYS, LISTED_DAYS, WEEK, Block, Codes, Daily, Doubles, Shop, added

Floats = npt.NDArray[np.float32]

WINDOWS: Final = (7, 14, 28, 56, 91, LISTED_DAYS)
HALF_LIVES: Final = (14, 42)  # days
PROMOTED_WEEKS: Final = 8
BASE_HALF_LIFE: Final = 42
LEAST: Final = 1e-6

PAIR_FEATURES: Final = (
    *(f"pair_units_{days}" for days in WINDOWS),
    *(f"pair_decayed_{days}" for days in HALF_LIVES),
    "pair_days_28",
    "pair_days_182",
    "pair_last_age",
    "pair_first_age",
    "pair_mailer_now",
    "pair_mailer_share",
    "pair_display_now",
    "pair_display_share",
    "location_units_28",
    "location_units_182",
    "location_trend",
    *(f"pair_now_{days}" for days in WINDOWS),
    *(f"pair_now_decayed_{days}" for days in HALF_LIVES),
    "pair_share",
)
ITEM_FEATURES: Final = (
    *(f"item_units_{days}" for days in WINDOWS),
    *(f"item_decayed_{days}" for days in HALF_LIVES),
    "item_days_28",
    "item_days_182",
    "item_last_age",
    "item_first_age",
    "item_locations_28",
    "item_locations_182",
    "item_units_a_sale",
    "item_mailer_now",
    "item_display_now",
    "category_units_28",
    "category_trend",
    "category_trend_7",
    "item_base",
    "item_a_location",
    "item_locations_trend",
    "item_days_trend",
    *(f"item_now_{days}" for days in WINDOWS),
    *(f"item_now_decayed_{days}" for days in HALF_LIVES),
)
FEATURES: Final = (*PAIR_FEATURES, *ITEM_FEATURES)
# The item model gets sums only as multiples of the base: better than with the sums too, on both validation cuts.
ITEM_INPUTS: Final = tuple(
    place
    for place, name in enumerate(ITEM_FEATURES)
    if name not in {*(f"item_units_{days}" for days in WINDOWS), *(f"item_decayed_{days}" for days in HALF_LIVES)}
)


def pair_features(block: Block, shop: Shop, origin: int) -> tuple[Codes, Floats]:
    """The listed pairs, and their features [pairs, FEATURES]."""
    block, shop = block.as_of(origin), shop.as_of(origin)
    pairs = block.listed(origin)
    columns = _sums(block, shop, origin, block.pair, len(block.pair_item), "pair")
    columns |= _pair_promotions(block, origin)
    places = shop.locations.places(block.locations)
    for days in (28, LISTED_DAYS):
        columns[f"location_units_{days}"] = _of_shop(shop.locations, places, days, origin)[block.pair_location]
    columns["location_trend"] = columns["location_units_28"] / np.maximum(columns["location_units_182"], LEAST)
    columns |= _relative(columns, "pair")
    item = item_features(block, shop, origin)
    item_base = item[:, ITEM_FEATURES.index("item_base")].astype(np.float64)
    columns["pair_share"] = _base(columns, "pair") / item_base[block.pair_item]
    own = [columns[name][pairs] for name in PAIR_FEATURES]
    return pairs, np.column_stack([*own, item[block.pair_item[pairs]]]).astype(np.float32)


def item_features(block: Block, shop: Shop, origin: int) -> Floats:
    """Features [items, ITEM_FEATURES] of every item of the block."""
    block, shop = block.as_of(origin), shop.as_of(origin)
    count = len(block.items)
    columns = _sums(block, shop, origin, block.pair_item[block.pair], count, "item")
    for days in (28, LISTED_DAYS):
        sold = np.unique(block.pair[block.window(origin - days, origin)])
        columns[f"item_locations_{days}"] = added(block.pair_item[sold], count)
    columns["item_units_a_sale"] = columns["item_units_182"] / np.maximum(columns["item_days_182"], LEAST)
    columns |= _item_promotions(block, origin, columns["item_locations_182"])
    places = shop.categories.places(block.category)
    category = {days: _of_shop(shop.categories, places, days, origin) for days in (7, 28, LISTED_DAYS)}
    columns["category_units_28"] = category[28]
    columns["category_trend"] = category[28] / np.maximum(category[LISTED_DAYS], LEAST)
    columns["category_trend_7"] = category[7] / np.maximum(category[28], LEAST)
    columns |= _relative(columns, "item")
    columns["item_base"] = _base(columns, "item")
    columns["item_a_location"] = columns["item_base"] / np.maximum(columns["item_locations_182"], 1)
    columns["item_locations_trend"] = columns["item_locations_28"] / np.maximum(columns["item_locations_182"], 1)
    columns["item_days_trend"] = columns["item_days_28"] / np.maximum(columns["item_days_182"], LEAST)
    return np.column_stack([columns[name] for name in ITEM_FEATURES]).astype(np.float32)


def base(features: Floats, level: str) -> Doubles:
    """Base rate in units a week, before the model: half the mean of 26 weeks, half the decayed mean. Above 0."""
    names = FEATURES if features.shape[1] == len(FEATURES) else ITEM_FEATURES
    return _base({name: features[:, names.index(name)].astype(np.float64) for name in _halves(level)}, level)


def _halves(level: str) -> tuple[str, str]:
    return f"{level}_units_182", f"{level}_decayed_{BASE_HALF_LIFE}"


def _base(columns: dict[str, Doubles], level: str) -> Doubles:
    total: Doubles = sum((columns[name] for name in _halves(level)), np.zeros(1))
    return np.maximum(total / 2, LEAST)


def _relative(columns: dict[str, Doubles], level: str) -> dict[str, Doubles]:
    """The sums as multiples of the base, which makes fast and slow sellers comparable."""
    start = _base(columns, level)
    result = {f"{level}_now_{days}": columns[f"{level}_units_{days}"] / start for days in WINDOWS}
    return result | {f"{level}_now_decayed_{days}": columns[f"{level}_decayed_{days}"] / start for days in HALF_LIVES}


def _sums(block: Block, shop: Shop, origin: int, key: Codes, count: int, level: str) -> dict[str, Doubles]:
    """Sums, decayed sums, days with a sale and ages of each key (a pair or an item)."""
    history = max(origin - shop.first_day + 1, WEEK)
    columns: dict[str, Doubles] = {}
    for days in WINDOWS:
        chosen = block.window(origin - days, origin)
        scale = WEEK / min(days, history)
        columns[f"{level}_units_{days}"] = scale * added(key[chosen], count, block.units[chosen])
        if days in (28, LISTED_DAYS):
            columns[f"{level}_days_{days}"] = scale * added(key[chosen], count)
    chosen = block.window(origin - HISTORY_DAYS, origin)
    age = origin - block.day[chosen]
    for days in HALF_LIVES:
        full_weight = (1 - 2 ** (-min(history, HISTORY_DAYS) / days)) / (1 - 2 ** (-1 / days))
        weight = block.units[chosen] * np.exp2(-age / days) * WEEK / full_weight
        columns[f"{level}_decayed_{days}"] = added(key[chosen], count, weight)
    last, first = np.full(count, HISTORY_DAYS), np.zeros(count, np.int64)
    np.minimum.at(last, key[chosen], age)
    np.maximum.at(first, key[chosen], age)
    columns[f"{level}_last_age"], columns[f"{level}_first_age"] = last.astype(np.float64), first.astype(np.float64)
    return columns


def _of_shop(table: Daily, place: Codes, days: int, origin: int) -> Doubles:
    """Units a week of each place's row; NaN where the place has no row."""
    if not len(table.keys):
        return np.full(len(place), np.nan)
    units = table.units(origin - days, origin) * WEEK / min(days, max(origin - table.first_day + 1, WEEK))
    return np.where(place < 0, np.nan, units[np.maximum(place, 0)])


def _pair_promotions(block: Block, origin: int) -> dict[str, Doubles]:
    """Whether each pair is promoted in week 0, and its share of promoted past weeks; NaN without promotions."""
    count, promotions = len(block.pair_item), block.promotions
    result: dict[str, Doubles] = {}
    for kind in ("mailer", "display"):
        now, share = np.full(count, np.nan), np.full(count, np.nan)
        if promotions is not None:
            flag = promotions.mailer if kind == "mailer" else promotions.display
            recent = flag & (promotions.day <= origin) & (promotions.day > origin - WEEK * PROMOTED_WEEKS)
            share = np.minimum(added(promotions.pair[recent], count) / PROMOTED_WEEKS, 1)
            now = np.zeros(count)
            now[promotions.pair[recent & (promotions.day > origin - WEEK)]] = 1
        result |= {f"pair_{kind}_now": now, f"pair_{kind}_share": share}
    return result


def _item_promotions(block: Block, origin: int, locations: Doubles) -> dict[str, Doubles]:
    """Share of each item's locations that promote it in week 0; NaN without promotions."""
    now, listed, result = _pair_promotions(block, origin), block.listed(origin), {}
    for kind in ("mailer", "display"):
        total = added(block.pair_item[listed], len(block.items), now[f"pair_{kind}_now"][listed])
        result[f"item_{kind}_now"] = total / np.maximum(locations, 1)
    return result
