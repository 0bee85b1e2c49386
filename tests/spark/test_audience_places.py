"""What the night's allocation makes of a user's contacts of the last week, and of limits that bind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.build_audiences import CONTACT_DAYS, _values
from jobs.transforms.audience_places import _allocate, _choose, allocated
from tests.unit.test_audience import FIRST, on, opened, shop
from udfs.audiences import allocation
from udfs.audiences.allocation import find_prices
from udfs.audiences.pair import fit_pair
from udfs.audiences.rows import training_rows

TONIGHT = FIRST + 105
CAPACITY = {"a": 25, "b": 40, "c": 30}
TASKS = pytest.mark.parametrize("task", [_allocate, _choose], ids=["in one task", "by prices"])


def pairs(seed: int = 4) -> pd.DataFrame:
    """120 users, three campaigns, a tenth of the pairs controls, prices as of one place a user."""
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        [(name, f"u{number:03}") for number in range(120) for name in CAPACITY], columns=["campaign_id", "user_id"]
    )
    user, campaign = np.arange(len(table)) // 3, np.arange(len(table)) % 3
    value, control = draw.gamma(1, 1, len(table)), draw.random(len(table)) < 0.1
    room = np.array(list(CAPACITY.values()))
    prices = find_prices(*(array[~control] for array in (user, campaign, value)), room, np.ones(120, np.int64))
    return table.assign(
        expected_value=value,
        is_control=control,
        recent=0,
        counted=False,
        capacity=table["campaign_id"].map(CAPACITY),
        price=prices[campaign],
    )


def listed(task: Callable[[int], Callable[[pa.Table], pa.Table]], asked: pd.DataFrame, most: int = 1) -> pd.DataFrame:
    """campaign_id, user_id, taken of the pairs that are listed."""
    found = task(most)(pa.Table.from_pandas(asked)).to_pandas().dropna(subset="campaign_id")
    found = found[["campaign_id", "user_id", "taken"]].astype({"taken": bool})
    return found.sort_values(["campaign_id", "user_id"], ignore_index=True)


@TASKS
def test_who_was_shown_a_campaign_last_night_is_shown_it_again(task) -> None:
    asked = pairs()
    first = listed(task, asked)
    taken = pd.MultiIndex.from_frame(first.loc[first["taken"], ["campaign_id", "user_id"]])
    counted = pd.MultiIndex.from_frame(asked[["campaign_id", "user_id"]]).isin(taken)
    recent = asked["user_id"].isin(taken.get_level_values("user_id")).astype(int)
    assert counted.sum() > 60
    again = listed(task, asked.assign(recent=recent, counted=counted))
    assert again[again["taken"]].to_numpy().tolist() == first[first["taken"]].to_numpy().tolist()
    dropped = listed(task, asked.assign(recent=recent))
    assert not pd.MultiIndex.from_frame(dropped[["campaign_id", "user_id"]]).isin(taken).any()


@TASKS
def test_a_campaign_shown_before_takes_no_place_of_another(task) -> None:
    table = pd.DataFrame(
        [
            # user, campaign, value, control, counted; each was contacted for one campaign, and two a week are allowed
            ("u1", "a", 9.0, False, True),  # shown before: again, and beside it one more
            ("u1", "b", 2.0, False, False),
            ("u1", "c", 1.0, False, False),
            ("u2", "a", 1.0, True, True),  # a control that competes with nobody
            ("u2", "b", 5.0, False, False),
            ("u3", "b", 5.0, False, False),  # was contacted for a campaign that is over: one place is left
            ("u3", "c", 1.0, True, False),  # a control that would not have got it
        ],
        columns=["user_id", "campaign_id", "expected_value", "is_control", "counted"],
    ).assign(recent=1, capacity=10, price=0.0)
    found = listed(task, table, most=2)
    assert set(found.itertuples(index=False, name=None)) == {
        ("a", "u1", True),
        ("b", "u1", True),
        ("a", "u2", False),
        ("b", "u2", True),
        ("b", "u3", True),
    }


def test_a_pair_is_counted_where_the_week_holds_its_impression() -> None:
    lines, ads, told, items = shop()
    running = ["k7", "k6"]  # from day 99 and from day 87
    week = pd.DataFrame(
        [
            (on(105 - CONTACT_DAYS), "u01", "k6", "impression"),  # a week ago: no more
            (on(105 - CONTACT_DAYS + 1), "u02", "k6", "impression"),
            (on(104), "u02", "k6", "impression"),  # the same campaign again
            (on(104), "u02", "k1", "impression"),  # over, but a contact
            (on(104), "u03", "k7", "click"),  # not an impression
            (on(105), "u04", "k7", "impression"),  # tonight's day itself is not known yet
        ],
        columns=ads.columns,
    )
    ads = pd.concat([ads[ads["event_date"] < on(90)], week], ignore_index=True)
    block, book = opened(lines, ads, told, items)
    models = fit_pair(training_rows(block, book, TONIGHT))
    found = _values(TONIGHT, models, 0.0)(block, book).set_index(["campaign_id", "user_id"])
    assert set(found.index.get_level_values(0)) == set(running)
    assert set(found.index[found["counted"]]) == {("k6", "u02")}
    assert found.loc["k7"]["recent"].to_dict() == dict.fromkeys(block.users, 0) | {"u02": 2}


@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "all users alike"])
def test_by_prices_in_blocks_of_users_is_near_the_best(spark, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs in one task, and the same by prices in several: found on all users, then on half of them."""
    asked = pairs().drop(columns=["capacity", "price"]).assign(is_control=False)
    if ties:
        asked["expected_value"] = asked["campaign_id"].map({"a": 3.0, "b": 2.0, "c": 1.0})
    shown = asked["user_id"].str.endswith("7")  # campaign b this week: again, and none beside it
    asked = asked.assign(recent=shown.astype(int), counted=shown & (asked["campaign_id"] == "b"))
    limits = spark.createDataFrame(list(CAPACITY.items()), "campaign_id STRING, capacity BIGINT")
    frame, value = spark.createDataFrame(asked).persist(), {}
    for name, exact_pairs, max_pairs in (("exact", 1_000, 1_000), ("all", 0, 360), ("half", 0, 180)):
        monkeypatch.setattr(allocation, "EXACT_PAIRS", exact_pairs)
        found = allocated(frame, limits, 1, max_pairs).toPandas()
        bound = found["upper_bound"].sum()
        placed = found.dropna(subset="campaign_id")[["campaign_id", "user_id"]]
        taken = placed.merge(asked, on=["campaign_id", "user_id"])
        assert len(taken) == len(placed)
        assert (taken.groupby("campaign_id").size() <= pd.Series(CAPACITY)).all()
        assert not taken.loc[~taken["counted"], "user_id"].duplicated().any()
        assert not taken.loc[~taken["counted"], "user_id"].str.endswith("7").any()
        assert not taken.duplicated(["campaign_id", "user_id"]).any()
        value[name] = taken["expected_value"].sum()
        assert value[name] <= bound + 1e-6
    assert 0.98 * value["exact"] < value["all"] <= value["exact"] + 1e-6
    assert 0.9 * value["exact"] < value["half"] <= value["exact"] + 1e-6


def test_by_prices_limits_hold_on_blocks_of_users(spark) -> None:
    asked = pairs().drop(columns=["capacity", "price"])
    limits = spark.createDataFrame(list(CAPACITY.items()), "campaign_id STRING, capacity BIGINT")
    found = allocated(spark.createDataFrame(asked), limits, 1, 180).toPandas()
    bound = found["upper_bound"].sum()
    found = found.dropna(subset="campaign_id").astype({"taken": bool})
    taken, controls = found[found["taken"]], found[~found["taken"]]
    shown = taken.groupby("campaign_id").size()
    assert (shown <= pd.Series(CAPACITY)).all()
    assert (shown == pd.Series(CAPACITY)).any(), "so that there is a last place"
    assert not taken["user_id"].duplicated().any()
    assert len(controls)
    for name, net in taken.groupby("campaign_id")["net"]:
        if shown[name] == CAPACITY[name]:
            assert (controls.loc[controls["campaign_id"] == name, "net"] >= net.min()).all()
    value = taken.merge(asked, on=["campaign_id", "user_id"])["expected_value"].sum()
    assert 0.9 * bound < value <= bound
