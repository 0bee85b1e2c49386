"""Examples that a user tower learns from: what a user had bought before a basket, and the new items from it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from udfs.encoder.copurchase import IMPOSSIBLE, POPULARITY_DAYS
from udfs.encoder.user_history import Histories, Longs, histories, ranges
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Floats, Interactions

MOST_COLUMNS = 4_096  # items of a batch's softmax: its targets, and others drawn by their buyers
DRAWN_POWER = 0.75  # of an item's buyers, in the draw
WEEK = 7


@dataclass(frozen=True)
class UserBatch:
    """One step's b users: histories, targets, the softmax's items, and what is known of these.

    target_user, target: [targets], a user of the batch and one of `columns`; columns: item codes; prior: [b, columns]
    log of recent purchases; correction: [columns] log of how many items a column represents (logQ); owned: [b, columns]
    whether the user had bought the item: it is no candidate.
    """

    read: Histories
    target_user: Longs
    target: Longs
    columns: Longs
    prior: Floats
    correction: Floats
    owned: npt.NDArray[np.bool_]


class UserExamples:
    """One example is one basket of a known user before `end`, with an earlier one, and a new item within 28 days."""

    def __init__(self, lines: Interactions, item_vectors: Floats, end: int, max_lines: int) -> None:
        """item_vectors: [items, dims] by item code; purchases of items without one (a zero row) are left out."""
        days = lines.before(end).user_days()
        days = days.part(np.abs(item_vectors).sum(axis=1)[days.item] > 0)
        order = np.lexsort((days.item, days.day, days.user))
        user, self._day, self._item = days.user[order], days.day[order].astype(np.int64), days.item[order]
        self._units, self._max_lines, self.items = days.quantity[order], max_lines, len(lines.items)
        key = user.astype(np.int64) * self.items + self._item
        self._is_new = np.zeros(len(key), bool)
        self._is_new[np.unique(key, return_index=True)[1]] = True
        starts_basket = np.r_[True, (np.diff(user) != 0) | (np.diff(self._day) != 0)][: len(user)]
        at = np.flatnonzero(starts_basket)
        self._first = np.searchsorted(user, user[at])
        # The line after the last of the horizon: users are apart, so a day's place is looked up within the user.
        wide = user.astype(np.int64) * 1_000_000 + self._day
        self._stop = np.searchsorted(wide, np.minimum(wide[at] + HORIZON_DAYS, (user[at] + 1) * np.int64(1_000_000)))
        new_before = np.r_[0, np.cumsum(self._is_new)]
        useful = (at > self._first) & (new_before[self._stop] > new_before[at])
        self._at, self._first, self._stop = at[useful], self._first[useful], self._stop[useful]
        self._buyers = np.bincount(self._item[self._is_new], minlength=self.items).astype(np.float64)
        self._prior_of_week()

    def __len__(self) -> int:
        """Examples."""
        return len(self._at)

    @property
    def lines(self) -> Longs:
        """Lines that are read of each example."""
        return np.asarray(np.minimum(self._at - self._first, self._max_lines))

    def _prior_of_week(self) -> None:
        """[weeks, items]: the log of 1 + purchases in the fortnight before each week; IMPOSSIBLE if never bought."""
        self._from = int(self._day.min()) if len(self._day) else 0
        weeks = (int(self._day.max()) - self._from) // WEEK + 2 if len(self._day) else 1
        counts = np.zeros((weeks + 1, self.items), np.float32)
        np.add.at(counts, ((self._day - self._from) // WEEK + 1, self._item), 1)
        total = np.cumsum(counts, axis=0)[:-1]
        before = np.maximum(np.arange(weeks) - POPULARITY_DAYS // WEEK, 0)
        self._prior = np.where(self._buyers > 0, np.log1p(total - total[before]), IMPOSSIBLE).astype(np.float32)

    def batch(self, rows: Longs, draw: np.random.Generator) -> UserBatch:
        """The batch of these examples; `draw` decides which items the softmax sees."""
        at, first = self._at[rows], self._first[rows]
        start = np.maximum(first, at - self._max_lines)
        read = histories(self._day, self._item, self._units, start, at)
        future = ranges(at, self._stop[rows])
        of_user = np.repeat(np.arange(len(rows)), self._stop[rows] - at)[self._is_new[future]]
        future = future[self._is_new[future]]
        columns, correction = self._columns(np.unique(self._item[future]), draw)
        place = np.full(self.items, -1)
        place[columns] = np.arange(len(columns))
        owned = np.zeros((len(rows), len(columns)), bool)
        known = ranges(first, at)
        column, user = place[self._item[known]], np.repeat(np.arange(len(rows)), at - first)
        owned[user[column >= 0], column[column >= 0]] = True
        week = (self._day[at] - self._from) // WEEK
        return UserBatch(
            read=read,
            target_user=of_user,
            target=place[self._item[future]],
            columns=columns,
            prior=self._prior[np.ix_(week, columns)],
            correction=correction,
            owned=owned,
        )

    def _columns(self, targets: npt.NDArray[np.integer], draw: np.random.Generator) -> tuple[Longs, Floats]:
        """Items of the softmax, ascending: the targets, and others drawn without replacement by their buyers."""
        sold = np.flatnonzero(self._buyers)
        if len(sold) <= MOST_COLUMNS:
            return sold, np.zeros(len(sold), np.float32)
        others = np.setdiff1d(sold, targets)
        count = min(max(MOST_COLUMNS - len(targets), 1), len(others))
        share = self._buyers[others] ** DRAWN_POWER
        share /= share.sum()
        drawn = draw.choice(len(others), count, replace=False, p=share)
        columns = np.concatenate([targets.astype(np.int64), others[drawn]])
        # About: the chance to be among them, were they drawn one by one with replacement until `count` are different.
        log_q = np.log(-np.expm1(count * np.log1p(-share[drawn])))
        correction = np.concatenate([np.zeros(len(targets)), -log_q]).astype(np.float32)
        order = np.argsort(columns)
        return columns[order], correction[order]
