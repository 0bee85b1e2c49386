"""The allocation against an exhaustive search, and its limits on whatever hypothesis draws."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

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
    fill,
    find_prices,
    is_control,
    without_ties,
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


class Priced(NamedTuple):
    """What prices choose, what no choice can exceed, and the prices."""

    chosen: np.ndarray
    upper_bound: float
    prices: np.ndarray


def untied(problem: Problem) -> np.ndarray:
    """The values without ties, by draws that depend on nothing but the pair."""
    user, campaign, value = problem[:3]
    return without_ties(value, (user * 0.6180339887 + campaign * 0.4142135624) % 1)


def by_prices(problem: Problem) -> Priced:
    """The allocation by prices on one machine, as jobs/transforms/audience_places.py makes it of blocks of users."""
    user, campaign, value, capacity, left = problem
    worth, useful = untied(problem), value > 0
    prices = find_prices(user[useful], campaign[useful], worth[useful], capacity, left)
    wanted = choose(user, campaign, worth, left, prices)
    chosen, net = np.zeros(len(user), bool), worth - prices[campaign]
    for number, most in enumerate(capacity):
        rows = np.flatnonzero(wanted & (campaign == number))
        chosen[rows[np.lexsort((user[rows], -net[rows]))][:most]] = True
    room = capacity - np.bincount(campaign[chosen], minlength=len(capacity))
    slots = left - np.bincount(user[chosen], minlength=len(left))
    rest = np.flatnonzero(~chosen)
    chosen[rest[fill(user[rest], campaign[rest], value[rest], room, slots)]] = True
    bound = float(prices @ capacity) + bound_terms(user, campaign, value, left, prices)
    return Priced(chosen, bound, prices)


def solved(problem: Problem) -> Priced:
    """The allocation by HiGHS."""
    found = allocate(*problem)
    return Priced(found.chosen, found.upper_bound, found.prices)


WAYS = pytest.mark.parametrize("way", [solved, by_prices], ids=["exact", "by prices"])


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
    assert found.value == pytest.approx(best)
    assert found.upper_bound == pytest.approx(best)
    assert found.gap == pytest.approx(0, abs=1e-9)
    priced = by_prices(problem)
    assert problem[2][priced.chosen].sum() <= best + 1e-9 <= priced.upper_bound + 2e-9


@WAYS
@given(problem=problems(users=12, campaigns=5, pairs=60))
@settings(max_examples=100, deadline=None)
def test_no_limit_is_exceeded(way: Callable[[Problem], Priced], problem: Problem) -> None:
    user, campaign, value, capacity, left = problem
    found = way(problem)
    assert fits(user[found.chosen], campaign[found.chosen], capacity, left)
    assert (value[found.chosen] > 0).all()
    assert found.upper_bound >= value[found.chosen].sum() - 1e-9
    assert (found.prices >= 0).all()


@given(problems(users=12, campaigns=5, pairs=60))
@settings(max_examples=100, deadline=None)
def test_by_prices_no_place_is_left_that_somebody_could_take(problem: Problem) -> None:
    user, campaign, value, capacity, left = problem
    chosen = by_prices(problem).chosen
    room = capacity - np.bincount(campaign[chosen], minlength=len(capacity))
    slots = left - np.bincount(user[chosen], minlength=len(left))
    assert not (~chosen & (value > 0) & (room[campaign] > 0) & (slots[user] > 0)).any()


@WAYS
@given(problem=problems(users=8, campaigns=4, pairs=32), random=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_input_does_not_matter(
    way: Callable[[Problem], Priced], problem: Problem, random: object
) -> None:
    user, campaign, value, capacity, left = problem
    order = np.arange(len(user))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = way(problem)
    shuffled = way((user[order], campaign[order], value[order], capacity, left))
    assert (shuffled.chosen == straight.chosen[order]).all()


def shop(ties: str = "none", users: int = 400, campaigns: int = 8) -> Problem:
    """Users of different keenness, campaigns of different worth; `ties`: of how many pairs the values are equal."""
    draw = np.random.default_rng(3)
    user, campaign = np.repeat(np.arange(users), campaigns), np.tile(np.arange(campaigns), users)
    keen, worth = draw.gamma(1, 1, users), draw.gamma(2, 1, campaigns)
    value = keen[user] * worth[campaign] * draw.random(len(user))
    if ties == "some":
        value = np.round(value, 1)
    elif ties == "groups of users":
        value = keen[user % 20] * worth[campaign]
    elif ties == "all users":
        value = worth[campaign]
    return user, campaign, value, draw.integers(10, 120, campaigns), draw.integers(0, 3, users)


@pytest.mark.parametrize("ties", ["none", "some", "groups of users", "all users"])
def test_prices_come_near_to_the_best(ties: str) -> None:
    problem = shop(ties)
    exact, priced = allocate(*problem), by_prices(problem)
    value = problem[2][priced.chosen].sum()
    assert exact.gap < 1e-9
    assert exact.value <= priced.upper_bound + 1e-6
    assert 0.995 * exact.value < value <= exact.value + 1e-6
    # Where all users are alike, prices that are improved one by one stop above the best bound; the choice is good.
    assert value > (0.9 if ties == "all users" else 0.99) * priced.upper_bound


def test_values_without_ties_are_as_good_as_the_values() -> None:
    _, _, value, *_ = problem = shop("all users")
    moved = untied(problem)
    assert len(np.unique(moved)) > 0.9 * len(moved)
    assert np.abs(moved / value - 1).max() <= 0.5e-3
    assert without_ties(np.zeros(3), np.array([0.0, 0.5, 0.9])).tolist() == [0, 0, 0]


def test_blocks_of_users_choose_by_themselves() -> None:
    """What Spark does: prices from a sample of the users, then each block alone; bound and choice are those of all."""
    user, campaign, value, capacity, left = shop()
    sample = user % 4 == 0
    prices = find_prices(user[sample], campaign[sample], value[sample], capacity // 4, left)
    blocks = [np.flatnonzero(user % 3 == number) for number in range(3)]
    chosen, terms = np.zeros(len(user), bool), 0.0
    for rows in blocks:
        chosen[rows] = choose(user[rows], campaign[rows], value[rows], left, prices)
        terms += bound_terms(user[rows], campaign[rows], value[rows], left, prices)
    assert (chosen == choose(user, campaign, value, left, prices)).all()
    assert terms == pytest.approx(bound_terms(user, campaign, value, left, prices))
    assert allocate(*shop()).value <= prices @ capacity + terms + 1e-6
    wanted = np.bincount(campaign[chosen], minlength=len(capacity))
    full = prices > 0
    assert (np.abs(wanted[full] - capacity[full]) < 0.3 * capacity[full] + 4).all(), "about as many as there are places"


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


@WAYS
def test_controls_are_their_share_of_all_that_are_listed(way: Callable[[Problem], Priced]) -> None:
    share, users, campaigns = 0.3, 3_000, 4
    draw = np.random.default_rng(11)
    user, campaign = np.repeat(np.arange(users), campaigns), np.tile(np.arange(campaigns), users)
    value = draw.gamma(1, 1, users)[user] * (0.5 + draw.random(len(user)))  # who is keen on one is keen on all
    capacity, left = np.array([200, 500, 300, 400]), draw.integers(0, 3, users)
    control = is_control([f"u{number}" for number in user], [f"c{number}" for number in campaign], share)
    found = way((user[~control], campaign[~control], value[~control], capacity, left))
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
