"""Allocation of users to campaigns: the greatest expected value within all limits.

maximise the sum of value over chosen pairs; at most capacity[c] users of campaign c, at most left[u] campaigns of user
u, a pair once. Each contact takes one place of either, so the linear programme is a transportation problem and has
integer optima. Two methods:

- `allocate`, up to EXACT_PAIRS pairs: HiGHS solves it.
- By prices, for any number of users: each campaign gets a price (a Lagrange multiplier), at which every user chooses
  independently. `find_prices` on all users, or on a sample with its share of the capacities; then, block of
  users by block, `choose` and `bound_terms` with these prices; then of each campaign the `capacity` best of the chosen
  by value less price; then `fill` for the places that are left. Values must be `without_ties`, because a price that
  equals the value of many pairs does not say which of them get the last places.

Limits hold by construction. Any prices bound the optimum from above (weak duality), so the gap is computed either way:
the bound is prices @ capacity and the sum of the blocks' terms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import linprog

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EXACT_PAIRS = 100_000
TIES = 1e-3  # share of a value by which it may be moved so that no two are equal
ROUNDS = 60  # of prices, each campaign once
UNLIMITED = np.iinfo(np.int32).max
TOLERANCE = 1e-9  # of the bound: sums of floats are not exact
HASH_DIGITS = 13  # hex digits of a hash that a float holds exactly: 52 bits


@dataclass(frozen=True)
class Allocation:
    """The chosen pairs, their value, an upper bound on any allocation, and the campaigns' prices.

    chosen: [pairs]; prices: [campaigns], the worth of one more place in a campaign.
    """

    chosen: Mask
    value: float
    upper_bound: float
    prices: Doubles

    @property
    def gap(self) -> float:
        """Greatest possible distance from the optimum: 0.01 is one percent of the bound."""
        return (self.upper_bound - self.value) / self.upper_bound if self.upper_bound > 0 else 0.0


def is_control(user_ids: Sequence[str], campaign_ids: Sequence[str], share: float, seed: int = 0) -> Mask:
    """[pairs] whether a pair is left out so that the campaign's lift can be measured: a hash below `share`.

    The hash is the first 13 hex digits of the SHA-256 of "seed|campaign_id|user_id" in UTF-8, over 16^13. In Spark:
    conv(substr(sha2(concat_ws('|', seed, campaign_id, user_id), 256), 1, 13), 16, 10) / pow(16, 13) < share.
    """
    pairs = zip(user_ids, campaign_ids, strict=True)
    hashes = (
        hashlib.sha256(f"{seed}|{campaign}|{user}".encode()).hexdigest()[:HASH_DIGITS] for user, campaign in pairs
    )
    return np.array([int(digits, 16) for digits in hashes], np.float64) / 16.0**HASH_DIGITS < share


def capacities(max_audience: Doubles, budget: Doubles, contact_cost: float) -> Longs:
    """[campaigns] how many users each may contact; max_audience counts users, budget money; NaN: no limit."""
    most = np.where(np.isnan(max_audience), np.inf, max_audience)
    if contact_cost > 0:
        paid = np.where(np.isnan(budget), np.inf, budget) / contact_cost
        most = np.minimum(most, np.floor(paid + 1e-9))  # 0.3 / 0.1 is three contacts
    elif np.any(budget < 0):
        raise ValueError(f"a budget is {np.nanmin(budget)}; at least 0 expected")
    room: Longs = np.clip(np.floor(most), 0, UNLIMITED).astype(np.int64)
    return room


def allocate(user: Longs, campaign: Longs, value: Doubles, capacity: Longs, left: Longs) -> Allocation:
    """The best allocation of pairs (user, campaign), each at most once, in any order: codes into `left`, `capacity`.

    value: [pairs], expected worth of a contact; pairs worth nothing are never chosen. capacity:
    [campaigns], left: [users], how many contacts each may still have. ValueError on a pair given twice.
    """
    order = np.lexsort((campaign, user))  # the same pairs give the same allocation
    key = user[order].astype(np.int64) * (len(capacity) + 1) + campaign[order]
    if np.any(np.diff(key) == 0):
        raise ValueError("a pair of a user and a campaign is given twice")
    useful = order[(value[order] > 0) & (capacity[campaign[order]] > 0) & (left[user[order]] > 0)]
    who, what, worth = user[useful], campaign[useful], value[useful].astype(np.float64)
    room, slots = np.minimum(capacity, len(left)).astype(np.int64), np.minimum(left, len(capacity)).astype(np.int64)
    picked, prices = _solve(who, what, worth, room, slots)
    chosen = np.zeros(len(user), bool)
    chosen[useful[picked]] = True
    total = float(worth[picked].sum())
    bound = float(prices @ room) + bound_terms(who, what, worth, slots, prices)
    return Allocation(chosen, total, max(bound, total), prices)


def without_ties(value: Doubles, draws: Doubles) -> Doubles:
    """[pairs] distinct values: each moved by up to half of TIES, by the pair's own draw in [0, 1)."""
    moved: Doubles = value * (1 + TIES * (draws - 0.5))
    return moved


def choose(user: Longs, campaign: Longs, value: Doubles, left: Longs, prices: Doubles) -> Mask:
    """[pairs] the choice of each user at these prices: the `left` best of value less price, if more than 0.

    Ties in the order of the campaigns. Users are independent, so any block with all pairs of its users will do.
    """
    net = value - prices[campaign]
    order = np.lexsort((campaign, -net, user))
    chosen = np.zeros(len(user), bool)
    chosen[order] = (_place(user[order]) < left[user[order]]) & (net[order] > 0)
    return chosen


