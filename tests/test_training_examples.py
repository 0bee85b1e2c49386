"""What the encoder is trained and checked on: never the future, the same every time."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jobs import runtime, train_model
from jobs.purchases import purchases
from schemas import silver
from tests.conftest import Rows

RUN_DATE = dt.date(2024, 1, 31)
CUT = RUN_DATE - dt.timedelta(days=10)
NAMES = [f"i{number:02}" for number in range(10)]
KNOBS = {"train_days": 20, "baskets_per_user": 3, "items_per_basket": 2, "max_items": 4}


def sale(user_id: str | None, item_id: str, day: dt.date, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def drawn(seed: int) -> list[dict[str, Any]]:
    """Sixty days of purchases of a few users and guests, the last ten of them after the cut."""
    draw = random.Random(seed)
    users = ["u0", "u1", "u2", "u3", None]
    return [
        sale(draw.choice(users), draw.choice(NAMES), RUN_DATE - dt.timedelta(days=draw.randrange(60)), basket_id="b")
        for _ in range(100)
    ]


def catalogue() -> list[dict[str, Any]]:
    return [{"item_id": name, "title": f"Title {name}", "text": f"text {name}"} for name in NAMES]


def history(events: list[dict[str, Any]], user: str, before: dt.date, max_items: int) -> str:
    """What a user had bought before a day, the most recent first, by hand."""
    mine = [event for event in events if event["user_id"] == user and event["event_date"] < before]
    days = {name: [event["event_date"] for event in mine if event["item_id"] == name] for name in NAMES}
    order = sorted((-max(on).toordinal(), -len(on), name) for name, on in days.items() if on)
    return "; ".join(f"title {name}" for *_, name in order[:max_items])


def table_of(frame: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.select("user_id", "history", "item_text", "item_count").collect())


def test_a_history_ends_before_the_day_of_its_target(rows: Rows) -> None:
    events = [event for event in drawn(1) if event["event_date"] <= CUT]
    bought = purchases(rows(silver.EVENTS, *events)).where("user_id IS NOT NULL")
    items = rows(silver.ITEMS, *catalogue())
    found = table_of(train_model.training_examples(bought, items, CUT, **KNOBS))

    # Every example that may be drawn: user -> day -> (history, items of that day), each history by hand.
    possible: dict[str, dict[dt.date, tuple[str, set[str]]]] = {}
    for user in ("u0", "u1", "u2", "u3"):
        days = sorted({event["event_date"] for event in events if event["user_id"] == user})
        for day in days[1:]:  # the first has no history
            if day > CUT - dt.timedelta(days=KNOBS["train_days"]):
                here = {f"text {e['item_id']}" for e in events if (e["user_id"], e["event_date"]) == (user, day)}
                possible.setdefault(user, {})[day] = (history(events, user, day, KNOBS["max_items"]), here)
    sold = [event["item_id"] for event in events if event["user_id"]]
    for user, past, text, count in found:
        assert any(past == known and text in here for known, here in possible[user].values()), (user, past, text)
        assert count == sold.count(text.removeprefix("text "))
    # As many as the knobs allow, and no more.
    for user, days in possible.items():
        mine = [row for row in found if row[0] == user]
        most = sorted((min(KNOBS["items_per_basket"], len(here)) for _, here in days.values()), reverse=True)
        assert len({row[1] for row in mine}) == min(KNOBS["baskets_per_user"], len(days))
        assert 0 < len(mine) <= sum(most[: KNOBS["baskets_per_user"]])
    assert {row[0] for row in found} == set(possible)


def test_one_basket_is_no_example(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "i01", CUT),  # the only day of u1: nothing before it
        sale("u1", "i02", CUT),
        sale("u2", "i01", CUT - dt.timedelta(days=20)),  # history, the day after which the training days begin
        sale("u2", "i02", CUT - dt.timedelta(days=19)),  # the first day that may be a target
        sale("u3", "i01", CUT - dt.timedelta(days=30)),
        sale("u3", "i02", CUT - dt.timedelta(days=20)),  # too long ago to be a target
    )
    found = train_model.training_examples(purchases(events), rows(silver.ITEMS, *catalogue()), CUT, **KNOBS)
    assert table_of(found) == [("u2", "title i01", "text i02", 3)]


class Caught(Exception):  # noqa: N818 (it is no error)
    """What fine_tune was given."""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> Callable[[list[dict[str, Any]]], pd.DataFrame]:
    """The examples that train_model hands to fine_tune, which is not run."""

    def fine_tune(table: pd.DataFrame, *_: Any, **__: Any) -> None:
        raise Caught(table)

    monkeypatch.setattr(train_model, "fine_tune", fine_tune)
    monkeypatch.setattr(train_model.encoder, "base_folder", lambda: Path("/nowhere"))

    def made(events: list[dict[str, Any]]) -> pd.DataFrame:
        with pytest.raises(Caught) as caught:
            train_model.train_model(
                rows(silver.EVENTS, *events),
                rows(silver.ITEMS, *catalogue()),
                run_date=RUN_DATE,
                publish_model=str,
                horizon_days=10,
                **KNOBS,
            )
        table: pd.DataFrame = caught.value.args[0]
        return table

    return made


def unmoved(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that nothing u0 buys after the cut may change."""
    return table[(table["split"] == "train") | (table["user_id"] != "u0")].reset_index(drop=True)


def test_what_trains_ends_at_the_cut_and_what_checks_begins_after_it(
    tables: Callable[[list[dict[str, Any]]], pd.DataFrame],
) -> None:
    events = drawn(2)
    table = tables(events)
    assert list(table.columns) == ["split", "user_id", "history", "item_text", "item_count"]
    after: dict[str, set[str]] = {}
    for event in events:
        if event["event_date"] > CUT and event["user_id"]:
            after.setdefault(event["user_id"], set()).add(f"text {event['item_id']}")
    checks = table[table["split"] == "validation"]
    for row in checks.itertuples():
        assert row.item_text in after[row.user_id]
        assert row.history == history(events, row.user_id, CUT + dt.timedelta(days=1), KNOBS["max_items"])
    assert checks.groupby("user_id").size().to_dict() == {user: min(2, len(got)) for user, got in after.items()}

    # Whatever u0 buys after the cut, and in whatever order the rows come: all else is the same.
    random.Random(3).shuffle(events)
    again = tables(
        [
            event | {"item_id": "i00"} if event["user_id"] == "u0" and event["event_date"] > CUT else event
            for event in events
        ]
    )
    assert (table["split"] == "train").sum() > 10
    pd.testing.assert_frame_equal(*(unmoved(made) for made in (again, table)))


def test_too_little_to_train_on_is_refused(rows: Rows) -> None:
    events = rows(silver.EVENTS, sale("u1", "i01", CUT), sale("u1", "i02", RUN_DATE))  # one day up to the cut
    with pytest.raises(runtime.DataError, match="too few purchases to train on: 10 days before 2024-01-31"):
        train_model.train_model(
            events, rows(silver.ITEMS, *catalogue()), run_date=RUN_DATE, publish_model=str, horizon_days=10
        )
