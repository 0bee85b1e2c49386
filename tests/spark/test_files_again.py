"""A file that was read and is now compressed, renamed, or no longer empty: which days the next night reads for it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.flow import JOBS
from jobs.ingest_logs import ingest_logs
from jobs.runner.lake import Lake
from jobs.runner.landing import Landing
from jobs.runner.pending_days import PendingDays, work_of
from schemas.deployment import load
from schemas.errors import ConfError, DataError
from tests.conftest import run_of
from tests.support import tiny_shop

READING = JOBS["ingest_logs"]
D0, D1, D2 = map(tiny_shop.day, range(3))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A tiny shop with the files of days 0 and 1."""
    made = tiny_shop.make(tmp_path, days=2)
    for number in tiny_shop.EARLIER:
        (tmp_path / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv").unlink()
    return made


@pytest.fixture
def read_in(spark: SparkSession, conf: Path, rows: Callable) -> Callable[[int], dict[str, object]]:
    """bronze.files as ingest_logs leaves it after the n-th day; its rows by file."""

    def read(number: int) -> dict[str, object]:
        lake = Lake(spark, load(conf))
        days = work(spark, conf, number).days
        found = (lake.landing.read(kind, days) for kind in ("events", "items", "records"))
        known = lake.up_to("bronze.files", tiny_shop.day(number))
        made = ingest_logs(*found, known, run=run_of(tiny_shop.day(number), lake.deployment))
        lake.replace("bronze.files", made["bronze.files"], days, {})
        return {row["source_file"]: row for row in lake.rows("bronze.files")}

    return read


def work(spark: SparkSession, conf: Path, number: int) -> PendingDays:
    return work_of(Lake(spark, load(conf)), READING, tiny_shop.day(number))


def sales(conf: Path, day: object) -> Path:
    return conf.parent / "landing" / "sales" / f"sales_{day}.csv"


def compress(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    return packed


def test_a_file_compressed_or_renamed_where_it_lay_is_read_again_and_stops_no_night(spark, conf, read_in):
    before = read_in(1)
    compress(sales(conf, D0))
    sales(conf, D1).rename(sales(conf, f"{D1}_again"))
    assert {D0, D1} <= set(work(spark, conf, 1).days)
    after = read_in(1)
    compressed, renamed = (after[f"sales/{name}"] for name in (f"sales_{D0}.csv.gz", f"sales_{D1}_again.csv"))
    assert f"sales/sales_{D0}.csv" not in after
    assert compressed["content_sha256"] == before[f"sales/sales_{D0}.csv"]["sha256"] != compressed["sha256"]
    assert [row["duplicate_of"] for row in (compressed, renamed)] == [None, None]
    assert D0 not in work(spark, conf, 1).days


def test_a_file_that_is_compressed_anew_has_not_changed(spark, conf, read_in):
    content = sales(conf, D0).read_bytes()
    packed = compress(sales(conf, D0))
    read_in(1)
    packed.write_bytes(gzip.compress(content, 1))
    assert work(spark, conf, 1).changed == ()
    packed.write_bytes(gzip.compress(content + b"\n", 1))
    assert [file.name for file in work(spark, conf, 1).changed] == [f"sales/{packed.name}"]


def test_another_file_in_place_of_one_that_was_read_stops_the_night(spark, conf, read_in):
    read_in(1)
    sales(conf, D0).unlink()
    sales(conf, f"{D0}_other").write_text(f"{tiny_shop.HEADER}\n")
    with pytest.raises(DataError, match=rf"sales_{D0}\.csv was read into bronze for {D0} and is no longer in"):
        work(spark, conf, 1)


def test_a_copy_beside_its_original_is_none_of_its_own_compressed_or_not(spark, conf, read_in):
    read_in(1)
    first = sales(conf, D0)
    sales(conf, f"{D1}_b").write_bytes(first.read_bytes())
    packed = sales(conf, D0).with_name(f"sales_{D0}.csv.gz")
    packed.write_bytes(gzip.compress(first.read_bytes()))
    after = read_in(1)
    copies = {name: row["duplicate_of"] for name, row in after.items() if row["duplicate_of"]}
    original = f"sales/{first.name}"
    assert copies == {f"sales/{packed.name}": original, f"sales/sales_{D1}_b.csv": original}


@pytest.mark.parametrize("early", ["", tiny_shop.HEADER, f"{tiny_shop.HEADER}\n\n"])
def test_what_comes_later_into_a_file_without_a_record_is_read(spark, conf, read_in, early):
    whole = sales(conf, D0).read_bytes()
    sales(conf, D0).write_text(early)
    assert read_in(1)[f"sales/sales_{D0}.csv"]["record_count"] == 0
    assert D0 not in work(spark, conf, 1).days
    sales(conf, D0).write_bytes(whole)
    assert D0 in (found := work(spark, conf, 1)).days
    assert found.changed == ()
    assert read_in(1)[f"sales/sales_{D0}.csv"]["record_count"] > 0


def test_what_lies_beside_raw_files_is_reported_and_a_landing_of_that_alone_is_refused(spark, conf):
    big = sales(conf, D1).rename(sales(conf, D1).with_suffix(".CSV"))
    text = conf.read_text().replace('files = "sales/*"', 'files = "sales/*.csv"')
    conf.write_text(text)
    assert work(spark, conf, 0).beside == {f"sales/{big.name}": "files = 'sales/*.csv' does not match it"}
    for file in (sales(conf, D0), *(conf.parent / "landing" / "catalogue").iterdir()):
        file.unlink()
    with pytest.raises(ConfError, match=rf"no raw files there .*; left alone: sales/{big.name}"):
        work(spark, conf, 0)


def test_a_file_that_is_too_large_is_refused_by_name(spark, conf):
    small = Landing(spark, load(conf), most_bytes=1_000)
    with pytest.raises(DataError, match=rf"sales_{D0}\.csv has [\d,]+ bytes, and a raw file may have 1,000: compress"):
        small.read("events", [D0])
