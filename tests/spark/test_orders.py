"""Orders that a later file tells again: what the intake makes of their lines, and what was bought in the end."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame

from jobs.transforms import ledger, log_days
from jobs.transforms.purchases import purchases
from schemas import bronze, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import Rows, broken

COLUMNS = ("order", "customer", "state", "sku", "units", "at")
CONF = """
name = "orders"
lake = "lake"
landing = "landing"
spark = "spark.conf"

[sources.events]
files = "*.csv"
columns = ["order", "customer", "state", "sku", "units", "at"]
replaces = "basket_id"
max_rejected_share = 1.0

[sources.events.map]
occurred_at = "at"
user_id = "customer"
item_id = "sku"
basket_id = "`order`"
quantity = "units"
unit_price = "1"
event_type = "'purchase'"

[sources.events.reject]
"refunded" = "log.state = 'refunded'"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Deployment:
    (tmp_path / "orders.toml").write_text(CONF)
    return load(tmp_path / "orders.toml")


def told(day: int, *lines: str, file: str = "orders") -> list[dict[str, Any]]:
    """Records of a file of a day of March: `order customer state sku units`, all bought on the first."""
    name, found = f"{file}_{day}.csv", []
    for number, line in enumerate(lines, start=2):
        fields = [*line.split(), "2024-03-01 10:00:00"]
        place = {"run_date": dt.date(2024, 3, day), "source_file": name, "source_row": number}
        found.append(place | {"source": "events", "fields": fields, "raw": ",".join(fields)})
    return found


def cleaned(rows: Rows, shop: Deployment, nights: list[list[dict[str, Any]]]) -> tuple[DataFrame, DataFrame]:
    """silver.events and silver.rejected_events after a run for each of these lists of records."""
    events, rejected = rows(silver.EVENTS), rows(silver.REJECTED_EVENTS)
    for records in nights:
        found = log_days.split(ledger.EVENTS, rows(bronze.EVENTS, *records), rows(bronze.FILES), events, shop)
        events = events.unionByName(found["silver.events"]).localCheckpoint()
        rejected = rejected.unionByName(found["silver.rejected_events"]).localCheckpoint()
    return events, rejected


def bought(events: DataFrame, shop: Deployment) -> list[tuple[str, str, int]]:
    """(order, item, units); a basket's last part is its number."""
    rows = purchases(events, shop).collect()
    return sorted((row.basket_id.split("\0")[-1], row.item_id, int(row.quantity)) for row in rows)


FIRST = told(1, "17 u1 paid a 5", "17 u1 paid b 1", "18 u2 paid a 1", "19 u3 paid a 2")
SECOND = told(2, "17 u1 paid a 2", "17 u1 paid b 1", "19 u3 refunded a 2", "20 u4 refunded a 1")


@pytest.mark.parametrize("nights", [[FIRST, SECOND], [FIRST + SECOND]], ids=["night by night", "one load"])
def test_the_last_telling_of_an_order_counts(rows: Rows, shop: Deployment, nights) -> None:
    events, rejected = cleaned(rows, shop, nights)
    # Fewer of a; the same line of b is no repeat; 19 was a sale and is none now; 20 never was.
    assert bought(events, shop) == [("17", "a", 2), ("17", "b", 1), ("18", "a", 1)]
    assert [row.codes for row in rejected.collect()] == [["own.refunded"]]
    assert events.count() + rejected.count() == len(FIRST) + len(SECOND)
    then = events.where("run_date = DATE'2024-03-01'")
    assert bought(then, shop) == [("17", "a", 5), ("17", "b", 1), ("18", "a", 1), ("19", "a", 2)]


def test_of_two_files_of_one_day_the_last_by_name_counts(rows: Rows, shop: Deployment) -> None:
    again = told(1, "17 u1 paid a 5", "17 u1 paid c 1", file="orders_corrected")
    events, rejected = cleaned(rows, shop, [FIRST + again])
    assert bought(events, shop) == [("17", "a", 5), ("17", "c", 1), ("18", "a", 1), ("19", "a", 2)]
    assert {row.codes[0] for row in rejected.collect()} == {"replaced_by_later_file"}


@pytest.mark.parametrize("nights", [[0, 1], [2]], ids=["night by night", "one load"])
def test_a_line_that_is_exported_again_counts_as_it_was_last(rows: Rows, shop: Deployment, nights) -> None:
    """Each line is an order of its own, with an id that stays: A1 is corrected, A2 cancelled, A3 the same, A4 new."""
    source = shop.sources["events"]
    by_line = {"map": {**source.map, "event_id": "`order`"}, "reject": {"cancelled": "log.units = 0"}}
    lines = shop.model_copy(update={"sources": {"events": source.model_copy(update=by_line)}})
    first = told(1, "A1 u1 paid a 5", "A2 u2 paid b 1", "A3 u3 paid c 1")
    again = told(2, "A1 u1 paid a 2", "A2 u2 paid b 0", "A3 u3 paid c 1", "A4 u4 paid d 1")
    events, _ = cleaned(rows, lines, [[first, again, first + again][night] for night in nights])
    assert bought(events, lines) == [("A1", "a", 2), ("A3", "c", 1), ("A4", "d", 1)]
    assert broken(silver.EVENTS, events) == []


def test_without_replaces_a_later_file_adds(rows: Rows, shop: Deployment) -> None:
    source = shop.sources["events"].model_copy(update={"replaces": ""})
    plain = shop.model_copy(update={"sources": {"events": source}})
    events, rejected = cleaned(rows, plain, [FIRST, SECOND])
    assert ("17", "a", 5) in bought(events, plain)
    assert ("17", "a", 2) in bought(events, plain)
    assert {code for row in rejected.collect() for code in row.codes} == {"duplicate_of_earlier_day", "own.refunded"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('basket_id = "`order`"\n', "", "basket_id: missing, and replaces needs it"),
        ('replaces = "basket_id"', 'replaces = "order"', "replaces"),
    ],
)
def test_a_conf_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "orders.toml").write_text(CONF.replace(old, new))
    with pytest.raises(ConfError, match=message):
        load(tmp_path / "orders.toml")
