"""bench.compare_nights: what two lakes' nights were worth, by lists small enough to judge by hand."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pandas as pd
import pytest
from deltalake import write_deltalake

from bench.compare_nights import compared

NIGHT = dt.date(2024, 3, 10)
LATER = dt.date(2024, 4, 7)  # 28 days after it


def lake(root: Path, scored: dict[str, list[str]]) -> Path:
    """A shop in which u1 and u2 bought a before the night, u1 a and c after it, u2 b; `scored`: each one's ranking."""

    def write(table: str, rows: list[dict[str, object]]) -> None:
        write_deltalake(str(root / table), pd.DataFrame(rows), partition_by=["run_date"])

    bought = [("u1", "a", 1), ("u2", "a", 2), ("u1", "a", 12), ("u1", "c", 30), ("u2", "b", 11), ("u2", "c", 60)]
    days = [(user, item, dt.date(2024, 3, 1) + dt.timedelta(days=day - 1)) for user, item, day in bought]
    same = {"event_type": "purchase", "quantity": 1}
    write(
        "silver/events",
        [{"run_date": day, "user_id": user, "item_id": item, "event_date": day, **same} for user, item, day in days]
        + [{"run_date": LATER, "user_id": "u2", "item_id": "c", "event_date": LATER, **same, "event_type": "return"}],
    )
    write("silver/items", [{"run_date": LATER, "item_id": item} for item in "abc"])
    write(
        "features/candidates",
        [
            {"run_date": NIGHT, "user_id": user, "item_id": item, "score": -place, "times_bought": int(item == "a")}
            for user, items in scored.items()
            for place, item in enumerate(items)
        ],
    )
    return root


def test_the_second_night_is_held_against_the_first_user_by_user(tmp_path: Path) -> None:
    first = lake(tmp_path / "first", {"u1": ["a", "b", "c"], "u2": ["a", "b", "c"]})
    second = lake(tmp_path / "second", {"u1": ["a", "c", "b"], "u2": ["c", "a"]})
    found = {(row.conf, row.task): row for row in compared(NIGHT, [("one", first), ("two", second)])}
    third, ideal = 1 / math.log2(4), 1 + 1 / math.log2(3)
    one, two = [(1 + third) / ideal, 1 / math.log2(3)], [1.0, 0.0]  # of u1 and u2
    assert found["one", "A"].ndcg.value == pytest.approx(sum(one) / 2)
    assert found["two", "A"].ndcg.value == pytest.approx(sum(two) / 2)
    assert found["one", "A"].lead is None
    lead = found["two", "A"].lead
    assert lead is not None
    assert lead.value == pytest.approx(sum(two) / sum(one) - 1)
    # What is new to them: u1 bought c, u2 b; a is left out of the lists.
    assert found["one", "B"].ndcg.value == pytest.approx((1 / math.log2(3) + 1) / 2)
    assert found["two", "B"].ndcg.value == pytest.approx((1 + 0) / 2)
    assert {row.users for row in found.values()} == {2}


def test_a_lake_that_does_not_know_what_followed_is_named(tmp_path: Path) -> None:
    there = lake(tmp_path / "there", {"u1": ["a"]})
    with pytest.raises(LookupError, match="there/silver/items has no partition 2024-04-08"):
        list(compared(NIGHT + dt.timedelta(days=1), [("there", there)]))
