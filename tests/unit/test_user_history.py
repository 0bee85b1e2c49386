"""The mean vector of a user's purchases: the pooled one of copurchase, and the same on every later day."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.encoder.copurchase import user_vectors
from udfs.encoder.user_history import histories, mean_vectors
from udfs.interactions import Floats, Interactions, from_frame

ITEMS = np.array([f"i{item}" for item in range(8)])
TODAY = 19_000
DRAWN = np.random.default_rng(3).normal(size=(len(ITEMS), 16))
VECTORS = np.asarray(DRAWN / np.linalg.norm(DRAWN, axis=1, keepdims=True), np.float32)
Sale = tuple[int, int, int]  # user, days ago, item


def lines_of(sales: list[Sale]) -> Interactions:
    frame = pd.DataFrame(sales, columns=["user", "ago", "item"])
    table = pd.DataFrame({"user_id": [f"u{user}" for user in frame["user"]], "item_id": ITEMS[frame["item"]]})
    table["event_date"] = pd.to_datetime(TODAY - frame["ago"], unit="D").dt.date
    return from_frame(table.assign(basket_id="b", quantity=1.0), ITEMS)


def means(bought: Interactions) -> Floats:
    days = bought.user_days()
    order = np.lexsort((days.item, days.day, days.user))
    bounds = np.searchsorted(days.user[order], np.arange(len(bought.users) + 1))
    lines = days.day[order], days.item[order], days.quantity[order]
    return mean_vectors(histories(*lines, bounds[:-1], bounds[1:]), VECTORS)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 7)), min_size=1))
def test_the_mean_vector_is_the_pooled_one_of_any_later_day(sales: list[Sale]) -> None:
    bought = lines_of(sales)
    for later in (1, 90):
        np.testing.assert_allclose(means(bought), user_vectors(bought, VECTORS, TODAY + later), atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 7)), min_size=1))
def test_a_users_vector_does_not_depend_on_other_users(sales: list[Sale]) -> None:
    together = means(lines_of(sales))
    for place, user in enumerate(sorted({sale[0] for sale in sales})):
        assert np.array_equal(means(lines_of([sale for sale in sales if sale[0] == user]))[0], together[place])


def test_without_users_there_is_no_vector() -> None:
    nothing = np.zeros(0, np.int64)
    none = histories(nothing, nothing, nothing.astype(np.float32), nothing, nothing)
    assert mean_vectors(none, VECTORS).shape == (0, 16)
