"""Purchase days of a block of users, and what of them was known at a past cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import NEVER

Codes = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

# One row per user, day and the days between which a run knew it: `known` is the first run that had the purchase,
# `undone` the first that had its return (NEVER without one).
LINES: Final = ("user_id", "day", "spend", "baskets", "known", "undone")


@dataclass(frozen=True)
class History:
    """Purchase lines by (user, day); `users` is ascending and unique, `user` the codes into it."""

    users: npt.NDArray[np.str_]
    user: Codes
    day: Codes
    spend: Doubles
    baskets: Doubles
    known: Codes
    undone: Codes


@dataclass(frozen=True)
class Days:
    """One row per user and day with a purchase, by (user, day): `start[u]` to `start[u + 1]` are those of user u."""

    users: int
    start: Codes
    user: Codes
    day: Codes
    spend: Doubles
    baskets: Doubles

    def per_user(self, values: Doubles | None = None) -> Doubles:
        """[users] sum of `values` (default 1) over each user's days."""
        return np.bincount(self.user, values, self.users).astype(np.float64)


def history_of(lines: pd.DataFrame) -> History:
    """History of LINES, in any order."""
    code, users = pd.factorize(lines["user_id"], sort=True)
    order = np.lexsort((lines["undone"], lines["known"], lines["day"], code))
    columns = {name: lines[name].to_numpy()[order] for name in LINES if name != "user_id"}
    day, known, undone = (columns[name].astype(np.int64) for name in ("day", "known", "undone"))
    spend, baskets = (columns[name].astype(np.float64) for name in ("spend", "baskets"))
    return History(np.asarray(users, np.str_), code[order].astype(np.int64), day, spend, baskets, known, undone)


def before(history: History, cut: int) -> Days:
    """What a run knew whose next day is `cut`: purchases known before it and not returned by then."""
    return _days(history, (history.known < cut) & (history.undone >= cut))


def between(history: History, first: int, end: int) -> Days:
    """Purchases from `first` up to, not including, `end` that were never returned: what labels are counted from."""
    return _days(history, (history.day >= first) & (history.day < end) & (history.undone == NEVER))


def _days(history: History, chosen: npt.NDArray[np.bool_]) -> Days:
    user, day = history.user[chosen], history.day[chosen]
    new = np.ones(len(user), bool)
    new[1:] = (np.diff(user) != 0) | (np.diff(day) != 0)
    first = np.flatnonzero(new)
    spend, baskets = (
        np.add.reduceat(values[chosen], first) if len(first) else np.zeros(0)
        for values in (history.spend, history.baskets)
    )
    count = len(history.users)
    start = np.searchsorted(user[first], np.arange(count + 1))
    return Days(count, start.astype(np.int64), user[first], day[first], spend, baskets)
