"""One block is some items' sales in all their locations, coded and sorted, so that features are sums over it.

A day is a whole number: days since 1970-01-01. Weeks end on the origin, the day after which a forecast begins: week 0
is the 7 days that end on it, week 1 the 7 days after it. The night of an origin knew the sales that had come by then
(`known`), less those that it had seen returned (`undone`): `as_of` that day. What followed is what is known today.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import NEVER
from udfs.demand.promotions import Promotions
from udfs.horizon import HORIZON_DAYS

Codes: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ids: TypeAlias = npt.NDArray[np.object_]
Mask: TypeAlias = npt.NDArray[np.bool_]

WEEK: Final = 7
WEEKS_AHEAD: Final = HORIZON_DAYS // WEEK
LEVELS: Final = (0.1, 0.5, 0.9)  # p10, p50, p90
LISTED_DAYS: Final = 182  # a pair is forecast that was sold in so many days up to the origin
HISTORY_DAYS: Final = 364  # nothing older is read, but for a holiday's last occurrence


@dataclass(frozen=True)
class Totals:
    """Rows that a Daily is the sum of: codes into `names` (ascending ids), and what a Block has of a sale."""

    names: Ids
    code: Codes
    day: Codes
    units: Doubles
    known: Codes
    undone: Codes


@dataclass(frozen=True)
class Daily:
    """Units per key and day: values [keys, days from first_day on]; keys ascending."""

    keys: Ids
    first_day: int
    values: Doubles
    totals: Totals

    @classmethod
    def of(cls, rows: pd.DataFrame, key: str) -> Daily:
        """Of rows (key, day, units and, if there, known and undone), in any order; those of a key and day are added."""
        names, code = _coded(rows[key])
        known, undone = _knowledge(rows)
        totals = Totals(names, code, np.asarray(rows["day"], np.int64), _doubles(rows["units"]), known, undone)
        return cls._sum(totals, undone == NEVER)

    @classmethod
    def _sum(cls, totals: Totals, kept: Mask) -> Daily:
        if not kept.any():
            return cls(np.empty(0, object), 0, np.zeros((0, 0)), totals)
        used, code = np.unique(totals.code[kept], return_inverse=True)
        day = totals.day[kept]
        first = int(day.min())
        width = int(day.max()) - first + 1
        flat = added(code * width + day - first, len(used) * width, totals.units[kept])
        return cls(totals.names[used], first, flat.reshape(len(used), width), totals)

    def as_of(self, day: int) -> Daily:
        """What the night of a day knew."""
        kept = (self.totals.known <= day) & (self.totals.undone > day)
        return self if np.array_equal(kept, self.totals.undone == NEVER) else Daily._sum(self.totals, kept)

    def units(self, after: int, last: int) -> Doubles:
        """Per key the units of the days after `after` up to `last`."""
        begin, end = (min(max(day + 1 - self.first_day, 0), self.values.shape[1]) for day in (after, last))
        total: Doubles = self.values[:, begin:end].sum(axis=1)
        return total

    def places(self, ids: Ids) -> Codes:
        """For each id its row, -1 where it has none."""
        return places(self.keys, ids)


@dataclass(frozen=True)
class Shop:
    """What a block cannot see of the whole shop: units a day of each category and of each location."""

    categories: Daily
    locations: Daily

    @classmethod
    def of(cls, categories: pd.DataFrame, locations: pd.DataFrame) -> Shop:
        """Of rows (category, day, units) and (location_id, day, units); see Daily.of."""
        return cls(Daily.of(categories, "category"), Daily.of(locations, "location_id"))

    def as_of(self, day: int) -> Shop:
        """What the night of a day knew."""
        return Shop(self.categories.as_of(day), self.locations.as_of(day))

    @property
    def first_day(self) -> int:
        """The first day with a sale."""
        return self.categories.first_day


@dataclass(frozen=True)
class Block:
    """Sales of some items in all their locations.

    items, locations: ids ascending; category: [items] ids, "" where there is none; pair_item, pair_location: codes of
    each pair that was ever sold; pair, day, units, known, undone: one entry per pair, day with a sale, and what was
    known of it when, by (pair, day). known: the day of the first night that had the sale; undone: of the first that had
    seen it returned, NEVER where it was kept.
    """

    items: Ids
    locations: Ids
    category: Ids
    pair_item: Codes
    pair_location: Codes
    pair: Codes
    day: Codes
    units: Doubles
    known: Codes
    undone: Codes
    promotions: Promotions | None = None

    @classmethod
    def of(
        cls,
        sales: pd.DataFrame,
        items: pd.DataFrame,
        *,
        promotions: pd.DataFrame | None = None,
    ) -> Block:
        """Of rows in any order, all of the items that the block holds.

        sales: location_id, item_id, day, units (units > 0; lines of one pair and day are added) and, where they are
        there, known (default: day) and undone (default: NEVER); items: item_id, category (null where unknown), items
        without a sale too. promotions: location_id, item_id, day (the first of the promoted week), mailer, display
        (bool), and known and undone as of sales.
        """
        if not len(sales):
            none = np.empty(0, np.int64)
            empty = np.empty(0, object)
            return cls(empty, empty, empty, none, none, none, none, np.empty(0), none, none)
        ids, item = _coded(sales["item_id"])
        locations, location = _coded(sales["location_id"])
        day = np.asarray(sales["day"], np.int64)
        first = int(day.min())
        span = int(day.max()) - first + 1
        known, undone = _knowledge(sales)
        told, when = np.unique(np.stack([known - day, undone], axis=1), axis=0, return_inverse=True)
        place = (item * len(locations) + location) * span + day - first
        key, line = np.unique(place * len(told) + when.reshape(-1), return_inverse=True)
        place, when = key // len(told), key % len(told)
        pairs, pair = np.unique(place // span, return_inverse=True)
        category = items.drop_duplicates("item_id").set_index("item_id")["category"].reindex(ids)
        days = place % span + first
        block = cls(
            items=ids,
            locations=locations,
            category=np.asarray(category.astype(object).where(category.notna(), ""), object),
            pair_item=pairs // len(locations),
            pair_location=pairs % len(locations),
            pair=pair.astype(np.int64),
            day=days,
            units=added(line, len(key), _doubles(sales["units"])),
            known=days + told[when, 0],
            undone=told[when, 1],
        )
        return block if promotions is None else block.with_promotions(promotions)

    def with_promotions(self, promotions: pd.DataFrame) -> Block:
        """The same block with the promotions of its pairs; those of pairs never sold are left out."""
        item = places(self.items, np.asarray(promotions["item_id"], object))
        location = places(self.locations, np.asarray(promotions["location_id"], object))
        code = np.where((item < 0) | (location < 0), -1, item * len(self.locations) + location)
        pairs = self.pair_item * len(self.locations) + self.pair_location
        pair = np.searchsorted(pairs, code)
        kept = pairs[np.minimum(pair, len(pairs) - 1)] == code if len(pairs) else np.zeros(len(code), bool)
        found = Promotions(
            pair.astype(np.int64),
            np.asarray(promotions["day"], np.int64),
            np.asarray(promotions["mailer"], bool),
            np.asarray(promotions["display"], bool),
            *_knowledge(promotions),
        )
        return replace(self, promotions=found.part(kept))

    def sample(self, share: float) -> Block:
        """The block of about that share of its items, the same ones whatever the block: drawn by a hash of the id."""
        if share >= 1 or not len(self.items):
            return self
        drawn = np.array([in_sample(item, share) for item in self.items])
        pairs, rows = drawn[self.pair_item], drawn[self.pair_item][self.pair]
        item, pair = np.cumsum(drawn) - 1, np.cumsum(pairs) - 1
        changed = {
            "items": self.items[drawn],
            "category": self.category[drawn],
            "pair_item": item[self.pair_item[pairs]],
            "pair_location": self.pair_location[pairs],
            "pair": pair[self.pair[rows]],
            "day": self.day[rows],
            "units": self.units[rows],
            "known": self.known[rows],
            "undone": self.undone[rows],
        }
        if self.promotions is not None:
            kept = self.promotions.part(pairs[self.promotions.pair])
            changed["promotions"] = replace(kept, pair=pair[kept.pair])
        return replace(self, **changed)

    def _part(self, chosen: Mask, undone: Codes) -> Block:
        """The chosen sales, with these days on which they were undone."""
        arrays = {name: getattr(self, name)[chosen] for name in ("pair", "day", "units", "known")}
        return replace(self, **arrays, undone=undone[chosen])

    def as_known(self, day: int) -> Block:
        """All that the night of a day knew, also of what it had seen returned."""
        seen = self._part(self.known <= day, np.where(self.undone <= day, self.undone, NEVER))
        return replace(seen, promotions=self.promotions and self.promotions.as_known(day))

    def as_of(self, day: int) -> Block:
        """What had been sold and kept as the night of a day knew it: one entry per pair and day."""
        chosen = (self.known <= day) & (self.undone > day)
        seen = self._part(chosen, np.full(len(chosen), NEVER))
        seen = replace(seen, promotions=self.promotions and self.promotions.as_of(day))
        new = np.ones(len(seen.pair), bool)  # sales are by (pair, day): what is to be added lies side by side
        new[1:] = (np.diff(seen.pair) != 0) | (np.diff(seen.day) != 0)
        if new.all():
            return seen
        units = np.add.reduceat(seen.units, np.flatnonzero(new))
        return replace(seen._part(new, seen.undone), units=units)

    def window(self, after: int, last: int) -> Mask:
        """The sales of the days after `after` up to `last`."""
        return (self.day > after) & (self.day <= last)

    def listed(self, origin: int) -> Codes:
        """The pairs that are forecast on the origin: sold in the LISTED_DAYS up to it, as its night knew."""
        found = np.zeros(len(self.pair_item), bool)
        seen = (self.known <= origin) & (self.undone > origin)
        found[self.pair[seen & self.window(origin - LISTED_DAYS, origin)]] = True
        return np.flatnonzero(found)

    def weeks_ahead(self, origin: int) -> Doubles:
        """[pairs, WEEKS_AHEAD] units in the weeks after the origin that were kept, as far as is known."""
        kept = self.window(origin, origin + WEEKS_AHEAD * WEEK) & (self.undone == NEVER)
        place = self.pair[kept] * WEEKS_AHEAD + (self.day[kept] - origin - 1) // WEEK
        return added(place, len(self.pair_item) * WEEKS_AHEAD, self.units[kept]).reshape(-1, WEEKS_AHEAD)


def added(code: Codes, count: int, units: Doubles | None = None) -> Doubles:
    """[count]: the sum of units, or the number of entries, of each code."""
    return np.bincount(code, units, minlength=count).astype(np.float64)


def in_sample(item_id: str, share: float) -> bool:
    """Whether the item is among that share of all items, by a hash that every machine agrees on."""
    number = int.from_bytes(hashlib.blake2b(str(item_id).encode(), digest_size=8).digest(), "big")
    return number < share * 2**64


def places(keys: Ids, ids: Ids) -> Codes:
    """For each id its place in the ascending keys, -1 where it is none of them."""
    return np.asarray(pd.Index(keys).get_indexer(pd.Index(ids, dtype=object)), np.int64)


def _doubles(values: pd.Series) -> Doubles:
    return np.asarray(values, np.float64)


def _knowledge(rows: pd.DataFrame) -> tuple[Codes, Codes]:
    """Known and undone of each row; a row without is known on its day and was kept."""
    known = np.asarray(rows["known"] if "known" in rows else rows["day"], np.int64)
    return known, np.asarray(rows["undone"], np.int64) if "undone" in rows else np.full(len(rows), NEVER)


def _coded(ids: pd.Series) -> tuple[Ids, Codes]:
    code, keys = pd.factorize(np.asarray(ids, object), sort=True)
    return np.asarray(keys, object), code.astype(np.int64)
