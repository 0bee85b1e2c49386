"""What everybody did with each item, as counts; and the item statistics of features, which no shop's size changes.

Counts are of all buyers, never of a sample: jobs/transforms/item_counts.py has the same in Spark. A buyer is a user, or
the basket of a guest. A shop copied k times has k times the counts, and the same `rates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.interactions import Floats, Interactions
from udfs.recommend.grouped import Longs

Doubles: TypeAlias = npt.NDArray[np.float64]

COUNTS: Final = (
    "buyers_7",  # distinct buyers in the last 7 days
    "buyers_28",
    "buyers_56",  # in the 28 days before the last 28
    "buyers_84",
    "buyers",  # in all days
    "first_day",  # first day on which it was sold, days since 1970-01-01; 0 where never
    "last_day",
    "known_buyers",  # users who bought it, guests left out; so too in the columns below
    "repeaters",  # users who bought it on a second day
    "gaps",  # the days on which a user bought it, less one a user
    "gap_days",  # the sum over users of the days from the first to the last of these
    "log_units",  # millionths: the sum over users and days of log(1 + units)
)
# The columns of ItemModels.statistics.
STATISTICS: Final = (
    *("buyers_7", "buyers_28", "buyers_56", "buyers_84", "buyers"),  # as in COUNTS
    "first_age",  # days since it was first sold; 0 where never
    "last_age",  # days since it was last sold
    "repeat_rate",  # share of known buyers who bought it on a second day, drawn to the shop's own share
    "gap",  # mean days between two purchases of one user, drawn to the shop's own mean
    "quantity",  # mean of log(1 + units) of a user and day
)
MILLION = 1e6
SIZE_DAYS = 84  # a shop's size: its distinct buyers in so many days
# Rates are of so many buyers of the shop: at this size they are the counts. A shop of less than a tenth counts as that.
REFERENCE_BUYERS = 2_500
PRIOR_BUYERS = 10.0  # prior weight of the shop's average behaviour: so many of REFERENCE_BUYERS


@dataclass(frozen=True)
class ItemCounts:
    """Counts of everybody's purchases before a day: table [all items, COUNTS]; shop_buyers: SIZE_DAYS' buyers."""

    table: Longs
    shop_buyers: int

    def column(self, name: str) -> Longs:
        """One of COUNTS, a number per item."""
        return self.table[:, COUNTS.index(name)]

    @property
    def reference(self) -> float:
        """Buyers of this shop per buyer of one of REFERENCE_BUYERS."""
        return max(self.shop_buyers, REFERENCE_BUYERS / 10) / REFERENCE_BUYERS


def counts_of(rows: pd.DataFrame, items: npt.NDArray[np.str_], shop_buyers: int) -> ItemCounts:
    """From item_id and COUNTS, null or without a row where an item was not sold; in the order of `items`."""
    table = rows.set_index("item_id")[list(COUNTS)].reindex(pd.Index(items)).fillna(0)
    return ItemCounts(table.to_numpy(np.int64), shop_buyers)


def count_items(seen: Interactions, day: int) -> ItemCounts:
    """The counts of these purchases, all of them before `day`."""
    count = len(seen.items)

    def buyers(first: int, end: int) -> Longs:
        return seen.within(day - end + 1, day - first + 1).buyers()

    first_day, last_day = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    np.minimum.at(first_day, seen.item, seen.day)
    last_day[seen.item] = seen.day  # lines are sorted by day: the last one written is the newest
    days = seen.user_days()
    order = np.lexsort((days.day, days.item, days.user))
    user, item, when = days.user[order], days.item[order], days.day[order]
    again = np.zeros(len(order), bool)
    again[1:] = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    second = again.copy()
    second[1:] &= ~again[:-1]
    units = np.rint(np.log1p(days.quantity.astype(np.float64)) * MILLION)
    columns = {
        "buyers_7": buyers(1, 8),
        "buyers_28": buyers(1, 29),
        "buyers_56": buyers(29, 57),
        "buyers_84": buyers(1, 85),
        "buyers": seen.buyers(),
        "first_day": np.where(last_day > 0, first_day, 0),
        "last_day": last_day,
        "known_buyers": np.bincount(item[~again], minlength=count),
        "repeaters": np.bincount(item[second], minlength=count),
        "gaps": np.bincount(item[again], minlength=count),
        "gap_days": np.bincount(item[again], np.diff(when, prepend=0)[again], minlength=count),
        "log_units": np.bincount(days.item, units, minlength=count),
    }
    table = np.stack([columns[name] for name in COUNTS], axis=1).astype(np.int64)
    lately = seen.within(day - SIZE_DAYS, day)
    return ItemCounts(table, len(np.unique(lately.buyer())))


def statistics_of(counts: ItemCounts, day: int) -> Floats:
    """[all items, STATISTICS] of the purchases before `day`."""
    known, repeaters, gaps, gap_days = (
        counts.column(name) for name in ("known_buyers", "repeaters", "gaps", "gap_days")
    )
    sold = counts.column("buyers") > 0
    shop_rate = repeaters.sum() / max(known.sum(), 1)
    shop_gap = gap_days.sum() / max(gaps.sum(), 1)
    prior = PRIOR_BUYERS * counts.reference
    columns: dict[str, npt.NDArray[np.number]] = {name: counts.column(name) for name in STATISTICS[:5]}
    columns |= {
        "first_age": np.where(sold, day - counts.column("first_day"), 0),
        "last_age": np.where(sold, day - counts.column("last_day"), 0),
        "repeat_rate": (repeaters + prior * shop_rate) / (known + prior),
        "gap": (gap_days + prior * shop_gap) / (gaps + prior),
        "quantity": counts.column("log_units") / MILLION / np.maximum(known + gaps, 1),
    }
    return np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)
