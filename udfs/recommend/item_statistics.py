"""Counts, ages and habits of an item's buyers: the columns of ItemModels.statistics."""

from __future__ import annotations

from typing import Final

import numpy as np

from udfs.interactions import Floats, Interactions
from udfs.recommend.grouped import Longs

# The columns of ItemModels.statistics. A buyer is a user, or the basket of a guest.
STATISTICS: Final = (
    "buyers_7",  # distinct buyers in the last 7 days
    "buyers_28",
    "buyers_56",  # in the 28 days before the last 28
    "buyers_84",
    "buyers",  # in all days
    "first_age",  # days since it was first sold; 0 where never
    "last_age",  # days since it was last sold
    "repeat_rate",  # share of known buyers who bought it on a second day, drawn to the shop's own share
    "gap",  # mean days between two purchases of one user, drawn to the shop's own mean
    "quantity",  # mean of log(1 + units) of a user and day
)
PRIOR_BUYERS = 10.0  # prior weight of the shop's average behaviour, in buyers of an item


def statistics_of(seen: Interactions, days: Interactions, day: int) -> Floats:
    """[all items, STATISTICS]."""
    count = len(seen.items)
    age = day - seen.day

    def buyers(first: int, end: int) -> Longs:
        return seen.within(day - end + 1, day - first + 1).buyers()

    first_age, last_age = np.zeros(count), np.zeros(count)
    np.maximum.at(first_age, seen.item, age)
    last_age[seen.item] = age  # lines are sorted by day: the last one written is the newest

    order = np.lexsort((days.day, days.item, days.user))
    user, item, when = days.user[order], days.item[order], days.day[order]
    again = np.zeros(len(order), bool)
    again[1:] = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    gap = np.diff(when, prepend=0)
    second = again.copy()
    second[1:] &= ~again[:-1]
    pairs = np.bincount(item[~again], minlength=count)
    repeated = np.bincount(item[second], minlength=count)
    gaps = np.bincount(item[again], minlength=count)
    gap_sum = np.bincount(item[again], gap[again], minlength=count)
    shop_rate = repeated.sum() / max(pairs.sum(), 1)
    shop_gap = gap_sum.sum() / max(gaps.sum(), 1)
    units = np.bincount(days.item, np.log1p(days.quantity), minlength=count)
    columns = {
        "buyers_7": buyers(1, 8),
        "buyers_28": buyers(1, 29),
        "buyers_56": buyers(29, 57),
        "buyers_84": buyers(1, 85),
        "buyers": seen.buyers(),
        "first_age": first_age,
        "last_age": last_age,
        "repeat_rate": (repeated + PRIOR_BUYERS * shop_rate) / (pairs + PRIOR_BUYERS),
        "gap": (gap_sum + PRIOR_BUYERS * shop_gap) / (gaps + PRIOR_BUYERS),
        "quantity": units / np.maximum(np.bincount(days.item, minlength=count), 1),
    }
    return np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)
