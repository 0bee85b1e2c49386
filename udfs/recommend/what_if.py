"""Counterfactuals: the place of an item in a user's candidates, had the user bought something else.

They are exact for given item models: a user's rows depend on the user's own purchases and on those models alone. The
purchases of one user that are left out or added would change the models of a shop by little; that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from udfs.days import date_of
from udfs.recommend import ranker, scoring
from udfs.recommend.generators import GENERATORS
from udfs.recommend.ranker import Ranker
from udfs.recommend.scoring import LINES, State

APART = 7  # days between added purchases, the newest on the last day that the run saw


@dataclass(frozen=True)
class Place:
    """Where an item is among the candidates of one user, under some purchases.

    place: from 1, None where it is no candidate; of: candidates; raw: the ranker's score, within_list: the same less
    the logarithm of the sum of exp(raw) over the other candidates, by which lists of different levels compare; sources:
    the generators that propose it.
    """

    place: int | None
    of: int
    score: float | None = None
    raw: float | None = None
    within_list: float | None = None
    sources: tuple[str, ...] = ()


def without(lines: pd.DataFrame, item: str) -> pd.DataFrame:
    """The lines but for those of an item."""
    return lines[lines["item_id"] != item]


def with_more(lines: pd.DataFrame, item: str, times: int, day: int) -> pd.DataFrame:
    """The lines and `times` purchases of one unit, APART days from each other, the newest on the day before `day`."""
    user = lines["user_id"].iloc[0]
    rows = [(user, item, np.datetime64(date_of(day - 1 - APART * number), "D"), 1.0) for number in range(times)]
    more = pd.DataFrame(rows, columns=list(LINES)).astype({name: lines[name].dtype for name in LINES})
    return pd.concat([lines[list(LINES)], more], ignore_index=True)


def places(
    variants: Mapping[str, tuple[pd.DataFrame, str]],
    state: State,
    fitted: Ranker,
    day: int,
    apart_from: Mapping[str, str] | None = None,
) -> dict[str, Place]:
    """The place of each variant's item under the variant's purchases, in the run before `day`.

    variants: by name, LINES of one user and an item_id. The users' vectors are the means of their items'. apart_from:
    by variant an item that does not count among the candidates, so that a place with it and one without compare.
    """
    apart = apart_from or {}
    named = [lines[list(LINES)].assign(user_id=name) for name, (lines, _) in variants.items() if len(lines)]
    found = {name: Place(None, 0) for name in variants}
    if not named:
        return found
    history = scoring.history_of(pd.concat(named, ignore_index=True), state.catalogue)
    for part in scoring.ranked(history, state, fitted, day):
        raw = ranker.raw_score(fitted, part.table)
        user = part.pairs.user[part.order]
        first = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.empty(0, np.int64)
        for start, end in zip(first, np.r_[first[1:], len(user)], strict=True):
            name = str(history.users[user[start]])
            rows = part.order[start:end]
            ids = state.catalogue.items[part.pairs.item[rows]]
            rows = rows[ids != apart.get(name)]
            ids = ids[ids != apart.get(name)]
            found[name] = _place(part, raw, rows, np.flatnonzero(ids == variants[name][1]))
    return found


def _place(part: scoring.Ranked, raw: ranker.Doubles, rows: np.ndarray, at: np.ndarray) -> Place:
    """The place of the row number `at` (one or none) of a user's rows, best first."""
    if not len(at):
        return Place(None, len(rows))
    row = rows[at[0]]
    others = raw[rows[rows != row]]
    mass = np.logaddexp.reduce(others) if len(others) else 0.0
    sources = tuple(np.asarray(GENERATORS)[part.pairs.proposed[row]].tolist())
    return Place(int(at[0]) + 1, len(rows), float(part.score[row]), float(raw[row]), float(raw[row] - mass), sources)


def lower(before: Place, after: Place) -> bool:
    """Whether an item is lower in a list: further down, or at the same place with a smaller part of the list."""
    if after.place is None or before.place is None:
        return before.place is not None
    if after.place != before.place:
        return after.place > before.place
    return (after.within_list or 0.0) < (before.within_list or 0.0)
