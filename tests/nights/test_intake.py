"""What becomes of raw files: read once, none lost, none counted twice, whatever comes late, again or changed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from jobs.flow import JOBS
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.pending_days import work_of
from schemas import reason_codes
from schemas.deployment import load
from schemas.errors import ConfError, DataError
from tests.nights.test_night import read
from tests.support import tiny_shop

REPEATED = reason_codes.REPEATED.sentence
CATALOGUE_DAY = tiny_shop.EARLIER[0]


def file_of(conf: Path, number: int) -> Path:
    return conf.parent / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv"


def put(conf: Path, number: int, *lines: str) -> Path:
    """One day's file with just these lines."""
    file = file_of(conf, number)
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([tiny_shop.HEADER, *lines]) + "\n")
    return file


def list_items(conf: Path, number: int, *lines: str) -> None:
    """A catalogue of that day with just these lines."""
    file = conf.parent / "landing" / "catalogue" / f"catalogue_{tiny_shop.day(number)}.csv"
    file.write_text("\n".join(["sku,name,kind", *lines]) + "\n")


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
    conf.write_text(conf.read_text().replace("max_rejected_share = 0.5", "min_rejected = 2"))
    with pytest.raises(DataError, match="max_rejected_share"):
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
    lake = Lake(spark, load(conf))
    file.touch()  # the same bytes, written again: no change
    run_job.run("ingest_logs", lake, tiny_shop.day(1))
    assert "warning" not in capsys.readouterr().err

    put(conf, 0, sale(0, "z", "S09"))  # as many bytes
    run_job.run("ingest_logs", lake, tiny_shop.day(2))
    assert f"sales/{file.name} changed since: --reingest reads the new bytes" in capsys.readouterr().err
    check = read(conf, "ops.checks").filter(pl.col("check_name") == "file_unchanged").rows(named=True)[-1]
    assert (check["severity"], check["passed"], check["unexpected_count"]) == ("warning", False, 1)
    d0, d1 = tiny_shop.day(0), tiny_shop.day(1)
    assert kept(conf) == [(d0, d0, "S01"), (d1, d1, "S01")]

    intake(2, reingest=True)
    # The copy of what the file was is no copy any more: its record has come back, late.
    assert sorted(kept(conf)) == [(d0, d0, "S09"), (d1, d0, "S01"), (d1, d1, "S01")]
    assert work_of(Lake(spark, load(conf)), JOBS["ingest_logs"], tiny_shop.day(2)).changed == ()


@pytest.mark.nights
def test_a_day_with_too_many_rejected_records_stops_the_night(conf, intake, spark):
    put(conf, 0, sale(0, "a"))
    intake(0)
    put(conf, 1, sale(1, "b"), *(sale(1, f"x{number}").replace(",1,1.5", ",one,1.5") for number in range(3)))
    conf.write_text(conf.read_text().replace("max_rejected_share = 0.5", "min_rejected = 2"))
    with pytest.raises(DataError) as refused:
        intake(1)
    said = str(refused.value)
    assert "silver.cleaned_days: of a day's records no more than max_rejected_share may be rejected, or min_" in said
    assert f"run_date={tiny_shop.day(1)}" in said
    assert "rows_rejected=3" in said
    assert "a purchase or return needs quantity and unit_price" in said
    assert len(kept(conf)) == 1
    assert read(conf, "silver.cleaned_days").height == 1

    conf.write_text(conf.read_text().replace("min_rejected = 2", "min_rejected = 3"))
    run_job.run("clean_events", Lake(spark, load(conf)), tiny_shop.day(1))
    assert len(kept(conf)) == 2
    row = read(conf, "silver.cleaned_days").sort("run_date").rows(named=True)[-1]
    assert (row["rows_in"], row["rows_kept"], row["rows_rejected"]) == (4, 1, 3)
    assert dict(row["reasons"])["a purchase or return needs quantity and unit_price"] == 3


def test_a_day_is_cleaned_again_when_the_catalogue_has_got_an_item_that_it_names(conf, spark):
    lake, (d0, d1) = Lake(spark, load(conf)), map(tiny_shop.day, (0, 1))

    def clean(number: int, *also: str) -> None:
        for job in (*also, "clean_items", "clean_events"):
            run_job.run(job, lake, tiny_shop.day(number))

    put(conf, 0, sale(0, "a"), sale(0, "b"), sale(0, "new", "S99"), sale(0, "wrap", "V01"))
    clean(0, "ingest_logs")
    assert kept(conf) == [(d0, d0, "S01")] * 2
    assert sorted(reasons(conf, 0)) == ["item: no product", "item_id is not in the catalogue"]
    assert read(conf, "silver.rejected_events").sort("item_id")["item_id"].to_list() == ["S99", "V01"]

    put(conf, 1, sale(1, "c"))
    list_items(conf, 1, "S99,jasmine tea,tea", "V01,Gift wrap,paper")
    clean(1, "ingest_logs")
    assert sorted(kept(conf)) == [*[(d0, d0, "S01")] * 2, (d0, d0, "S99"), (d0, d0, "V01"), (d1, d1, "S01")]
    assert reasons(conf, 0) == []
    assert work_of(lake, JOBS["clean_events"], d1).days == [d1], "once is enough"

    clean(0)  # an old date: what its catalogue lacked is rejected again, until the next night
    assert len(reasons(conf, 0)) == 2
    clean(1)
    assert reasons(conf, 0) == []


def test_columns_that_tell_otherwise_of_files_already_read_are_refused_until_these_are_read_again(conf, spark):
    def ingest(number: int, since: dt.date | None = None) -> None:
        run_job.run("ingest_logs", Lake(spark, load(conf)), tiny_shop.day(number), since=since)

    put(conf, 0, sale(0, "a"))
    ingest(0)
    columns = '["line_id", "customer", "sku", "units", "amount", "till", "at"'
    conf.write_text(conf.read_text().replace(columns, columns + ', "clerk"'))
    put(conf, 1).write_text(f"{tiny_shop.HEADER},clerk\n{sale(1, 'b')},Ann\n")
    ingest(1)  # one more at the end: what was read stands where it stood

    swapped = '["customer", "line_id", "sku", "units", "amount", "till", "at"'
    conf.write_text(conf.read_text().replace(columns + ', "clerk"', swapped))
    with pytest.raises(ConfError) as refused:
        ingest(2)
    for word in (conf.name, "[sources.events]", f"sales_{tiny_shop.day(0)}.csv", f"--since {tiny_shop.day(0)}"):
        assert word in str(refused.value)
    ingest(2, since=tiny_shop.day(0))
    ingest(2)
    assert {fields[0] for fields in read(conf, "bronze.events")["fields"]} == {"U01"}
