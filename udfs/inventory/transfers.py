"""One result is a set of transfers of whole units: who gives how many to whom, item by item."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

WAYS_PER_PROGRAM: Final = 20_000  # small items share one linear program: alone, each would pay SciPy's 2 ms


class Moves(NamedTuple):
    """One entry a transfer: row of the giver, row of the receiver, units (1 or more); in the order of the rows."""

    giver: Longs
    receiver: Longs
    units: Longs


def fewest(item: Longs, spare: Longs, short: Longs, urgency: Doubles) -> Moves:
    """Transfers that move as many units as can be moved, where every way costs the same. Exact.

    item: the row's item, a code from 0; spare, short: whole units, at least 0, never both above 0 in a row; urgency:
    who comes first where units are scarce. Ties go to the row that comes first: let it be the first location_id.

    Any plan that moves min(spare, short) units of an item costs the same, so all of them are optimal. This one is the
    north-west corner rule's: what is spare, the largest givers first, is laid on a line beside what is short, the most
    urgent first, and each stretch with one giver and one receiver is a transfer. So the givers are the fewest that can
    do it, and an item has at most givers + receivers - 1 transfers: less than twice the fewest that serve the same
    receivers (to find those is NP-hard). Cost: a sort over all items at once, n log n.
    """
    moved = np.minimum(_sum(item, spare), _sum(item, short))
    givers = _in_turn(item, -spare, (spare > 0) & (moved > 0)[item])
    receivers = _in_turn(item, -urgency, (short > 0) & (moved > 0)[item])
    end_given = np.cumsum(_within(moved, item[givers], spare[givers]))
    end_taken = np.cumsum(_within(moved, item[receivers], short[receivers]))
    ends = np.union1d(end_given, end_taken)
    starts = np.concatenate([[0], ends])[:-1].astype(np.int64)
    giver = givers[np.searchsorted(end_given, starts, side="right")]
    receiver = receivers[np.searchsorted(end_taken, starts, side="right")]
    return _ordered(giver, receiver, ends - starts)


def cheapest(item: Longs, spare: Longs, short: Longs, place: Longs, cost: Doubles) -> Moves:
    """Transfers that move as many units as can be moved, at the least cost: a transportation problem per item. Exact.

    item, spare, short: as for `fewest`; place: the row and the column of each row's location in `cost`
    [places, places], of one unit from row to column, at least 0, infinite where there is no way. Scarce units go where
    they are cheapest to bring.

    The matrix of a transportation problem is totally unimodular, so its corners are whole, and HiGHS's dual simplex
    ends at a corner. A unit left short costs more than any chain of re-routings can save (the dearest way once for
    every giver and receiver), so the most units come first and their cost second.
    """
    if np.isnan(cost).any() or (cost < 0).any():
        raise ValueError("the cost from one location to another is at least 0, infinite where there is no way")
    moved = np.minimum(_sum(item, spare), _sum(item, short))
    givers = _in_turn(item, item, (spare > 0) & (moved > 0)[item])
    receivers = _in_turn(item, item, (short > 0) & (moved > 0)[item])
    giver, receiver = _ways(item, givers, receivers)
    price = cost[place[giver], place[receiver]]
    open_ = np.isfinite(price)
    giver, receiver, price = giver[open_], receiver[open_], price[open_]
    # Whole items only: a program begins where an item does, at the first after so many ways.
    first = np.flatnonzero(np.diff(item[giver], prepend=-1))
    program = (first // WAYS_PER_PROGRAM).repeat(np.diff(np.append(first, len(giver))))
    units = np.zeros(len(giver), np.int64)
    for part in np.split(np.arange(len(giver)), np.flatnonzero(np.diff(program)) + 1):
        if len(part):
            units[part] = _least_cost(giver[part], receiver[part], price[part], spare, short)
    some = units > 0
    return _ordered(giver[some], receiver[some], units[some])


def _least_cost(giver: Longs, receiver: Longs, price: Doubles, spare: Longs, short: Longs) -> Longs:
    """[ways]: the whole units on each way, all that can be moved, at the least cost."""
    givers, row = np.unique(giver, return_inverse=True)
    receivers, column = np.unique(receiver, return_inverse=True)
    ways, wanted = np.arange(len(giver)), np.arange(len(receivers))
    scale = max(float(price.max()), 1e-300)
    left = 1.0 + len(givers) + len(receivers)  # the cost of a unit that stays short, in the dearest way's
    found = linprog(
        np.concatenate([price / scale, np.full(len(receivers), left)]),
        A_ub=sparse.csr_array((np.ones(len(ways)), (row, ways)), shape=(len(givers), len(ways) + len(receivers))),
        b_ub=spare[givers],
        A_eq=sparse.csr_array(
            (
                np.ones(len(ways) + len(receivers)),
                (np.concatenate([column, wanted]), np.concatenate([ways, len(ways) + wanted])),
            ),
            shape=(len(receivers), len(ways) + len(receivers)),
        ),
        b_eq=short[receivers],
        method="highs-ds",
    )
    if found.status != 0:
        raise ArithmeticError(f"HiGHS found no transfers for {len(givers)} givers: {found.message}")
    units: Longs = np.rint(found.x[: len(ways)]).astype(np.int64)
    given, taken = np.bincount(row, units), np.bincount(column, units)
    if (
        np.abs(found.x[: len(ways)] - units).max() > 1e-6
        or (given > spare[givers]).any()
        or (taken > short[receivers]).any()
    ):
        raise ArithmeticError(f"HiGHS ended away from a whole corner for {len(givers)} givers")
    return units


def _ways(item: Longs, givers: Longs, receivers: Longs) -> tuple[Longs, Longs]:
    """Every (giver, receiver) of one item, by item, as both come."""
    start = np.searchsorted(item[receivers], item[givers], side="left")
    count = np.searchsorted(item[receivers], item[givers], side="right") - start
    giver = givers.repeat(count)
    within = np.arange(len(giver)) - (np.cumsum(count) - count).repeat(count)
    return giver, receivers[start.repeat(count) + within]


def _sum(item: Longs, units: Longs) -> Longs:
    """[items]: the units of each."""
    total: Longs = np.bincount(item, units).astype(np.int64)
    return total


def _in_turn(item: Longs, key: npt.NDArray[np.generic], wanted: npt.NDArray[np.bool_]) -> Longs:
    """The wanted rows by (item, key, row)."""
    rows = np.flatnonzero(wanted)
    return rows[np.lexsort((key[rows], item[rows]))]


def _within(limit: Longs, item: Longs, units: Longs) -> Longs:
    """The units of each row that lie within its item's limit, where the rows, by item, are served in turn."""
    before = np.cumsum(units) - units
    first = np.flatnonzero(np.diff(item, prepend=-1))
    before -= before[first].repeat(np.diff(np.append(first, len(item))))
    return np.clip(limit[item] - before, 0, units)


def _ordered(giver: Longs, receiver: Longs, units: Longs) -> Moves:
    order = np.lexsort((receiver, giver))
    return Moves(giver[order], receiver[order], units[order])
