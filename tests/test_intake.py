"""What becomes of raw files: read once, none lost, none counted twice, whatever comes late, again or changed."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs import launch, runtime
from jobs.conf import load
from jobs.flow import INTAKE, JOBS
from jobs.ledger import REPEATED
from tests import tiny_shop
from tests.test_night import read

CATALOGUE_DAY = tiny_shop.EARLIER[0]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A shop of which only the catalogue has landed."""
    made = tiny_shop.make(tmp_path, days=0)
    for number in tiny_shop.EARLIER:
        (tmp_path / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv").unlink()
    text = made.read_text().replace("[sources.events]", "max_silent_days = 365\n\n[sources.events]", 1)
    made.write_text(text)
    return made


@pytest.fixture
def intake(conf: Path, spark: SparkSession) -> Callable[..., list[launch.Outcome]]:
    """Run the first three jobs for the shop's n-th day."""

    def run(number: int, **told: object) -> list[launch.Outcome]:
        lake = runtime.Lake(spark, load(conf))
        return [launch.run(job.name, lake, tiny_shop.day(number), **told) for job in INTAKE]

    return run


def file_of(conf: Path, number: int) -> Path:
    return conf.parent / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv"


def put(conf: Path, number: int, *lines: str) -> Path:
    """One day's file with just these lines."""
    file = file_of(conf, number)
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([tiny_shop.HEADER, *lines]) + "\n")
    return file


def sale(number: int, key: str, sku: str = "S01") -> str:
    return f"{key},U01,{sku},1,1.5,T0,{tiny_shop.day(number)} 10:00:00"


def kept(conf: Path) -> list[tuple[dt.date, dt.date, str]]:
    frame = read(conf, "silver.events").sort("run_date", "source_row")
    return frame.select("run_date", "event_date", "item_id").rows()


def reasons(conf: Path, number: int) -> list[str]:
    rejected = read(conf, "silver.rejected_events").filter(pl.col("run_date") == tiny_shop.day(number))
    return [reason for listed in rejected["reasons"] for reason in listed]


def test_what_comes_twice_counts_once_whenever_it_comes(conf, intake):
    d0, d1, d2, d3 = map(tiny_shop.day, range(4))
    first = put(conf, 0, sale(0, "a"), sale(0, "b", "S02"))
    put(conf, 1, sale(1, "c", "S03"), sale(0, "a"))
    copy = first.with_name(f"sales_again_{d1}.csv")
    copy.write_bytes(first.read_bytes())
    intake(1)
    assert kept(conf) == [(d0, d0, "S01"), (d0, d0, "S02"), (d1, d1, "S03")]
    assert reasons(conf, 1) == [REPEATED]
    assert read(conf, "bronze.events").height == 4
    files = {row["source_file"]: row for row in read(conf, "bronze.files").rows(named=True)}
    assert files[f"sales/{copy.name}"]["duplicate_of"] == f"sales/{first.name}"
    assert files[f"sales/{copy.name}"]["record_count"] == 2
    assert files[f"sales/{first.name}"]["duplicate_of"] is None

    put(conf, 3, sale(3, "d"), sale(3, "e", "S05"), sale(0, "b", "S02"), sale(2, "late", "S04"))
    again = first.with_name(f"sales_once_more_{d3}.csv")
    again.write_bytes(first.read_bytes())
    intake(3)
    assert kept(conf)[3:] == [(d3, d3, "S01"), (d3, d3, "S05"), (d3, d2, "S04")]  # late, in the partition of its file
    assert reasons(conf, 3) == [REPEATED]

    put(conf, 2, sale(2, "late", "S04"))  # the day that was late itself: its records are taken back from later days
    intake(4)
    assert kept(conf)[3:] == [(d2, d2, "S04"), (d3, d3, "S01"), (d3, d3, "S05")]
    assert reasons(conf, 3) == [REPEATED, REPEATED]


