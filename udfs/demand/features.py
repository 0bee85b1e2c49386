"""One row is what a pair's, or an item's, past up to an origin says of the 28 days after it.

Sums are units a week, over the window or as much of it as there is history, so that an origin early in the history
is like a late one. Nothing is read that the origin's night did not know. Item features are of all locations, so a block
must hold all sales of its items; what is of more than the item comes from `Shop`.
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
# The item's trees see its sums in multiples of its base alone: better than with the sums too, on both validation cuts.
ITEM_INPUTS: Final = tuple(
    place
    for place, name in enumerate(ITEM_FEATURES)
    if name not in {*(f"item_units_{days}" for days in WINDOWS), *(f"item_decayed_{days}" for days in HALF_LIVES)}
)


def pair_features(block: Block, shop: Shop, origin: int) -> tuple[Codes, Floats]:
    """The listed pairs, and [pairs, FEATURES] of them."""
    block, shop = block.as_of(origin), shop.as_of(origin)
    pairs = block.listed(origin)
    told = _sums(block, shop, origin, block.pair, len(block.pair_item), "pair")
    told |= _pair_promotions(block, origin)
    places = shop.locations.places(block.locations)
    for days in (28, LISTED_DAYS):
        told[f"location_units_{days}"] = _of_shop(shop.locations, places, days, origin)[block.pair_location]
    told["location_trend"] = told["location_units_28"] / np.maximum(told["location_units_182"], LEAST)
    told |= _relative(told, "pair")
    item = item_features(block, shop, origin)
    whole = item[:, ITEM_FEATURES.index("item_base")].astype(np.float64)
    told["pair_share"] = _base(told, "pair") / whole[block.pair_item]
    own = [told[name][pairs] for name in PAIR_FEATURES]
    return pairs, np.column_stack([*own, item[block.pair_item[pairs]]]).astype(np.float32)


def item_features(block: Block, shop: Shop, origin: int) -> Floats:
    """[items, ITEM_FEATURES] of every item of the block."""
    block, shop = block.as_of(origin), shop.as_of(origin)
    count = len(block.items)
    told = _sums(block, shop, origin, block.pair_item[block.pair], count, "item")
    for days in (28, LISTED_DAYS):
        sold = np.unique(block.pair[block.window(origin - days, origin)])
        told[f"item_locations_{days}"] = added(block.pair_item[sold], count)
    told["item_units_a_sale"] = told["item_units_182"] / np.maximum(told["item_days_182"], LEAST)
    told |= _item_promotions(block, origin, told["item_locations_182"])
    places = shop.categories.places(block.category)
    category = {days: _of_shop(shop.categories, places, days, origin) for days in (7, 28, LISTED_DAYS)}
    told["category_units_28"] = category[28]
    told["category_trend"] = category[28] / np.maximum(category[LISTED_DAYS], LEAST)
    told["category_trend_7"] = category[7] / np.maximum(category[28], LEAST)
    told |= _relative(told, "item")
    told["item_base"] = _base(told, "item")
    told["item_a_location"] = told["item_base"] / np.maximum(told["item_locations_182"], 1)
    told["item_locations_trend"] = told["item_locations_28"] / np.maximum(told["item_locations_182"], 1)
    told["item_days_trend"] = told["item_days_28"] / np.maximum(told["item_days_182"], LEAST)
    return np.column_stack([told[name] for name in ITEM_FEATURES]).astype(np.float32)


def base(features: Floats, level: str) -> Doubles:
    """Units a week before anything is learned: half the mean of 26 weeks, half the decayed mean. Above 0."""
    names = FEATURES if features.shape[1] == len(FEATURES) else ITEM_FEATURES
    return _base({name: features[:, names.index(name)].astype(np.float64) for name in _halves(level)}, level)


def _halves(level: str) -> tuple[str, str]:
    return f"{level}_units_182", f"{level}_decayed_{BASE_HALF_LIFE}"


def _base(told: dict[str, Doubles], level: str) -> Doubles:
    total: Doubles = sum((told[name] for name in _halves(level)), np.zeros(1))
    return np.maximum(total / 2, LEAST)


def _relative(told: dict[str, Doubles], level: str) -> dict[str, Doubles]:
    """The sums in multiples of the base: what a fast and a slow seller have in common."""
    start = _base(told, level)
    result = {f"{level}_now_{days}": told[f"{level}_units_{days}"] / start for days in WINDOWS}
    return result | {f"{level}_now_decayed_{days}": told[f"{level}_decayed_{days}"] / start for days in HALF_LIVES}


def _sums(block: Block, shop: Shop, origin: int, key: Codes, count: int, level: str) -> dict[str, Doubles]:
    """Sums, decayed sums, days with a sale and ages of each key (a pair or an item)."""
    history = max(origin - shop.first_day + 1, WEEK)
    told: dict[str, Doubles] = {}
    for days in WINDOWS:
        kept = block.window(origin - days, origin)
        scale = WEEK / min(days, history)
        told[f"{level}_units_{days}"] = scale * added(key[kept], count, block.units[kept])
        if days in (28, LISTED_DAYS):
            told[f"{level}_days_{days}"] = scale * added(key[kept], count)
    kept = block.window(origin - HISTORY_DAYS, origin)
    age = origin - block.day[kept]
    for days in HALF_LIVES:
        whole = (1 - 2 ** (-min(history, HISTORY_DAYS) / days)) / (1 - 2 ** (-1 / days))
        weight = block.units[kept] * np.exp2(-age / days) * WEEK / whole
        told[f"{level}_decayed_{days}"] = added(key[kept], count, weight)
    last, first = np.full(count, HISTORY_DAYS), np.zeros(count, np.int64)
    np.minimum.at(last, key[kept], age)
    np.maximum.at(first, key[kept], age)
    told[f"{level}_last_age"], told[f"{level}_first_age"] = last.astype(np.float64), first.astype(np.float64)
    return told


def _of_shop(table: Daily, place: Codes, days: int, origin: int) -> Doubles:
    """Units a week of each place's row; NaN where it has none."""
    if not len(table.keys):
        return np.full(len(place), np.nan)
    units = table.units(origin - days, origin) * WEEK / min(days, max(origin - table.first_day + 1, WEEK))
    return np.where(place < 0, np.nan, units[np.maximum(place, 0)])


def _pair_promotions(block: Block, origin: int) -> dict[str, Doubles]:
    """Whether each pair is promoted in week 0, and in what share of the last weeks; NaN without promotions."""
    count, told = len(block.pair_item), block.promotions
    result: dict[str, Doubles] = {}
    for kind in ("mailer", "display"):
        now, share = np.full(count, np.nan), np.full(count, np.nan)
        if told is not None:
            flag = told.mailer if kind == "mailer" else told.display
            kept = flag & (told.day <= origin) & (told.day > origin - WEEK * PROMOTED_WEEKS)
            share = np.minimum(added(told.pair[kept], count) / PROMOTED_WEEKS, 1)
            now = np.zeros(count)
            now[told.pair[kept & (told.day > origin - WEEK)]] = 1
        result |= {f"pair_{kind}_now": now, f"pair_{kind}_share": share}
    return result


def _item_promotions(block: Block, origin: int, locations: Doubles) -> dict[str, Doubles]:
    """In what share of its locations each item is promoted in week 0; NaN without promotions."""
    now, listed, result = _pair_promotions(block, origin), block.listed(origin), {}
    for kind in ("mailer", "display"):
        total = added(block.pair_item[listed], len(block.items), now[f"pair_{kind}_now"][listed])
        result[f"item_{kind}_now"] = total / np.maximum(locations, 1)
    return result
