"""Purchase lines as arrays, with codes instead of ids, so that models are plain array arithmetic.

A past run must see what it knew: lines that had arrived by then, without those that a return had undone by then.
Labels are what is known today.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from udfs.days import NEVER

Codes: TypeAlias = npt.NDArray[np.int32]
Floats: TypeAlias = npt.NDArray[np.float32]

GUEST = -1
ARRAYS = ("user", "item", "day", "basket", "quantity", "known_on", "undone_on")


@dataclass(frozen=True)
class Interactions:
    """Purchase lines as arrays of one length, by (day, user, item); `users` and `items` are ascending and unique.

    user: code into `users`, GUEST for a guest; item: code into `items`; day: days since 1970-01-01; basket: a code per
    basket; quantity: units; known_on: the day of the first run that saw the line; undone_on: of the first that saw it
    returned, NEVER if it was not returned. A line that was returned in part is two. The codes stay the same in every
    part taken of it (`before`, `within`).
    """

    users: npt.NDArray[np.str_]
    items: npt.NDArray[np.str_]
    user: Codes
    item: Codes
    day: Codes
    basket: npt.NDArray[np.int64]
    quantity: Floats
    known_on: Codes
    undone_on: Codes

    def __len__(self) -> int:
        """Lines."""
        return len(self.user)

    def part(self, chosen: npt.NDArray[np.bool_]) -> Interactions:
        """The lines where `chosen` is true."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in ARRAYS})

    def recoded(self, items: npt.NDArray[np.str_], code: Codes) -> Interactions:
        """The same lines with other items: `code` gives for each item code the new one into `items`, -1 drops it."""
        item = code[self.item]
        rows = np.flatnonzero(item >= 0)
        rows = rows[np.lexsort((self.basket[rows], item[rows], self.user[rows], self.day[rows]))]
        arrays = {name: getattr(self, name)[rows] for name in ARRAYS if name != "item"}
        return replace(self, items=items, item=item[rows].astype(np.int32), **arrays)

    def as_known(self, day: int) -> Interactions:
        """The lines known before `day`, with the returns known by then."""
        seen = self.part(self.known_on < day)
        return replace(seen, undone_on=np.where(seen.undone_on < day, seen.undone_on, NEVER).astype(np.int32))

    def before(self, day: int) -> Interactions:
        """The lines known before `day` and not returned by then: what a model with the cut `day` may see."""
        seen = self.part((self.known_on < day) & (self.undone_on >= day))
        return replace(seen, undone_on=np.full(len(seen), NEVER, np.int32))

    def within(self, first: int, end: int) -> Interactions:
        """The lines of days from `first` up to, not including, `end`, that were not returned."""
        return self.part((self.day >= first) & (self.day < end) & (self.undone_on == NEVER))

    def known(self) -> Interactions:
        """Without guests."""
        return self.part(self.user != GUEST)

    def buyer(self) -> npt.NDArray[np.int64]:
        """[lines] who bought: the user's code, or for a guest a negative number for the basket."""
        return np.where(self.user == GUEST, -1 - self.basket, self.user).astype(np.int64)

    def buyers(self) -> npt.NDArray[np.int64]:
        """[items] how many bought each: a user counts once, and so does each basket of a guest."""
        width = len(self.items)
        return np.bincount(np.unique(self.buyer() * width + self.item) % width, minlength=width)

    def holds(self, user: npt.NDArray[np.integer], item: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """For each pair of codes, whether this known user bought this item."""
        known, width = self.known(), len(self.items)
        bought = np.unique(known.user.astype(np.int64) * width + known.item)
        return np.isin(user.astype(np.int64) * width + item, bought)

    def matrix(self, weight: npt.NDArray[np.floating] | None = None) -> sp.csr_matrix:
        """[users, items] float32: the sum of `weight` (one a line, default 1) over each user's lines of each item."""
        lines = self.user != GUEST
        values = np.ones(len(self), np.float32) if weight is None else weight.astype(np.float32)
        shape = (len(self.users), len(self.items))
        return sp.csr_matrix((values[lines], (self.user[lines], self.item[lines])), shape=shape)

    def user_days(self) -> Interactions:
        """Each (user, item, day) once, guests left out, quantities added: lines of one day are one purchase."""
        known = self.known()
        # Lines are sorted by (day, user, item): those of one purchase lie side by side.
        new = np.ones(len(known), bool)
        new[1:] = (np.diff(known.day) != 0) | (np.diff(known.user) != 0) | (np.diff(known.item) != 0)
        units = known.quantity.astype(np.float64)
        summed = np.add.reduceat(units, np.flatnonzero(new)) if len(known) else units
        return replace(known.part(new), quantity=summed.astype(np.float32))


def from_frame(lines: pd.DataFrame, items: npt.NDArray[np.str_] | None = None) -> Interactions:
    """From user_id (missing for a guest), item_id, event_date (a date), basket_id, quantity, in any order.

    Optional: known_on (default: event_date) and undone_on (a date, missing if the line was not returned).
    items: the ids that codes refer to, ascending and unique; lines of other items are left out. Default: those sold.
    """
    if items is None:
        item, sold = pd.factorize(lines["item_id"], sort=True)
        items = np.asarray(sold, dtype=np.str_)
    else:
        item = pd.Index(items).get_indexer(pd.Index(lines["item_id"]))
        lines, item = lines[item >= 0], item[item >= 0]
    user, users = pd.factorize(lines["user_id"], sort=True)
    basket = pd.factorize(lines["basket_id"], sort=True)[0]
    day = days_of(lines["event_date"])
    known = days_of(lines["known_on"]) if "known_on" in lines else day
    undone = days_of(lines["undone_on"]) if "undone_on" in lines else np.full(len(lines), NEVER, np.int32)
    quantity = lines["quantity"].to_numpy(np.float32)
    order = np.lexsort((quantity, undone, known, basket, item, user, day))
    return Interactions(
        users=np.asarray(users, dtype=np.str_),
        items=items,
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        day=day[order],
        basket=basket[order].astype(np.int64),
        quantity=quantity[order],
        known_on=known[order],
        undone_on=undone[order],
    )


def days_of(dates: pd.Series) -> Codes:
    """Days since 1970-01-01; NEVER where there is no date."""
    moments = pd.to_datetime(dates)
    days = moments.to_numpy("datetime64[D]").astype(np.int64)
    return np.where(moments.isna(), NEVER, days).astype(np.int32)
