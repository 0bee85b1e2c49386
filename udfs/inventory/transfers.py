"""Transfers of integer units between locations, item by item."""

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
    """Transfers that move the most units possible, where every transfer costs the same. Exact.

    item: the row's item, a code from 0; spare, short: integer units, at least 0, never both above 0 in a row; urgency:
    the highest is served first where units are scarce. Ties go to the earlier row: sort by location_id.

    Any plan that moves min(spare, short) units of an item costs the same, so all of them are optimal. This one is the
    north-west corner rule's: spare units, largest givers first, are laid on a line beside short units, most urgent
    receivers first, and each stretch with one giver and one receiver is a transfer. So the givers are the fewest
    possible, and an item has at most givers + receivers - 1 transfers: less than twice the fewest that serve the same
    receivers (finding those is NP-hard). Cost: a sort over all items at once, n log n.
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
    """Transfers that move the most units possible, at the least cost: a transportation problem per item. Exact.

    item, spare, short: as for `fewest`; place: the row and the column of each row's location in `cost`
    [places, places], of one unit from row to column, at least 0, infinite where no transfer is possible. Scarce units
    go where they are cheapest to bring.

    The matrix of a transportation problem is totally unimodular, so its corners are integer, and HiGHS's dual simplex
    ends at a corner. A unit left short costs more than any chain of re-routings can save (the highest cost once for
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
    # Items are not split: a program begins with an item, the first after WAYS_PER_PROGRAM pairs.
    first = np.flatnonzero(np.diff(item[giver], prepend=-1))
    program = (first // WAYS_PER_PROGRAM).repeat(np.diff(np.append(first, len(giver))))
    units = np.zeros(len(giver), np.int64)
    for part in np.split(np.arange(len(giver)), np.flatnonzero(np.diff(program)) + 1):
        if len(part):
            units[part] = _least_cost(giver[part], receiver[part], price[part], spare, short)
    some = units > 0
    return _ordered(giver[some], receiver[some], units[some])


def _least_cost(giver: Longs, receiver: Longs, price: Doubles, spare: Longs, short: Longs) -> Longs:
    """[pairs of giver and receiver]: integer units of each, the most that can be moved, at the least cost."""
    givers, row = np.unique(giver, return_inverse=True)
    receivers, column = np.unique(receiver, return_inverse=True)
    routes, wanted = np.arange(len(giver)), np.arange(len(receivers))
    scale = max(float(price.max()), 1e-300)
    penalty = 1.0 + len(givers) + len(receivers)  # the cost of a unit left short, in multiples of the highest cost
    solution = linprog(
        np.concatenate([price / scale, np.full(len(receivers), penalty)]),
        A_ub=sparse.csr_array((np.ones(len(routes)), (row, routes)), shape=(len(givers), len(routes) + len(receivers))),
        b_ub=spare[givers],
        A_eq=sparse.csr_array(
            (
                np.ones(len(routes) + len(receivers)),
                (np.concatenate([column, wanted]), np.concatenate([routes, len(routes) + wanted])),
            ),
            shape=(len(receivers), len(routes) + len(receivers)),
        ),
        b_eq=short[receivers],
        method="highs-ds",
    )
    if solution.status != 0:
        raise ArithmeticError(f"HiGHS found no transfers for {len(givers)} givers: {solution.message}")
    units: Longs = np.rint(solution.x[: len(routes)]).astype(np.int64)
    given, taken = np.bincount(row, units), np.bincount(column, units)
    if (
        np.abs(solution.x[: len(routes)] - units).max() > 1e-6
        or (given > spare[givers]).any()
        or (taken > short[receivers]).any()
    ):
        raise ArithmeticError(f"HiGHS ended away from a whole corner for {len(givers)} givers")
    return units


def _ways(item: Longs, givers: Longs, receivers: Longs) -> tuple[Longs, Longs]:
    """Every (giver, receiver) of the same item, by item, in the order of givers and receivers."""
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