def test_a_day_that_an_older_night_takes_in_takes_its_records_back_from_later_nights(conf, intake):
    d0, d1, d3 = map(tiny_shop.day, (0, 1, 3))
    put(conf, 0, sale(0, "a"))
    first = put(conf, 3, sale(3, "c", "S03"), sale(1, "late", "S04"))
    intake(3)
    put(conf, 1, sale(1, "late", "S04"))
    copy = first.with_name(f"sales_before_{d1}.csv")  # the bytes of a file of a later day, which was read first
    copy.write_bytes(first.read_bytes())
    intake(1)  # an old date: what is later is not its business
    assert read(conf, "bronze.events").height == 4, "the copy's records are there already"
    intake(4)
    assert kept(conf) == [(d0, d0, "S01"), (d1, d1, "S04"), (d3, d3, "S03")]
    assert reasons(conf, 3) == [REPEATED]


def test_a_night_that_is_run_again_keeps_what_it_has_read_of_a_file_that_changed(conf, intake, capsys):
    put(conf, 0, sale(0, "a"))
    intake(0)
    file = file_of(conf, 0)
    file.write_text("")  # cut short by whoever moves the logs
    intake(0)
    assert f"sales/{file.name} changed since: --reingest reads the new bytes" in capsys.readouterr().err
    assert len(kept(conf)) == 1
    other = file.with_name(f"sales_b_{tiny_shop.day(0)}.csv")
    other.write_text(f"{tiny_shop.HEADER}\n{sale(0, 'b', 'S02')}\n")
    put(conf, 0, sale(0, "c", "S03"))
    intake(0)  # the whole day is replaced where one of its files is new
    assert f"sales/{file.name} (read again: its day was not done, or has another file)" in capsys.readouterr().err
    assert {item for _, _, item in kept(conf)} == {"S02", "S03"}


def test_a_file_that_was_refused_is_read_again_when_it_has_been_mended(conf, intake):
    put(conf, 0, *(sale(0, f"x{number}").replace(",1,1.5", ",one,1.5") for number in range(3)))
    with pytest.raises(runtime.DataError, match="max_rejected_share"):
        intake(0)
    put(conf, 0, sale(0, "a"))
    intake(0)
    assert len(kept(conf)) == 1


@pytest.mark.faults
def test_a_changed_file_is_noticed_and_read_again_when_told(conf, intake, spark, capsys):
    file = put(conf, 0, sale(0, "a"))
    put(conf, 1, sale(1, "c"))
    copy = file.with_name(f"sales_copy_{tiny_shop.day(1)}.csv")
    copy.write_bytes(file.read_bytes())
    intake(1)
    lake = runtime.Lake(spark, load(conf))
    file.touch()  # the same bytes, written again: no change
    launch.run("ingest_logs", lake, tiny_shop.day(1))
    assert "warning" not in capsys.readouterr().err

    put(conf, 0, sale(0, "z", "S09"))  # as many bytes
    launch.run("ingest_logs", lake, tiny_shop.day(2))
    assert f"sales/{file.name} changed since: --reingest reads the new bytes" in capsys.readouterr().err
    check = read(conf, "ops.checks").filter(pl.col("check_name") == "file_unchanged").rows(named=True)[-1]
    assert (check["severity"], check["passed"], check["unexpected_count"]) == ("warning", False, 1)
    d0, d1 = tiny_shop.day(0), tiny_shop.day(1)
    assert kept(conf) == [(d0, d0, "S01"), (d1, d1, "S01")]

    intake(2, reingest=True)
    # The copy of what the file was is no copy any more: its record has come back, late.
    assert sorted(kept(conf)) == [(d0, d0, "S09"), (d1, d0, "S01"), (d1, d1, "S01")]
    assert runtime.Lake(spark, load(conf)).work(JOBS["ingest_logs"], tiny_shop.day(2)).changed == ()


