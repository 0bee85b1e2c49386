"""Limits of drift bind once there are enough nights, and figures are what they say."""

from __future__ import annotations

from jobs.runner import drift
from schemas import TABLES, ad_audiences, gold
from schemas.drift import Limits


def test_limits_bind_once_there_are_enough_nights():
    limits = Limits(min_nights=2, rows=0.5, changed=0.3)
    (alone,) = drift.compare({"rows": 1.0}, {1: {"rows": 100.0}}, limits)
    assert alone.passed
    (few, changed) = drift.compare({"rows": 49.0, "changed": 0.4}, {1: {"rows": 100.0}, 2: {"rows": 100.0}}, limits)
    assert (few.usual, few.low, few.high, few.passed) == (100.0, 50.0, 200.0, False)
    assert not changed.passed


def test_figures_are_what_they_say(rows):
    night_rows = [
        {"user_id": user, "rank": rank, "item_id": item, "score": score}
        for user, rank, item, score in [
            ("u1", 1, "a", 0.5),
            ("u1", 2, "b", 0.4),
            ("u2", 1, "a", 0.3),
            ("u2", 2, "c", 0.2),
        ]
    ]
    before = [dict(row) for row in night_rows[:2]] + [
        {"user_id": "u2", "rank": 1, "item_id": "c", "score": 0.3},
        {"user_id": "u3", "rank": 1, "item_id": "a", "score": 0.3},
    ]
    table = gold.RECOMMENDATIONS
    found = drift.measure(table, rows(table, *night_rows), rows(table, *before))
    assert (found["rows"], found["lists"], found["items"]) == (4, 2, 3)
    assert (found["score_low"], found["score_high"]) == (0.2, 0.5)
    assert found["changed"] == 0.5  # of u1 and u2, the second; u3 is not there tonight
    assert "changed" not in drift.measure(table, rows(table, *night_rows), None)


def test_amounts_are_held_against_the_nights_before_where_there_is_much_of_them(rows):
    ordered = [{"action": "replenish", "quantity": 30}, {"action": "alert", "quantity": 9}]
    table = gold.INVENTORY_ACTIONS
    found = drift.measure(table, rows(table, *ordered), None)
    assert found == {"rows": 2.0, "ordered_units": 30.0}
    past = {night: {"rows": 2.0, "ordered_units": 200.0} for night in range(5)}
    by_name = {figure.name: figure for figure in drift.compare(found, past, Limits(), table.amounts)}
    assert not by_name["ordered_units"].passed
    few = {night: {"rows": 2.0, "ordered_units": 3.0} for night in range(5)}
    assert drift.compare(found, few, Limits(), table.amounts)[1].high is None
    assert set(ad_audiences.AD_AUDIENCES.amounts) == {"audience", "expected_value"}


def test_every_amount_of_a_contract_can_be_computed(rows):
    for table in (table for table in TABLES.values() if table.amounts):
        assert set(drift.measure(table, rows(table, {}), None)) >= set(table.amounts), table.name
