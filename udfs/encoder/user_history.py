"""Purchase histories as sequences of lines: the input of a user encoder, and the mean vector of the user's items.

A line is one item that a user bought on one day. Nothing here depends on the day of a run: ages count from the user's
own last purchase, so a user without a new basket has the same history, and the same vector bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.encoder.copurchase import Pooling
from udfs.interactions import Floats, Interactions

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histories:
    """Lines of several users, each user's by (day, item), oldest first; every array but `bounds` has one entry a line.

    bounds: [users + 1], where each user's lines begin and the last one's end; item: row of the line's vector;
    age: days before the user's last line; gap: days since the user's basket before, 0 for the oldest; basket: the
    user's later baskets; units; weight: the line's share in the mean vector before it is made a unit vector.
    """

    bounds: Longs
    item: Longs
    age: Longs
    gap: Longs
    basket: Longs
    units: Floats
    weight: Floats

    def __len__(self) -> int:
        """Users."""
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Longs:
        """Lines of each user."""
        return np.asarray(np.diff(self.bounds))

    def part(self, users: Longs) -> Histories:
        """The histories of these users, in this order."""
        rows = ranges(self.bounds[users], self.bounds[users + 1])
        bounds = np.concatenate([[0], np.cumsum(self.lengths[users])])
        whole = (self.item[rows], self.age[rows], self.gap[rows], self.basket[rows])
        return Histories(bounds, *whole, self.units[rows], self.weight[rows])


def ranges(start: Longs, stop: Longs) -> Longs:
    """The integers of each range from start to stop, one range after another."""
    lengths = stop - start
    total = int(lengths.sum())
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.asarray(np.arange(total) - first + np.repeat(start, lengths))


def histories(
    day: npt.NDArray[np.integer],
    item: npt.NDArray[np.integer],
    units: npt.NDArray[np.floating],
    start: Longs,
    stop: Longs,
    pooling: Pooling | None = None,
) -> Histories:
    """The history of each range of lines, which are one user's by (day, item); no range is empty."""
    pooling = pooling or Pooling()
    rows, lengths = ranges(start, stop), stop - start
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    user = np.repeat(np.arange(len(lengths)), lengths)
    days, items = day[rows].astype(np.int64), item[rows].astype(np.int64)
    first = np.zeros(len(rows), bool)
    first[bounds[:-1]] = True
    step = np.diff(days, prepend=0)
    step[first] = 0
    number = np.cumsum(step > 0)  # of the basket, counted on over all users
    last = bounds[1:] - 1
    new = first | (step > 0)
    gap = step[np.flatnonzero(new)][np.cumsum(new) - 1]
    age = np.repeat(days[last], lengths) - days
    decay = 0.5 ** (age / pooling.half_life_days)
    key = np.unique(user * (int(items.max(initial=0)) + 1) + items, return_inverse=True)[1]
    total = np.bincount(key, decay)[key] if len(key) else decay
    return Histories(
        bounds=bounds,
        item=items,
        age=age,
        gap=gap,
        basket=np.repeat(number[last], lengths) - number,
        units=units[rows].astype(np.float32),
        weight=(decay * total ** (pooling.count_power - 1)).astype(np.float32),
    )


def histories_before(
    lines: Interactions, item_vectors: Floats, day: int, max_lines: int
) -> tuple[npt.NDArray[np.int32], Histories]:
    """The users with a purchase before `day` of an item with a vector, ascending, and their newest `max_lines` lines.

    item_vectors: [items, dims] by item code, a zero row where an item has none.
    """
    days = lines.before(day).user_days()
    days = days.part(np.abs(item_vectors).sum(axis=1)[days.item] > 0)
    order = np.lexsort((days.item, days.day, days.user))
    users, start, count = np.unique(days.user[order], return_index=True, return_counts=True)
    stop = start + count
    chosen = histories(
        days.day[order], days.item[order], days.quantity[order], np.maximum(start, stop - max_lines), stop
    )
    return users.astype(np.int32), chosen


def mean_vectors(read: Histories, vectors: Floats) -> Floats:
    """One unit vector per user, float32 [users, dims]: the mean of the items' vectors by weight; zeros if that is 0.

    vectors: [rows, dims]. Purchases weigh as in copurchase.user_vectors: newer ones more, repeats less each.
    """
    weights = sp.csr_matrix((read.weight.astype(np.float64), read.item, read.bounds), (len(read), len(vectors)))
    pooled = np.asarray(weights @ vectors.astype(np.float64))
    return np.asarray(pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12), dtype=np.float32)