def choose_controls(
    user: Longs, campaign: Longs, value: Doubles, control: Mask, capacity: Longs, left: Longs, prices: Doubles
) -> Mask:
    """[pairs] the controls that `choose` would take, each as if it alone were no control.

    Controls do not compete with each other: as a contact would, each needs room in its campaign, value above its price
    and fewer than `left` of the user's open pairs that are no controls before it. So controls are a fixed share
    of each campaign's listed users, and do not differ from the others.
    """
    net = value - prices[campaign]
    is_open = capacity[campaign] > 0
    order = np.lexsort((campaign, -net, user))
    who, rivals = user[order], (is_open & ~control)[order].astype(np.int64)
    ahead = np.cumsum(rivals) - rivals
    own = ahead - ahead[np.arange(len(who)) - _place(who)]
    chosen = np.zeros(len(user), bool)
    chosen[order] = own < left[who]
    return chosen & control & is_open & (net > 0)


def bound_terms(user: Longs, campaign: Longs, value: Doubles, left: Longs, prices: Doubles) -> float:
    """Gain of the users of these pairs at these prices; with the worth of all places it bounds every allocation.

    upper bound = prices @ capacity + the sum of the terms of all blocks of users.
    """
    taken = choose(user, campaign, value, left, prices)
    return float((value - prices[campaign])[taken].sum())


def find_prices(user: Longs, campaign: Longs, value: Doubles, capacity: Longs, left: Longs) -> Doubles:
    """[campaigns] prices at which about `capacity` users choose each campaign; 0 where fewer would at any price.

    The bound is brought down one campaign after the other: with the other prices fixed, each user takes the
    campaign up to its worth over the user's best alternative, and the price is set where `capacity` users take it.
    Rounds end when the bound no longer falls; the best prices are returned.
    """
    prices = np.zeros(len(capacity))
    best, lowest = prices.copy(), np.inf
    rows = [np.flatnonzero(campaign == number) for number in range(len(capacity))]
    for _ in range(ROUNDS):
        for number, mine in enumerate(rows):
            if len(mine) <= capacity[number]:
                prices[number] = 0.0
                continue
            worth = np.sort(value[mine] - _without(user, campaign, value, left, prices, number)[user[mine]])[::-1]
            place = int(capacity[number])
            # Any price between the last that fits and the first that does not is as good; the middle moves least.
            prices[number] = max((worth[place] + worth[place - 1]) / 2 if place else worth[place], 0.0)
        bound = float(prices @ capacity) + bound_terms(user, campaign, value, left, prices)
        if bound >= lowest * (1 - TOLERANCE):
            break
        best, lowest = prices.copy(), bound
    return best


def fill(user: Longs, campaign: Longs, value: Doubles, room: Longs, slots: Longs) -> Mask:
    """[pairs] pairs not chosen before that still fit, best value first, into the remaining room and slots."""
    chosen, room, slots = np.zeros(len(user), bool), room.copy(), slots.copy()
    for pair in np.lexsort((campaign, user, -value)):
        if value[pair] > 0 and room[campaign[pair]] > 0 and slots[user[pair]] > 0:
            chosen[pair] = True
            room[campaign[pair]] -= 1
            slots[user[pair]] -= 1
    return chosen


def _without(user: Longs, campaign: Longs, value: Doubles, left: Longs, prices: Doubles, number: int) -> Doubles:
    """[users] value displaced by a contact of the campaign: the worst of a full list of other campaigns, else 0."""
    others = campaign != number
    who, net = user[others], (value - prices[campaign])[others]
    order = np.lexsort((-net, who))
    last = order[_place(who[order]) == left[who[order]] - 1]
    displaced = np.where(left > 0, 0.0, np.inf)
    displaced[who[last]] = np.maximum(net[last], 0.0)
    return displaced


def _solve(user: Longs, campaign: Longs, value: Doubles, capacity: Longs, left: Longs) -> tuple[Mask, Doubles]:
    """The optimum by the dual simplex, which ends at a corner (corners are integer), and the campaigns' prices."""
    if not len(user):
        return np.zeros(0, bool), np.zeros(len(capacity))
    users, row = np.unique(user, return_inverse=True)
    pairs = np.arange(len(user))
    ones = np.ones(2 * len(user))
    rows = np.concatenate([campaign, len(capacity) + row])
    limits = sp.csr_matrix((ones, (rows, np.concatenate([pairs, pairs]))), (len(capacity) + len(users), len(user)))
    optimum = linprog(
        -value, A_ub=limits, b_ub=np.concatenate([capacity, left[users]]), bounds=(0, 1), method="highs-ds"
    )
    if optimum.status != 0:
        raise RuntimeError(f"HiGHS found no allocation of {len(user)} pairs: {optimum.message}")
    return optimum.x > 0.5, np.maximum(-optimum.ineqlin.marginals[: len(capacity)], 0.0)


def _place(group: Longs) -> Longs:
    """How many rows of the same group precede each row; rows of a group are adjacent."""
    if not len(group):
        return np.zeros(0, np.int64)
    start = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    return np.arange(len(group)) - np.repeat(start, np.diff(np.append(start, len(group))))
