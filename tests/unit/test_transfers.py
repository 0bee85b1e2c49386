"""Transfers: as many units as can be moved, at the least cost, against every plan there is on small cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.inventory.transfers import cheapest, fewest

WAYS = st.sampled_from([0.0, 1.0, 2.0, 3.5, np.inf])


def plans(spare, short):
    """Every plan of one item: [givers, receivers] of units within what is spare and what is short."""
    cells = [(giver, receiver) for giver in range(len(spare)) for receiver in range(len(short))]
    for units in itertools.product(*(range(min(spare[giver], short[receiver]) + 1) for giver, receiver in cells)):
        plan = np.array(units).reshape(len(spare), len(short))
        if (plan.sum(axis=1) <= spare).all() and (plan.sum(axis=0) <= short).all():
            yield plan


def in_rows(items):
    """(item, spare, short) of items, each a list of units: above 0 spare, below 0 short."""
    item = np.repeat(np.arange(len(items)), [len(units) for units in items])
    units = np.concatenate([np.array(units, np.int64) for units in items])
    return item, np.maximum(units, 0), np.maximum(-units, 0)


def moved(moves, item):
    return np.bincount(item[moves.giver], moves.units, item.max() + 1).astype(int).tolist()


ITEMS = st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=4), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(items=ITEMS, seed=st.integers(0, 999))
def test_equal_ways_every_unit_that_can_is_moved_by_few_transfers(items, seed) -> None:
    item, spare, short = in_rows(items)
    urgency = np.random.default_rng(seed).integers(0, 3, len(item)) / 2
    moves = fewest(item, spare, short, urgency)
    assert (moves.units > 0).all()
    assert (item[moves.giver] == item[moves.receiver]).all()
    given, taken = (np.bincount(rows, moves.units, len(item)) for rows in (moves.giver, moves.receiver))
    assert (given <= spare).all()
    assert (taken <= short).all()
    for number, units in enumerate(items):
        mine = item == number
        every = list(plans(spare[mine & (spare > 0)], short[mine & (short > 0)]))
        most = max((plan.sum() for plan in every), default=0)
        assert moved(moves, item)[number] == most  # at one price for all ways no plan is better: it is the least cost
        same = taken[mine & (short > 0)]
        few = min(((plan > 0).sum() for plan in every if (plan.sum(axis=0) == same).all()), default=0)
        count = int((item[moves.giver] == number).sum())
        assert count <= max(2 * few - 1, 0)
        # Scarce units go to the most urgent: nobody is served while a more urgent one is short.
        served = np.flatnonzero(mine & (taken > 0))
        unserved = np.flatnonzero(mine & (taken < short))
        assert all(urgency[row] >= urgency[left] for row in served for left in unserved)
        assert len(units) == mine.sum()


@settings(max_examples=150, deadline=None)
@given(items=ITEMS, data=st.data())
def test_priced_ways_the_most_units_at_the_least_cost(items, data) -> None:
    item, spare, short = in_rows(items)
    place = np.concatenate([np.arange(len(units)) for units in items])
    cost = np.array([[data.draw(WAYS) for _ in range(4)] for _ in range(4)])
    moves = cheapest(item, spare, short, place, cost)
    price = cost[place[moves.giver], place[moves.receiver]]
    assert np.isfinite(price).all()
    assert (moves.units > 0).all()
    given, taken = (np.bincount(rows, moves.units, len(item)) for rows in (moves.giver, moves.receiver))
    assert (given <= spare).all()
    assert (taken <= short).all()
    for number in range(len(items)):
        givers, receivers = (np.flatnonzero((item == number) & (side > 0)) for side in (spare, short))
        ways = cost[np.ix_(place[givers], place[receivers])]
        every = [plan for plan in plans(spare[givers], short[receivers]) if np.isfinite(ways[plan > 0]).all()]
        best = min(((-plan.sum(), (plan * np.where(plan > 0, ways, 0)).sum()) for plan in every), default=(0, 0.0))
        here = item[moves.giver] == number
        assert (-moves.units[here].sum(), (moves.units * price)[here].sum()) == pytest.approx(best)


def test_at_one_price_the_program_and_the_rule_move_the_same_units() -> None:
    draw = np.random.default_rng(5)
    item = np.repeat(np.arange(40), 12)
    units = draw.integers(-6, 7, len(item))
    spare, short, urgency = np.maximum(units, 0), np.maximum(-units, 0), draw.random(len(item))
    place = np.tile(np.arange(12), 40)
    rule = fewest(item, spare, short, urgency)
    program = cheapest(item, spare, short, place, np.ones((12, 12)))
    assert moved(rule, item) == moved(program, item)


def test_many_items_share_programs_and_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(6)
    item = np.repeat(np.arange(30), 8)
    units = draw.integers(-6, 7, len(item))
    place = np.tile(np.arange(8), 30)
    rows = item, np.maximum(units, 0), np.maximum(-units, 0), place, draw.random((8, 8))
    together = cheapest(*rows)
    monkeypatch.setattr("udfs.inventory.transfers.WAYS_PER_PROGRAM", 1)
    alone = cheapest(*rows)
    assert [column.tolist() for column in together] == [column.tolist() for column in alone]


def test_the_nearest_gives_though_a_farther_one_has_more() -> None:
    item, spare, short = in_rows([[9, 2, -2]])
    cost = np.array([[0, 1, 7], [1, 0, 3], [7, 3, 0]], float)
    moves = cheapest(item, spare, short, np.arange(3), cost)
    assert [column.tolist() for column in moves] == [[1], [2], [2]]
    assert fewest(item, spare, short, np.zeros(3)).giver.tolist() == [0]


def test_a_cost_below_zero_is_refused() -> None:
    rows = in_rows([[1, -1]])
    with pytest.raises(ValueError, match="is at least 0"):
        cheapest(*rows, np.arange(2), np.full((2, 2), -1.0))
