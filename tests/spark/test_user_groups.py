"""Gaps between groups of the judged users, by their attributes, as rows of an evaluation."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from jobs.offline.contenders import Contenders
from jobs.offline.evaluation_rows import LONG, NIGHT
from jobs.offline.measures import GAP, SMALLEST_GAP
from jobs.offline.user_groups import group_gaps
from schemas import silver
from tests.conftest import Rows
from udfs.days import day_number
from udfs.evaluation import metrics
from udfs.interactions import from_frame

CUT = dt.date(2024, 3, 1)
USERS = [f"u{number:02}" for number in range(60)]


def test_a_group_whose_lists_miss_has_a_gap_and_a_small_one_no_row(rows: Rows) -> None:
    """Users buy `a` before the cut and `b` after it; lists of those in the north alone show it first."""
    north = {user: place % 2 == 0 for place, user in enumerate(USERS)}
    lines = [(user, item, CUT + dt.timedelta(days=days)) for user in USERS for item, days in (("a", -9), ("b", 9))]
    table = pd.DataFrame(lines, columns=["user_id", "item_id", "event_date"])
    table = table.assign(basket_id="x", quantity=1.0, event_date=pd.to_datetime(table["event_date"]))
    interactions = from_frame(table, np.array(["a", "b"]))
    users, truth = metrics.truths(interactions, day_number(CUT))
    contest = Contenders(interactions, day_number(CUT), users, truth, LONG)
    first = np.array([[1, 0] if north[str(user)] else [0, 1] for user in contest.history.users[users]])
    contest.lists["A", NIGHT] = first
    attributes = {
        user: {"region": "north" if north[user] else "south", "club": "gold" if user < "u10" else "none"}
        for user in USERS
        if user != "u59"  # of whom nothing is known
    }
    known = rows(silver.USERS, *({"user_id": user, "attributes": of} for user, of in attributes.items()))
    found = {(row.metric, row.slice): row for row in group_gaps(contest, known, CUT)}
    lost = 1 - 1 / np.log2(3)
    assert found[GAP, "region: north"].value == pytest.approx(lost)
    assert found[GAP, "region: south"].value == pytest.approx(-lost)
    assert found[GAP, "region: north"].user_count == 30
    assert {part for _, part in found} == {"region: north", "region: south"}, "ten users are not shown"
    assert found[SMALLEST_GAP, "region: north"].low is None
    assert list(group_gaps(contest, rows(silver.USERS), CUT)) == []
