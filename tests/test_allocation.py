"""The allocation against an exhaustive search, and its limits on whatever hypothesis draws."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.audiences.allocation import (
    allocate,
    bound_terms,
    capacities,
    choose,
    choose_controls,
    find_prices,
    is_control,
    repair,
)

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@st.composite
def problems(draw: st.DrawFn, users: int = 6, campaigns: int = 4, pairs: int = 24) -> Problem:
    """User, campaign and value of different pairs in any order, capacity of campaigns, what is left of users."""
    user_count, campaign_count = draw(st.integers(1, users)), draw(st.integers(1, campaigns))
    every = list(itertools.product(range(user_count), range(campaign_count)))
    chosen = draw(st.lists(st.sampled_from(every), unique=True, max_size=pairs))
    # Few different values, some below 0: ties are what goes wrong.
    value = draw(st.lists(st.integers(-1, 6).map(float), min_size=len(chosen), max_size=len(chosen)))
    capacity = draw(st.lists(st.integers(0, user_count), min_size=campaign_count, max_size=campaign_count))
    left = draw(st.lists(st.integers(0, campaign_count), min_size=user_count, max_size=user_count))
    table = np.array(chosen, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1], np.array(value, float), np.array(capacity), np.array(left)


def fits(user: np.ndarray, campaign: np.ndarray, capacity: np.ndarray, left: np.ndarray) -> bool:
    return bool(
        (np.bincount(user, minlength=len(left)) <= left).all()
        and (np.bincount(campaign, minlength=len(capacity)) <= capacity).all()
    )


def best_of_all(problem: Problem) -> float:
    """The oracle: every set of pairs."""
    user, campaign, value, capacity, left = problem
    sets = itertools.chain.from_iterable(itertools.combinations(range(len(user)), n) for n in range(len(user) + 1))
    return max(value[list(rows)].sum() for rows in sets if fits(user[list(rows)], campaign[list(rows)], capacity, left))


@given(problems(users=4, campaigns=3, pairs=9))
@settings(max_examples=60, deadline=None)
def test_small_ones_are_the_best_of_all_sets(problem: Problem) -> None:
    best = best_of_all(problem)
    found = allocate(*problem)
    assert found.exact
    assert found.value == pytest.approx(best)
    assert found.upper_bound == pytest.approx(best)
    assert allocate(*problem, exact_pairs=0).upper_bound >= best - 1e-9


@given(problems(users=12, campaigns=5, pairs=60), st.sampled_from([0, 1_000]))
@settings(max_examples=100, deadline=None)
def test_no_limit_is_exceeded_and_the_gap_is_told(problem: Problem, exact_pairs: int) -> None:
    user, campaign, value, capacity, left = problem
    found = allocate(*problem, exact_pairs=exact_pairs)
    assert fits(user[found.chosen], campaign[found.chosen], capacity, left)
    assert (value[found.chosen] > 0).all()
    assert found.value == pytest.approx(value[found.chosen].sum())
    assert found.gap >= 0
    assert (found.prices >= 0).all()


@given(problems(users=8, campaigns=4, pairs=32), st.sampled_from([0, 1_000]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_input_does_not_matter(problem: Problem, exact_pairs: int, random: object) -> None:
    user, campaign, value, capacity, left = problem
    order = np.arange(len(user))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = allocate(*problem, exact_pairs=exact_pairs)
    shuffled = allocate(user[order], campaign[order], value[order], capacity, left, exact_pairs)
    assert (shuffled.chosen == straight.chosen[order]).all()


def shop(users: int = 400, campaigns: int = 8) -> Problem:
    draw = np.random.default_rng(3)
    user, campaign = np.repeat(np.arange(users), campaigns), np.tile(np.arange(campaigns), users)
    value = draw.gamma(1, 1, users)[user] * draw.gamma(2, 1, campaigns)[campaign] * draw.random(len(user))
    return user, campaign, value, draw.integers(10, 120, campaigns), draw.integers(0, 3, users)


def test_prices_come_near_to_the_best() -> None:
    exact, priced = allocate(*shop()), allocate(*shop(), exact_pairs=0)
    assert exact.gap < 1e-9
    assert not priced.exact
    assert priced.gap < 0.01
    assert exact.value <= priced.upper_bound + 1e-6
    assert priced.value <= exact.value + 1e-6


def test_blocks_of_users_choose_by_themselves() -> None:
    """What Spark does: prices from a sample of the users, then each block alone; bound and choice are the whole's."""
    user, campaign, value, capacity, left = shop()
    sample = user % 4 == 0
    prices = find_prices(user[sample], campaign[sample], value[sample], capacity // 4, left)
    blocks = [np.flatnonzero(user % 3 == number) for number in range(3)]
    chosen, terms = np.zeros(len(user), bool), 0.0
    for rows in blocks:
        chosen[rows] = choose(user[rows], campaign[rows], value[rows], left, prices)
        terms += bound_terms(user[rows], campaign[rows], value[rows], left, prices)
    assert (chosen == choose(user, campaign, value, left, prices)).all()
    kept = repair(chosen, user, campaign, value, capacity, left, prices)
    assert fits(user[kept], campaign[kept], capacity, left)
    bound = prices @ capacity + terms
    assert allocate(*shop()).value <= bound + 1e-6
    assert value[kept].sum() > 0.9 * bound


def controls_one_by_one(problem: Problem, control: np.ndarray, prices: np.ndarray) -> list[bool]:
    """The oracle: each control alone among the user's open pairs that are none."""
    user, campaign, value, capacity, left = problem
    found = []
    for pair in range(len(user)):
        others = [row for row in range(len(user)) if user[row] == user[pair] and not control[row]]
        asked = [row for row in {pair, *others} if capacity[campaign[row]] > 0]
        asked.sort(key=lambda row: (-(value[row] - prices[campaign[row]]), campaign[row]))
        taken = [row for row in asked[: left[user[pair]]] if value[row] > prices[campaign[row]]]
        found.append(bool(control[pair]) and pair in taken)
    return found


@given(problems(), st.lists(st.booleans(), min_size=24, max_size=24), st.lists(st.integers(0, 3), min_size=4))
@settings(max_examples=200, deadline=None)
def test_controls_are_chosen_as_if_each_alone_were_none(problem: Problem, drawn: list[bool], price: list[int]) -> None:
    user, campaign, value, capacity, left = problem
    control, prices = np.array(drawn[: len(user)], bool), np.array(price[: len(capacity)], float)
    found = choose_controls(user, campaign, value, control, capacity, left, prices)
    assert found.tolist() == controls_one_by_one(problem, control, prices)


@pytest.mark.parametrize(("control", "listed"), [(1, []), (0, [0])], ids=["the worse one", "the better one"])
def test_a_control_competes_with_the_users_other_pairs(control: int, listed: list[int]) -> None:
    """One user with one place left; campaign 0 is worth 10, campaign 1 is worth 1."""
    user, campaign, value = np.zeros(2, np.int64), np.arange(2), np.array([10.0, 1.0])
    room = np.ones(2, np.int64)
    found = choose_controls(user, campaign, value, campaign == control, room, np.array([1]), np.zeros(2))
    assert np.flatnonzero(found).tolist() == listed


@pytest.mark.parametrize("exact_pairs", [100_000, 0], ids=["exact", "by prices"])
def test_controls_are_their_share_of_all_that_are_listed(exact_pairs: int) -> None:
    share, users, campaigns = 0.3, 3_000, 4
    draw = np.random.default_rng(11)
    user, campaign = np.repeat(np.arange(users), campaigns), np.tile(np.arange(campaigns), users)
    value = draw.gamma(1, 1, users)[user] * (0.5 + draw.random(len(user)))  # who is keen on one is keen on all
    capacity, left = np.array([200, 500, 300, 400]), draw.integers(0, 3, users)
    control = is_control([f"u{number}" for number in user], [f"c{number}" for number in campaign], share)
    found = allocate(*(array[~control] for array in (user, campaign, value)), capacity, left, exact_pairs)
    assert found.exact == (exact_pairs > 0)
    assert (found.prices > 0).all()
    controls = choose_controls(user, campaign, value, control, capacity, left, found.prices)
    left_out = np.bincount(campaign[controls], minlength=campaigns)
    listed = left_out + np.bincount(campaign[~control][found.chosen], minlength=campaigns)
    assert (np.abs(left_out - share * listed) <= 4 * np.sqrt(listed * share * (1 - share))).all()
    among_themselves = np.flatnonzero(control)[
        choose(user[control], campaign[control], value[control], left, found.prices)
    ]
    assert len(among_themselves) > 1.1 * controls.sum(), "were they to compete with each other alone, too many"


def test_a_budget_and_an_audience_are_both_limits() -> None:
    most, budget = np.array([10.0, np.nan, 10.0, np.nan]), np.array([np.nan, 0.3, 0.3, np.nan])
    found = capacities(most, budget, contact_cost=0.1)
    assert found[:3].tolist() == [10, 3, 3]
    assert found[3] > 1e9  # no limit
    assert capacities(most, budget - 0.5, 0.1)[:3].tolist() == [10, 0, 0]  # more has been spent than there was
    assert capacities(most, budget, 0.0)[:3].tolist() == [10, found[3], 10]


def test_nobody_and_nothing() -> None:
    none = np.empty(0, np.int64)
    found = allocate(none, none, np.empty(0), np.array([3]), none)
    assert (found.value, found.upper_bound, found.gap, len(found.chosen)) == (0.0, 0.0, 0.0, 0)


def test_a_pair_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        allocate(np.array([0, 0]), np.array([0, 0]), np.ones(2), np.array([2]), np.array([2]))


def test_controls_are_a_share_by_a_hash_that_can_be_recomputed() -> None:
    users = [f"u{number}" for number in range(4_000)]
    control = is_control(users, ["c1"] * len(users), 0.1, seed=7)
    assert 0.08 < control.mean() < 0.12
    digest = hashlib.sha256(b"7|c1|u5").hexdigest()[:13]
    assert control[5] == (int(digest, 16) / 16**13 < 0.1)
    assert (is_control(users[::-1], ["c1"] * len(users), 0.1, seed=7) == control[::-1]).all()
    assert (is_control(users, ["c2"] * len(users), 0.1, seed=7) != control).any()
    assert not is_control(users, ["c1"] * len(users), 0.0).any()
    assert is_control(users, ["c1"] * len(users), 1.0).all()
