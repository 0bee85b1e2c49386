"""Raw files that change with a day: other columns, another delimiter, another unit, and what a file has too much."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from jobs.clean_events import clean_events
from jobs.commands import summary
from jobs.runner.lake import Lake
from jobs.transforms import mapping
from schemas import bronze, silver
from schemas.deployment import load
from schemas.errors import ConfError
from schemas.source import Source
from tests.conftest import run_of
from tests.nights.test_night import intake, partition, read
from tests.support import tiny_shop

# From day 14 on: semicolons, the customer is called client, amounts are in pence, tills are left out, returns say so.
CHANGE = """
[[sources.events.changes]]
from = 2024-03-15
delimiter = ";"
columns = ["line_id", "client", "sku", "units", "pence", "at"]
map.user_id = "client"
map.unit_price = "pence / 100 / abs(units)"
map.location_id = false
reject."amount is negative" = "log.pence < 0"
reject."no client" = "log.client IS NULL"

"""


def clean(deployment, rows, *records):
    """What clean_events makes of these records of a shop with one item and nothing before."""
    items, none = rows(silver.ITEMS, {"item_id": "S01"}), rows(silver.REJECTED_ITEMS)
    records = rows(bronze.EVENTS, *records)
    return clean_events(
        records, rows(bronze.FILES), items, none, rows(silver.EVENTS), run=run_of(tiny_shop.day(14), deployment)
    )


def with_change(conf: Path, change: str = CHANGE) -> Path:
    conf.write_text(conf.read_text().replace("[sources.items]", change + "[sources.items]"))
    return conf


def write_changed(conf: Path, number: int, extra: list[str]) -> None:
    """One day's file in its new form: the same sales."""
    lines = []
    for line in tiny_shop.sales(tiny_shop.day(number)):
        line_id, customer, sku, units, amount, _, at = line.split(",")
        lines.append(";".join((line_id, customer, sku, units, f"{float(amount) * 100:.0f}", at)))
    file = conf.parent / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv"
    file.write_text("\n".join(["line_id;client;sku;units;pence;at", *lines, *extra]) + "\n")


@pytest.fixture
def conf(tmp_path):
    return tiny_shop.make(tmp_path, days=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", r"sources.events.changes.0.from: missing key"),
        ('from = "2024-03-15"', r"changes.0.from: must be a date like 2017-07-01, without quotes or time, not '2024-"),
        ("from = 2024-03-15T10:00:00", r"changes.0.from: must be a date like 2017-07-01, without quotes or time"),
        ("from = 2024-03-15", "changes.0: from 2024-03-15: changes nothing; it may name columns, delimiter, encoding"),
        ('from = 2024-03-15\nfiles = "x"', "sources.events.changes.0.files: unknown key"),
        ("from = 2024-03-15\ncolumns = []", "changes.0.columns: List should have at least 1 item"),
        (
            'from = 2024-03-15\ndelimiter = ";;"',
            "changes.0.delimiter: String should have at most 1 character, not ';;'",
        ),
        ('from = 2024-03-15\nencoding = "klingon"', "changes.0.encoding: unknown encoding 'klingon'"),
        ("from = 2024-03-15\nmap.user_id = true", "changes.0.map.user_id: must be SQL, or false to drop .* not True"),
        ('from = 2024-03-15\nreject."x" = 3', "changes.0.reject.x: must be SQL, or false to drop .* not 3"),
        ("from = 2024-03-15\nmap.query = false", "changes from 2024-03-15: map 'query' = false: there is none to drop"),
        ('from = 2024-03-15\nreject."x" = false', "changes from 2024-03-15: reject 'x' = false: there is none to drop"),
        (
            'from = 2024-03-15\nmap.happened = "at"',
            r"\[sources.events.map\] as of 2024-03-15: happened: no such column; silver.events has",
        ),
        (
            "from = 2024-03-15\nmap.occurred_at = false",
            r"\[sources.events.map\] as of 2024-03-15: occurred_at: missing, and silver.events requires it",
        ),
        (
            'from = 2024-03-15\ndelimiter = ";"\n[[sources.events.changes]]\nfrom = 2024-03-15\ndelimiter = "|"',
            "changes from 2024-03-15 stand after those from 2024-03-15: dates must ascend",
        ),
        (
            'from = 2024-03-15\ndelimiter = ";"\n[[sources.events.changes]]\nfrom = 2024-02-15\ndelimiter = "|"',
            "changes from 2024-02-15 stand after those from 2024-03-15: dates must ascend",
        ),
    ],
)
def test_a_change_that_does_not_fit_is_refused_with_file_and_key(conf, change, message):
    with pytest.raises(ConfError, match=message) as caught:
        load(with_change(conf, f"[[sources.events.changes]]\n{change}\n"))
    assert str(caught.value).startswith(f"{conf}: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('map.user_id = "client"\n', "", r"\[sources.events.map\] as of 2024-03-15: user_id = 'customer': .*customer"),
        ("pence / 100", "penny / 100", r"\[sources.events.map\] as of 2024-03-15: unit_price = 'penny / 100.*penny"),
        (
            "log.pence < 0",
            "log.amount < 0",
            r"\[sources.events.reject\] as of 2024-03-15: 'amount is negative' = .*amount",
        ),
    ],
)
def test_the_sql_of_every_version_is_checked(conf, spark, old, new, message):
    assert old in CHANGE
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: " + message):
        mapping.check_mappings(spark, load(with_change(conf, CHANGE.replace(old, new))))


