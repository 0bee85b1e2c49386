"""Other choices for drawn places, valued by what was bought: the truth known, and rows that cannot be weighed."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from jobs.value_policies import value_policies
from schemas import gold, readouts, silver
from schemas.errors import ConfError, DataError
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 1, 31)
LAST = dt.date(2024, 1, 24)  # a week before
POOL, USERS, NIGHTS = 5, 300, 4
CHANCE = np.array([0.6, 0.4, 0.3, 0.2, 0.1])  # that the pool's first, second, ... item is bought


def drawn(user: str, day: dt.date, rank: int, item: str, pool_place: int | None, **more: Any) -> dict[str, Any]:
    stated = {"run_date": day, "user_id": user, "rank": rank, "item_id": item, "score": 0.1, "is_explored": True}
    return stated | {"propensity": 1 / POOL, "pool_place": pool_place} | more


@pytest.fixture
def draws() -> list[tuple[dict[str, Any], bool]]:
    """Two drawn places of each list, and whether what was drawn is bought within the week."""
    draw = np.random.default_rng(8)
    found = []
    for night in range(NIGHTS):
        day = LAST - dt.timedelta(days=night)
        for number in range(USERS):
            for rank, place in zip((9, 10), draw.permutation(POOL)[:2] + 1, strict=True):
                row = drawn(f"u{number}", day, rank, f"n{night}i{place}", int(place))
                found.append((row, bool(draw.random() < CHANCE[place - 1])))
    return found


def tables(rows: Rows, draws: list[tuple[dict[str, Any], bool]]) -> tuple[DataFrame, DataFrame]:
    """With rows that count for nothing: a place not drawn, a draw of too late a date, a purchase before the draw."""
    listed = [row for row, _ in draws]
    day, user = listed[0]["run_date"], listed[0]["user_id"]
    listed += [drawn(user, day, 1, "sure", None, is_explored=False, propensity=1.0)]
    listed += [drawn(user, RUN_DATE, 9, "late", 1)]
    sold = [
        (row["user_id"], row["item_id"], row["run_date"] + dt.timedelta(days=7)) for row, is_sold in draws if is_sold
    ]
    sold += [(row["user_id"], row["item_id"], row["run_date"]) for row, is_sold in draws if not is_sold]
    events = [
        {
            "event_id": f"e{number}",
            "event_type": "purchase",
            "user_id": user,
            "item_id": item,
            "event_date": day,
            "run_date": day,
            "quantity": 1.0,
        }
        for number, (user, item, day) in enumerate([*sold, (user, "sure", day + dt.timedelta(days=1))])
    ]
    return rows(silver.EVENTS, *events), rows(gold.RECOMMENDATIONS, *listed)


def test_values_are_those_of_plain_python_and_hold_the_truth(
    rows: Rows, draws: list[tuple[dict[str, Any], bool]]
) -> None:
    found = value_policies(*tables(rows, draws), run=run_of(RUN_DATE)).persist()
    assert broken(readouts.POLICIES, found) == []
    by_name = {(row.policy, row.estimator): row for row in found.collect()}
    assert len(by_name) == 9
    truth = {"best": CHANCE[:2].mean(), "upper_half": CHANCE[:3].mean(), "drawn": CHANCE.mean()}
    for (policy, estimator), row in by_name.items():
        assert row.low < truth[policy] < row.high, (policy, estimator)
        assert (row.places, row.users) == (len(draws), USERS)
    expected: dict[str, list[float]] = defaultdict(list)
    for row, is_sold in draws:
        place = row["rank"] - 8
        expected["best"].append(POOL * (row["pool_place"] == place) * is_sold)
        expected["upper_half"].append(POOL / 3 * (row["pool_place"] <= 3) * is_sold)
        expected["drawn"].append(is_sold)
    for policy, values in expected.items():
        assert by_name[policy, "ips"].value == pytest.approx(np.mean(values))
    assert by_name["best", "ips"].max_weight == pytest.approx(POOL)
    chosen = sum(row["pool_place"] == row["rank"] - 8 for row, _ in draws)
    assert by_name["best", "ips"].ess == pytest.approx(chosen)
    assert by_name["drawn", "ips"].ess == pytest.approx(len(draws))


def test_few_draws_have_no_value_and_none_no_row(rows: Rows, draws: list[tuple[dict[str, Any], bool]]) -> None:
    few = value_policies(*tables(rows, draws[:150]), run=run_of(RUN_DATE)).collect()
    values = {row.policy: (row.value is None, row.low is None, row.ess < 100) for row in few}
    assert values == {"best": (True, True, True), "upper_half": (True, True, True), "drawn": (False, False, False)}
    events, listed = tables(rows, draws[:2])
    none = value_policies(events, listed.where("NOT is_explored"), run=run_of(RUN_DATE))
    assert none.count() == 0


@pytest.mark.parametrize("wrong", [{"propensity": None}, {"propensity": 0.0}, {"pool_place": None}])
def test_a_drawn_place_that_cannot_be_weighed_is_refused(
    rows: Rows, draws: list[tuple[dict[str, Any], bool]], wrong: dict[str, Any]
) -> None:
    draws[3] = (draws[3][0] | wrong, False)
    name, value = next(iter(wrong.items()))
    with pytest.raises(DataError, match=rf"1 drawn places .* run_date={LAST} .*{name} = {value}"):
        value_policies(*tables(rows, draws[:20]), run=run_of(RUN_DATE))


def test_days_of_no_length_are_refused(rows: Rows, draws: list[tuple[dict[str, Any], bool]]) -> None:
    with pytest.raises(ConfError, match="dates and days must be at least 1"):
        value_policies(*tables(rows, draws[:2]), run=run_of(RUN_DATE), days=0)
