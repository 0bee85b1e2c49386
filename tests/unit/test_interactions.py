"""Purchase lines as codes: what is kept in order, and what a part of them keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.interactions import GUEST, Interactions, from_frame

LINES = st.lists(
    st.tuples(st.sampled_from(["u1", "u2", None]), st.sampled_from("abcd"), st.integers(0, 5), st.integers(1, 4)),
    min_size=1,
    max_size=25,
)


def made(lines: list[tuple[str | None, str, int, int]]) -> Interactions:
    table = pd.DataFrame(lines, columns=["user_id", "item_id", "day", "quantity"])
    table["event_date"] = np.datetime64("2024-01-01") + table["day"].to_numpy("timedelta64[D]")
    return from_frame(table.assign(basket_id=[f"b{number % 3}" for number in range(len(table))]))


def told(part: Interactions) -> list[tuple[str | None, str, int, float]]:
    users = [None if code == GUEST else str(part.users[code]) for code in part.user]
    return list(zip(users, map(str, part.items[part.item]), part.day.tolist(), part.quantity.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(LINES)
def test_a_day_of_one_item_is_one_purchase_with_its_units_added(lines) -> None:
    found = made(lines)
    start = int(np.datetime64("2024-01-01", "D").astype(int))
    expected: dict[tuple[int, str, str], float] = {}
    for user, item, day, quantity in lines:
        if user:
            key = start + day, user, item
            expected[key] = expected.get(key, 0) + quantity
    summed = {(day, user, item): quantity for user, item, day, quantity in told(found.user_days())}
    assert summed == expected
    assert [(d, u, i) for u, i, d, _ in told(found.user_days())] == sorted(expected)


@settings(max_examples=50, deadline=None)
@given(LINES, st.lists(st.integers(-1, 1), min_size=4, max_size=4))
def test_recoded_lines_are_those_lines_under_their_new_names(lines, code) -> None:
    found = made(lines)
    names = np.array(["x", "y"])
    again = found.recoded(names, np.array(code[: len(found.items)], np.int32))
    wanted = {old: code[place] for place, old in enumerate(map(str, found.items))}
    expected = [(u, str(names[wanted[i]]), d, q) for u, i, d, q in told(found) if wanted[i] >= 0]
    assert sorted(map(repr, told(again))) == sorted(map(repr, expected))
    order = list(zip(again.day.tolist(), again.user.tolist(), again.item.tolist(), strict=True))
    assert order == sorted(order)
    assert len(again.user_days()) == len({(u, i, d) for u, i, d, _ in expected if u})


def test_before_and_within_split_at_their_days() -> None:
    found = made([("u1", "a", day, 1) for day in range(6)])
    first = int(found.day.min())
    assert found.before(first + 2).day.tolist() == [first, first + 1]
    assert found.within(first + 2, first + 4).day.tolist() == [first + 2, first + 3]


def test_items_given_say_what_the_codes_are_and_drop_the_rest() -> None:
    table = pd.DataFrame(
        {
            "user_id": ["u1", "u1"],
            "item_id": ["b", "z"],
            "event_date": [np.datetime64("2024-01-01")] * 2,
            "basket_id": ["1", "1"],
            "quantity": [2, 3],
        }
    )
    found = from_frame(table, np.array(["a", "b"]))
    assert found.item.tolist() == [1]
    assert found.items.tolist() == ["a", "b"]
