"""Which purchases count as made instead of a missing item, and how lists are judged by them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.substitutes import GAP_DAYS, cases, hits, lead, popular, shuffled

CUT = 100


def lines(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    """user, store, item, day; the need is the item's first letter."""
    table = pd.DataFrame(rows, columns=["user", "store", "item", "day"])
    return table.assign(need=table["item"].str[0])


SOLD = [("other", "s", "t1", day) for day in (60, 65, 70, 80)]  # until the 80th in store s, then not


def test_a_case_is_a_purchase_instead_of_what_the_store_lacks() -> None:
    found = cases(
        lines(*SOLD, ("u", "s", "t1", 75), ("u", "s", "b1", 85), ("u", "s", "t2", 103), ("u", "s", "t3", 103)), CUT
    )
    assert found.to_dict("records") == [
        {"user": "u", "store": "s", "item": "t1", "day": 103, "instead": frozenset({"t2", "t3"})}
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [("u", "s", "t1", 75), ("u", "s", "t1", 103)],  # it is there
        [("u", "s", "t1", 75), ("u", "s", "t2", 103), ("v", "s", "t1", 103 - GAP_DAYS + 1)],  # sold lately
        [("u", "s", "t1", 75), ("u", "x", "t2", 103)],  # another store never sold it
        [("u", "s", "t1", 75), ("u", "s", "t2", 95), ("u", "s", "t3", 103)],  # the time before it was another
        [("u", "s", "t1", 75), ("u", "s", "t2", 75), ("u", "s", "t2", 103)],  # bought that time already
        [("u", "s", "t1", 75), ("u", "s", "t2", CUT)],  # the run knows it
        [("u", "s", "t1", 75), ("u", "s", "t2", CUT + 29)],  # too late
        [("u", "s", "t1", 75), ("u", "s", "b2", 103)],  # another need
    ],
)
def test_what_is_no_case(rows: list[tuple[str, str, str, int]]) -> None:
    assert cases(lines(*SOLD, *rows), CUT).empty


def test_an_item_that_is_rarely_sold_is_not_missing() -> None:
    assert cases(lines(*SOLD[:2], ("u", "s", "t1", 75), ("u", "s", "t2", 103)), CUT).empty


def test_lists_are_judged_by_their_first_five() -> None:
    found = pd.DataFrame({"item": ["t1", "t2", "t3"], "instead": [{"t2"}, {"t9"}, {"t1"}]})
    lists = {"t1": ["t3", "t2"], "t2": ["a", "b", "c", "d", "e", "t9"]}
    assert hits(found, lists).tolist() == [1, 0, 0]


def test_the_lead_draws_users() -> None:
    users = pd.Series(["u"] * 50 + ["v"] * 50)
    middle, low, high = lead(users, np.ones(100), np.array([1.0] * 50 + [0.5] * 50))
    assert middle == pytest.approx(1 / 0.75 - 1)
    assert (low, high) == (0.0, 1.0), "one user's cases go together"


def test_popular_items_and_the_control_are_of_the_same_category() -> None:
    shares = pd.DataFrame(
        {"item": ["t1", "t2", "t3", "b1"], "need": ["t", "t", "t", "b"], "share": [0.5, 0.3, 0.2, 1.0]}
    )
    assert popular(shares) == {"t1": ["t2", "t3"], "t2": ["t1", "t3"], "t3": ["t1", "t2"], "b1": []}
    lists = {"t1": ["t2"], "t2": ["t3"], "t3": ["t1"], "b1": ["b2"]}
    control = shuffled(lists, shares)
    assert set(control) == set(lists)
    assert control["b1"] == ["b2"], "alone in its category"
    assert all(item not in listed for item, listed in control.items())
