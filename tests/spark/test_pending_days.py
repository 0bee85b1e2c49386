"""Which days a night is about to read: silence up to its date, files named by their export, a machine's own clock."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.flow import JOBS
from jobs.ingest_logs import ingest_logs
from jobs.runner.lake import Lake
from jobs.runner.landing import Landing
from jobs.runner.pending_days import PendingDays, work_of
from schemas import bronze
from schemas.deployment import load
from schemas.errors import ConfError
from tests.conftest import run_of
from tests.support import tiny_shop

DAY = tiny_shop.day(0)
READING = JOBS["ingest_logs"]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A tiny shop with the files of days 0 to 3 beside the earlier ones."""
    return tiny_shop.make(tmp_path, days=4)


def change(conf: Path, old: str, new: str) -> None:
    text = conf.read_text()
    assert old in text
    conf.write_text(text.replace(old, new, 1))


def work(spark: SparkSession, conf: Path, number: int, since: dt.date | None = None) -> PendingDays:
    return work_of(Lake(spark, load(conf)), READING, tiny_shop.day(number), since)


def read_in(spark: SparkSession, conf: Path, rows: Callable, number: int) -> None:
    """bronze.files as ingest_logs leaves it after the n-th day."""
    lake = Lake(spark, load(conf))
    days = work_of(lake, READING, tiny_shop.day(number)).days
    found = (lake.landing.read(kind, days) for kind in ("events", "items", "records"))
    made = ingest_logs(*found, rows(bronze.FILES), run=run_of(tiny_shop.day(number), lake.deployment))
    lake.replace("bronze.files", made["bronze.files"], days, {})


def test_a_date_far_ahead_in_a_file_s_name_does_not_end_the_alarm_of_silence(spark, conf):
    tiny_shop.write_day(conf.parent / "landing", dt.date(2062, 3, 1))
    assert tiny_shop.day(4) in work(spark, conf, 4).days
    with pytest.raises(ConfError, match=rf"is 2 days after the newest raw file of .* \({tiny_shop.day(3)}\)"):
        work(spark, conf, 5)


def test_a_file_named_by_the_day_of_its_export_is_of_the_day_before(spark, conf):
    change(conf, 'files = "sales/*"', 'files = "sales/*"\nday_offset = -1')
    sales = [file for file in Landing(spark, load(conf)).files("events") if file.day >= DAY - dt.timedelta(days=1)]
    assert [(str(file.day), file.name) for file in sales] == [
        (str(tiny_shop.day(number - 1)), f"sales/sales_{tiny_shop.day(number)}.csv") for number in range(4)
    ]


def test_files_that_get_another_day_are_read_again_or_the_night_is_refused(spark, conf, rows):
    read_in(spark, conf, rows, 3)
    assert work(spark, conf, 3).days == [tiny_shop.day(3)]
    change(conf, 'files = "sales/*"', 'files = "sales/*"\nday_offset = -1')
    first = tiny_shop.day(tiny_shop.EARLIER[0]) - dt.timedelta(days=1)
    with pytest.raises(ConfError, match=rf"\[sources.events\] day and day_offset give .*--since {first}"):
        work(spark, conf, 3)
    days = work(spark, conf, 3, since=first).days
    assert {first, tiny_shop.day(2), tiny_shop.day(3)} <= set(days), "the day that has lost its file is emptied"


@pytest.fixture
def machine(spark: SparkSession) -> Iterator[Callable[[str], None]]:
    """Set the clock of the driver, Python's and Java's, to a time zone."""
    zones = spark.sparkContext._jvm.java.util.TimeZone
    before, environment = zones.getDefault(), os.environ.get("TZ")

    def put(zone: str) -> None:
        os.environ["TZ"] = zone
        time.tzset()
        zones.setDefault(zones.getTimeZone(zone))

    yield put
    os.environ.pop("TZ")
    if environment is not None:
        os.environ["TZ"] = environment
    time.tzset()
    zones.setDefault(before)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_the_clock_of_the_machine_has_no_file_read_again(spark, conf, rows, machine, monkeypatch, zone):
    machine(zone)
    read_in(spark, conf, rows, 2)
    real, hashed = Landing.contents, []

    def contents(self, files):
        hashed.extend(files)
        return real(self, files)

    monkeypatch.setattr(Landing, "contents", contents)
    assert work(spark, conf, 3).days == [tiny_shop.day(3)]
    machine("UTC")  # moved to another machine
    assert work(spark, conf, 3).days == [tiny_shop.day(3)]
    assert hashed == []