def test_changes_add_up_in_the_order_of_their_days():
    source = Source.model_validate(
        {
            "files": "*",
            "columns": ["a", "b"],
            "map": {"x": "a", "y": "b"},
            "reject": {"bad": "a > 1"},
            "changes": [
                {"from": dt.date(2024, 2, 1), "columns": ["a", "c"], "map": {"y": "c"}, "reject": {"worse": "c > 1"}},
                {"from": dt.date(2024, 3, 1), "delimiter": ";", "map": {"x": False}, "reject": {"bad": False}},
            ],
        }
    )
    january, february, march = (source.on(dt.date(2024, month, 1)) for month in (1, 2, 3))
    assert source.on(dt.date(2024, 1, 31)) == january
    assert (january.columns, january.delimiter, january.map) == (["a", "b"], ",", {"x": "a", "y": "b"})
    assert (february.columns, february.delimiter, february.map) == (["a", "c"], ",", {"x": "a", "y": "c"})
    assert february.reject == {"bad": "a > 1", "worse": "c > 1"}
    assert (march.columns, march.delimiter, march.map) == (["a", "c"], ";", {"y": "c"})
    assert march.reject == {"worse": "c > 1"}


def test_each_record_is_mapped_by_the_version_of_its_day(conf, spark, rows):
    deployment = load(with_change(conf))
    of_old = {
        "run_date": tiny_shop.day(13),
        "raw": "old",
        "fields": ["1", "U01", "S01", "2", "3.0", "T0", f"{tiny_shop.day(13)} 10:00:00"],
    }
    of_new = {
        "run_date": tiny_shop.day(14),
        "raw": "new",
        "fields": ["2", "U02", "S01", "2", "300", f"{tiny_shop.day(14)} 10:00:00"],
    }
    nobody = {**of_new, "raw": "nobody", "fields": ["3", "", *of_new["fields"][2:]]}

    def cleaned(*records):
        made = clean(deployment, rows, *records)
        kept = made["silver.events"].orderBy("run_date").select("user_id", "unit_price", "location_id").collect()
        rejected = made["silver.rejected_events"].select("raw", "reasons").collect()
        return [tuple(row) for row in kept], [tuple(row) for row in rejected]

    assert cleaned(of_old, of_new, nobody) == (
        [("U01", 1.5, "T0"), ("U02", 1.5, None)],
        [("nobody", ["no client"])],
    )
    assert cleaned(of_old) == ([("U01", 1.5, "T0")], [])
    assert cleaned(of_new) == ([("U02", 1.5, None)], [])
    assert cleaned() == ([], [])


def test_only_the_versions_of_days_that_are_there_are_read(conf, rows):
    source = load(with_change(conf)).sources["events"]

    def plan(frame):
        return frame._jdf.queryExecution().analyzed().toString()

    days = [{"run_date": tiny_shop.day(number)} for number in (13, 14)]
    assert "Union" in plan(mapping.canonical(rows(bronze.EVENTS, *days), source, silver.EVENTS))
    for day in days:
        assert "Union" not in plan(mapping.canonical(rows(bronze.EVENTS, day), source, silver.EVENTS))


def test_what_the_sql_of_the_conf_cannot_convert_is_told_by_its_type(conf, rows):
    cases = [
        ({"units": "many"}, ["quantity is no DECIMAL(18,3)", "unit_price is no DOUBLE"]),
        ({"units": "0,45"}, ["quantity is no DECIMAL(18,3)", "unit_price is no DOUBLE"]),
        ({"amount": "3,00"}, ["unit_price is no DOUBLE"]),
        ({"units": ""}, []),  # not given: that is no question of type
        ({"units": "0"}, []),  # divides by zero, though every number is one
        ({"at": "14.03.2024 10:00"}, ["occurred_at is no TIMESTAMP"]),
        ({"at": ""}, []),
    ]
    conf.write_text(conf.read_text().replace('"at"\nuser', "\"to_timestamp(at, 'yyyy-MM-dd HH:mm:ss')\"\nuser"))
    good = {"line_id": "1", "customer": "U01", "sku": "S01", "units": "2", "amount": "3.0", "till": "T0"}
    good["at"] = "2024-03-14 10:00:00"
    records = [
        {"run_date": tiny_shop.day(13), "raw": str(fields), "fields": list({**good, **fields}.values())}
        for fields, _ in cases
    ]
    rejected = clean(load(conf), rows, *records)["silver.rejected_events"].collect()
    reasons = {row["raw"]: row["reasons"] for row in rejected}
    assert len(rejected) == len(reasons) == len(cases)
    for fields, expected in cases:
        found = reasons[str(fields)]
        assert [reason for reason in found if " is no " in reason] == expected, fields
        assert ("occurred_at is missing" in found) == (fields == {"at": ""})