@pytest.mark.nights
def test_a_day_with_too_many_rejected_records_stops_the_night(conf, intake, spark):
    put(conf, 0, sale(0, "a"))
    intake(0)
    put(conf, 1, sale(1, "b"), *(sale(1, f"x{number}").replace(",1,1.5", ",one,1.5") for number in range(3)))
    with pytest.raises(runtime.DataError) as refused:
        intake(1)
    said = str(refused.value)
    assert "silver.cleaned_days: of a day's records no more than max_rejected_share may be rejected: 1 of 1" in said
    assert f"run_date={tiny_shop.day(1)}" in said
    assert "rows_rejected=3" in said
    assert "a purchase or return needs quantity and unit_price" in said
    assert len(kept(conf)) == 1
    assert read(conf, "silver.cleaned_days").height == 1

    lake = runtime.Lake(spark, load(conf))
    launch.run("clean_events", lake, tiny_shop.day(1), {"max_rejected_share": 0.8})
    assert len(kept(conf)) == 2
    row = read(conf, "silver.cleaned_days").sort("run_date").rows(named=True)[-1]
    assert (row["rows_in"], row["rows_kept"], row["rows_rejected"]) == (4, 1, 3)
    assert dict(row["reasons"])["a purchase or return needs quantity and unit_price"] == 3


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("job", "done"),
    [
        ("ingest_logs", 2),
        *(pytest.param(*case, marks=pytest.mark.faults) for case in (("ingest_logs", 0), ("ingest_logs", 1))),
        *(pytest.param("clean_events", done, marks=pytest.mark.faults) for done in range(3)),
    ],
)
def test_a_job_that_stops_between_its_tables_is_not_done(conf, intake, spark, monkeypatch, job, done):
    put(conf, 0, sale(0, "a"), sale(0, "b", "S02"))
    intake(0)
    put(conf, 0, sale(0, "z", "S09"), sale(0, "y", "S08"))  # as many records as before
    real, written = runtime.Lake.replace, []

    def replace(self, table, frame, days, metadata):
        if metadata["job"] == job and len(written) == done:
            raise StoppedError
        real(self, table, frame, days, metadata)
        written.append(metadata["job"] == job and table)

    monkeypatch.setattr(runtime.Lake, "replace", replace)
    monkeypatch.setattr(launch, "ThreadPoolExecutor", OneAfterTheOther)
    with pytest.raises(StoppedError):
        intake(0, reingest=True)
    monkeypatch.undo()
    intake(0)  # an ordinary run: nothing tells it to read anything again
    d0 = tiny_shop.day(0)
    assert sorted(kept(conf)) == [(d0, d0, "S08"), (d0, d0, "S09")]
    assert read(conf, "bronze.events").height == 2


class OneAfterTheOther:
    """An executor that runs what it is given at once, so that a test can say after which commit the run ends."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, act):
        act()
        return self

    def result(self):
        return None


@pytest.mark.faults
def test_days_in_any_order_with_copies_and_late_rows_end_in_the_same_silver(tmp_path_factory, spark):
    """Each file lands in the partition of its day, so once all have come it does not matter in which order they did."""
    week, rng = range(7), random.Random(7)
    lines = {number: tiny_shop.sales(tiny_shop.day(number))[:12] for number in week}
    for number in (2, 4, 5):  # late rows, some that are new and some that came on their own day as well
        lines[number] += [sale(number - 2, f"late-{number}"), lines[number - 2][0], lines[number - 1][1]]
    ends = []
    for order in (list(week), rng.sample(list(week), 7), list(week)[::-1]):
        root = tmp_path_factory.mktemp("replay")
        made = tiny_shop.make(root, days=0)
        made.write_text(made.read_text().replace("[sources.events]", "max_silent_days = 365\n\n[sources.events]", 1))
        lake = runtime.Lake(spark, load(made))
        for place in range(0, 7, 2):
            for number in order[place : place + 2]:
                put(made, number, *lines[number])
                if number == 3:
                    copy = file_of(made, number).with_name(f"sales_copy_{tiny_shop.day(3)}.csv")
                    copy.write_bytes(file_of(made, 3).read_bytes())
            for job in INTAKE:
                launch.run(job.name, lake, tiny_shop.day(6))
        tables = ("bronze.events", "silver.events", "silver.rejected_events", "silver.cleaned_days")
        ends.append({table: sorted(map(repr, read(made, table).rows())) for table in tables})
    for table, rows in ends[0].items():
        assert [end[table] == rows for end in ends] == [True] * 3, table
    repeated = [row for row in ends[0]["silver.rejected_events"] if REPEATED in row]
    assert len(repeated) == 6
