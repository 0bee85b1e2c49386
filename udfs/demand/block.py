"""Block of sales: some items in all their locations, coded and sorted, so that features are sums over it.

A day is an integer: days since 1970-01-01. Weeks end on the origin, the day after which a forecast begins: week 0
is the 7 days that end on it, week 1 the 7 days after it. `as_of` an origin are the sales that its run knew: those that
had arrived (`known`), less those already returned (`undone`). The weeks after it are as known today.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import NEVER
from udfs.demand.knowledge import holds, knowledge_of, undone_by
from udfs.demand.promotions import Promotions
from udfs.horizon import HORIZON_DAYS

Codes: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ids: TypeAlias = npt.NDArray[np.object_]
Mask: TypeAlias = npt.NDArray[np.bool_]

WEEK: Final = 7
WEEKS_AHEAD: Final = HORIZON_DAYS // WEEK
LEVELS: Final = (0.1, 0.5, 0.9)  # p10, p50, p90
LISTED_DAYS: Final = 182  # a pair is forecast if it was sold in so many days up to the origin
HISTORY_DAYS: Final = 364  # nothing older is read, except for the last occurrence of a holiday


@dataclass(frozen=True)
class Totals:
    """Rows summed by a Daily: codes into `names` (ascending ids), and day, units, known and undone as in a Block."""

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
        """From rows (key, day, units; optional known and undone), in any order; those of a key and day are added."""
        names, code = _coded(rows[key])
        known, undone = knowledge_of(rows)
        totals = Totals(names, code, np.asarray(rows["day"], np.int64), _doubles(rows["units"]), known, undone)
        return cls._sum(totals, undone == NEVER)

    @classmethod
    def _sum(cls, totals: Totals, chosen: Mask) -> Daily:
        if not chosen.any():
            return cls(np.empty(0, object), 0, np.zeros((0, 0)), totals)
        used, code = np.unique(totals.code[chosen], return_inverse=True)
        day = totals.day[chosen]
        first = int(day.min())
        width = int(day.max()) - first + 1
        flat = added(code * width + day - first, len(used) * width, totals.units[chosen])
        return cls(totals.names[used], first, flat.reshape(len(used), width), totals)

    def as_of(self, day: int) -> Daily:
        """The table as the run of that day knew it."""
        chosen = holds(self.totals.known, self.totals.undone, day)
        return self if np.array_equal(chosen, self.totals.undone == NEVER) else Daily._sum(self.totals, chosen)

    def units(self, after: int, last: int) -> Doubles:
        """Per key the units of the days after `after` up to `last`."""
        begin, end = (min(max(day + 1 - self.first_day, 0), self.values.shape[1]) for day in (after, last))
        total: Doubles = self.values[:, begin:end].sum(axis=1)
        return total

    def places(self, ids: Ids) -> Codes:
        """For each id its row, -1 for an unknown id."""
        return places(self.keys, ids)


@dataclass(frozen=True)
class Shop:
    """Shop-wide units a day of each category and of each location, which a block of some items lacks."""

    categories: Daily
    locations: Daily
    _known: dict[int, Shop] = field(default_factory=dict, repr=False, compare=False)  # by day, for the next block

    @classmethod
    def of(cls, categories: pd.DataFrame, locations: pd.DataFrame) -> Shop:
        """From rows (category, day, units) and (location_id, day, units); see Daily.of."""
        return cls(Daily.of(categories, "category"), Daily.of(locations, "location_id"))

    def as_of(self, day: int) -> Shop:
        """The shop as the run of that day knew it."""
        if day not in self._known:
            then = Shop(self.categories.as_of(day), self.locations.as_of(day))
            self._known[day] = then._known[day] = then
        return self._known[day]

    @property
    def first_day(self) -> int:
        """The first day with a sale."""
        return self.categories.first_day


@dataclass(frozen=True)
class Block:
    """Sales of some items in all their locations.

    items, locations: ids ascending; category: [items] ids, "" for none; pair_item, pair_location: codes of each pair
    that was ever sold; pair, day, units, known, undone: one entry per pair, day with a sale, known and undone, by
    (pair, day). known: day of the first run that had the sale; undone: day of the first run that had its return, NEVER
    where it was not returned.
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
        """From rows in any order, which hold all sales of the block's items.

        sales: location_id, item_id, day, units (units > 0; lines of one pair and day are added) and
        optionally known (default: day) and undone (default: NEVER); items: item_id, category (null where unknown);
        items without a sale are allowed. promotions: location_id, item_id, day (first of the promoted week), mailer,
        display (bool), and known and undone as for sales.
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
        known, undone = knowledge_of(sales)
        states, state = np.unique(np.stack([known - day, undone], axis=1), axis=0, return_inverse=True)
        place = (item * len(locations) + location) * span + day - first
        key, line = np.unique(place * len(states) + state.reshape(-1), return_inverse=True)
        place, state = key // len(states), key % len(states)
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
            known=days + states[state, 0],
            undone=states[state, 1],
        )
        return block if promotions is None else block.with_promotions(promotions)

    def with_promotions(self, promotions: pd.DataFrame) -> Block:
        """The same block with the promotions of its pairs; those of pairs never sold are left out."""
        item = places(self.items, np.asarray(promotions["item_id"], object))
        location = places(self.locations, np.asarray(promotions["location_id"], object))
        code = np.where((item < 0) | (location < 0), -1, item * len(self.locations) + location)
        pairs = self.pair_item * len(self.locations) + self.pair_location
        pair = np.searchsorted(pairs, code)
        known_pairs = pairs[np.minimum(pair, len(pairs) - 1)] == code if len(pairs) else np.zeros(len(code), bool)
        coded = Promotions(
            pair.astype(np.int64),
            np.asarray(promotions["day"], np.int64),
            np.asarray(promotions["mailer"], bool),
            np.asarray(promotions["display"], bool),
            *knowledge_of(promotions),
        )
        return replace(self, promotions=coded.part(known_pairs))

    def sample(self, share: float) -> Block:
        """The block of about that share of its items, drawn by a hash of the id, so the same ones in every block."""
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
            part = self.promotions.part(pairs[self.promotions.pair])
            changed["promotions"] = replace(part, pair=pair[part.pair])
        return replace(self, **changed)

    def _part(self, chosen: Mask, undone: Codes) -> Block:
        """The chosen sales, with `undone` replaced."""
        arrays = {name: getattr(self, name)[chosen] for name in ("pair", "day", "units", "known")}
        return replace(self, **arrays, undone=undone[chosen])

    def as_known(self, day: int) -> Block:
        """All sales that the run of a day knew, also those it knew as returned."""
        seen = self._part(self.known <= day, undone_by(self.undone, day))
        return replace(seen, promotions=self.promotions and self.promotions.as_known(day))

    def as_of(self, day: int) -> Block:
        """Sales less returns as the run of a day knew them: one entry per pair and day."""
        chosen = holds(self.known, self.undone, day)
        seen = self._part(chosen, np.full(len(chosen), NEVER))
        seen = replace(seen, promotions=self.promotions and self.promotions.as_of(day))
        new = np.ones(len(seen.pair), bool)  # sales are by (pair, day): entries to be added are adjacent
        new[1:] = (np.diff(seen.pair) != 0) | (np.diff(seen.day) != 0)
        if new.all():
            return seen
        units = np.add.reduceat(seen.units, np.flatnonzero(new))
        return replace(seen._part(new, seen.undone), units=units)

    def window(self, after: int, last: int) -> Mask:
        """The sales of the days after `after` up to `last`."""
        return (self.day > after) & (self.day <= last)

    def listed(self, origin: int) -> Codes:
        """The pairs that are forecast on the origin: sold in the LISTED_DAYS up to it, as its run knew."""
        sold = np.zeros(len(self.pair_item), bool)
        seen = holds(self.known, self.undone, origin)
        sold[self.pair[seen & self.window(origin - LISTED_DAYS, origin)]] = True
        return np.flatnonzero(sold)

    def weeks_ahead(self, origin: int) -> Doubles:
        """[pairs, WEEKS_AHEAD] units in the weeks after the origin, less the returns known today."""
        chosen = self.window(origin, origin + WEEKS_AHEAD * WEEK) & (self.undone == NEVER)
        place = self.pair[chosen] * WEEKS_AHEAD + (self.day[chosen] - origin - 1) // WEEK
        return added(place, len(self.pair_item) * WEEKS_AHEAD, self.units[chosen]).reshape(-1, WEEKS_AHEAD)


def added(code: Codes, count: int, units: Doubles | None = None) -> Doubles:
    """[count]: the sum of units, or the number of entries, of each code."""
    return np.bincount(code, units, minlength=count).astype(np.float64)


def in_sample(item_id: str, share: float) -> bool:
    """Whether the item is among that share of all items, by a hash that is the same on every machine."""
    number = int.from_bytes(hashlib.blake2b(str(item_id).encode(), digest_size=8).digest(), "big")
    return number < share * 2**64


def places(keys: Ids, ids: Ids) -> Codes:
    """For each id its place in the ascending keys, -1 where it is not among them."""
    return np.asarray(pd.Index(keys).get_indexer(pd.Index(ids, dtype=object)), np.int64)


def _doubles(values: pd.Series) -> Doubles:
    return np.asarray(values, np.float64)


def _coded(ids: pd.Series) -> tuple[Ids, Codes]:
    code, keys = pd.factorize(np.asarray(ids, object), sort=True)
    return np.asarray(keys, object), code.astype(np.int64)