def test_what_the_sql_of_the_conf_makes_null_on_purpose_is_kept(conf, rows):
    conf.write_text(
        conf.read_text().replace('user_id = "customer"', 'user_id = "customer"\nposition = "try_cast(till AS INT)"')
    )
    record = {"run_date": tiny_shop.day(13), "fields": ["1", "U01", "S01", "2", "3.0", "T0", "2024-03-14 10:00:00"]}
    made = clean(load(conf), rows, record)
    (kept,) = made["silver.events"].collect()
    assert kept["position"] is None


@pytest.mark.faults
def test_nights_before_and_after_a_change_and_across_it_again(tiny_shop_conf, spark):
    conf = tiny_shop_conf
    plain = {}
    intake(conf, spark, 15)  # as the shop would be without a change
    for number in (13, 14, 15):
        plain[number] = read(conf, "silver.events").filter(pl.col("run_date") == tiny_shop.day(number))

    with_change(conf)
    for number in (14, 15):
        write_changed(conf, number, [f"x{number};;S01;1;100;{tiny_shop.day(number)} 10:00:00"])
    same = [name for name in silver.EVENTS.column_names if name not in ("event_id", "location_id")]
    drift = {"accept_drift": True}  # for the new columns have no location
    intake(conf, spark, 15, since=tiny_shop.day(13), **drift)  # three days, either side of the change, at once
    at_once = {number: partition(conf, "silver.events", number) for number in (13, 14, 15)}
    for number in (13, 14, 15):
        kept = read(conf, "silver.events").filter(pl.col("run_date") == tiny_shop.day(number))
        order = ["source_file", "source_row"]
        assert kept.select(same).sort(order).equals(plain[number].select(same).sort(order))
        assert (kept["location_id"].null_count() == 0) == (number == 13)
    rejected = read(conf, "silver.rejected_events").filter(pl.col("run_date") >= tiny_shop.day(14))
    assert rejected["reasons"].to_list() == [["no client"], ["no client"]]

    intake(conf, spark, 14, **drift)  # and the first night after the change alone
    assert {number: partition(conf, "silver.events", number) for number in (13, 14, 15)} == at_once


@pytest.mark.faults
def test_a_catalogue_of_before_and_after_a_change_is_one(tiny_shop_conf, spark):
    conf = tiny_shop_conf
    change = """
[[sources.items.changes]]
from = 2024-03-10
columns = ["article", "label", "kind", "maker"]
map.item_id = "article"
map.text = "lower(concat_ws(', ', label, kind))"
map.title = "label"
map.brand = "maker"

"""
    conf.write_text(conf.read_text().replace("[jobs.train_model]", change + "[jobs.train_model]"))
    newer = "article,label,kind,maker\nS01,Sencha,tea,Uji\nV01,Gift wrap,service,\n"
    (conf.parent / "landing" / "catalogue" / f"catalogue_{tiny_shop.day(14)}.csv").write_text(newer)
    intake(conf, spark, 14)
    items = {row["item_id"]: row for row in read(conf, "silver.items").rows(named=True)}
    assert len(items) == len(tiny_shop.skus())
    assert (items["S01"]["text"], items["S01"]["brand"], items["S01"]["record_count"]) == ("sencha, tea", "Uji", 2)
    assert (items["S02"]["title"], items["S02"]["brand"]) == ("black tea", None)
    rejected = read(conf, "silver.rejected_items")
    assert rejected["reasons"].to_list() == [["no product"], ["no product"]]


@pytest.mark.faults
def test_a_new_column_is_kept_in_bronze_and_reported_and_stops_nothing(tiny_shop_conf, spark):
    conf, day = tiny_shop_conf, tiny_shop.day(14)
    file = conf.parent / "landing" / "sales" / f"sales_{day}.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f"voucher,{header},[gift]", *(f"V7,{line},no" for line in lines)]) + "\n")
    intake(conf, spark, 14)
    kept = read(conf, "silver.events").filter(pl.col("run_date") == day)
    assert kept.height == len(lines)
    assert read(conf, "bronze.events").filter(pl.col("run_date") == day)["raw"].str.starts_with("V7,").all()

    checks = read(conf, "ops.checks").filter(pl.col("check_name") == "columns_known")
    found = dict(checks.select("run_date", pl.struct("severity", "passed", "unexpected_count")).rows())
    assert found[day] == {"severity": "warning", "passed": False, "unexpected_count": 1}
    page = (conf.parent / "lake" / "data_docs" / str(day) / "bronze.files.html").read_text()
    assert "no columns that the conf does not name" in page

    files = Lake(spark, load(conf)).rows("bronze.files", day)
    assert summary.new_columns(files, [day]) == [
        "events: 1 file with columns that the conf does not name, kept in raw alone: [gift], voucher"
    ]
    assert summary.new_columns(files, [tiny_shop.day(13)]) == []
    assert summary.new_columns(files, []) == []
