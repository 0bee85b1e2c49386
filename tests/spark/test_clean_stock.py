"""Which snapshot of stock counts: each location's newest, whole; what is replaced is counted."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.clean_stock import clean_stock
from jobs.flow import JOBS
from jobs.runner.lake import Lake
from schemas import bronze, silver
from schemas.source import Source
from tests.conftest import broken, run_of
from tests.support import tiny_shop

NIGHT = tiny_shop.day(13)
COLUMNS = ["till", "sku", "there", "lead"]
MAP = {"location_id": "till", "item_id": "sku", "on_hand": "there", "lead_time_days": "lead"}


@pytest.fixture
def stocked(deployment):
    source = Source(files="stock/*.csv", columns=COLUMNS, map=MAP)
    return deployment.model_copy(update={"sources": {**deployment.sources, "stock": source}})


def told(rows, *lines: tuple[int, str]):
    """Records: days before the night, and a line."""
    return rows(
        bronze.RECORDS,
        *(
            {"run_date": NIGHT - dt.timedelta(days=ago), "source_file": f"stock{ago}", "source_row": row, "raw": line}
            | {"fields": line.split(","), "source": "stock"}
            for row, (ago, line) in enumerate(lines, start=2)
        ),
    )


def cleaned(rows, deployment, *lines: tuple[int, str]):
    items = rows(silver.ITEMS, *({"item_id": item} for item in ("S1", "S2", "S3")))
    made = clean_stock(told(rows, *lines), items, rows(silver.REJECTED_ITEMS), run=run_of(NIGHT, deployment))
    assert broken(silver.STOCK, made["silver.stock"]) == []
    stock = {(row.location_id, row.item_id): row for row in made["silver.stock"].collect()}
    rejected = [(row.raw, row.codes) for row in made["silver.rejected_stock"].collect()]
    assert sum(row.record_count for row in stock.values()) + len(rejected) == len(lines)
    return {pair: (row.on_hand, (NIGHT - row.snapshot_date).days) for pair, row in stock.items()}, rejected


def test_a_store_whose_file_is_late_keeps_its_last_snapshot(rows, stocked):
    stock, rejected = cleaned(
        rows,
        stocked,
        *((2, "T0,S1,5,3"), (2, "T0,S2,6,3"), (2, "T1,S1,7,3")),
        *((1, "T0,S1,4,3"), (1, "T1,S1,6,3"), (1, "T1,S2,9,3")),
        *((0, "T0,S1,3,3"), (0, "T0,S3,8,3")),
    )
    assert stock == {("T0", "S1"): (3, 0), ("T0", "S3"): (8, 0), ("T1", "S1"): (6, 1), ("T1", "S2"): (9, 1)}
    assert rejected == []


def test_a_snapshot_of_which_nothing_is_sound_replaces_nothing(rows, stocked):
    stock, rejected = cleaned(rows, stocked, (1, "T0,S1,5,3"), (0, "T0,S1,-5,3"), (0, ",S1,1,3"), (0, "T0,S9,1,3"))
    assert stock == {("T0", "S1"): (5, 1)}
    assert sorted(codes for _, codes in rejected) == [["item_unlisted"], ["location_id_present"], ["on_hand_in_range"]]


def test_two_records_of_a_pair_in_one_snapshot_overlap_still(rows, stocked):
    stock, rejected = cleaned(rows, stocked, (1, "T0,S1,5,3"), (0, "T0,S1,4,3"), (0, "T0,S1,9,3"))
    assert stock == {("T0", "S1"): (4, 0)}
    assert rejected == [("T0,S1,9,3", ["overlaps_in_snapshot"])]


def test_stock_is_read_of_the_newest_day_and_six_before_it(spark, stocked, rows, tmp_path):
    lake = Lake(spark, stocked.model_copy(update={"lake": str(tmp_path / "lake")}))
    (read,) = (read for read in JOBS["clean_stock"].reads if read.kind)
    days = [NIGHT - dt.timedelta(days=ago) for ago in (20, 9, 8, 3, 2)]
    files = [
        {"run_date": d, "source": "stock", "source_file": str(d), "record_count": 2, "problem": None} for d in days
    ]
    lake.replace("bronze.files", rows(bronze.FILES, *files), days, {})
    records = [{"run_date": d, "source": "stock", "source_file": str(d), "source_row": r} for d in days for r in (2, 3)]
    lake.replace("bronze.records", rows(bronze.RECORDS, *records), days, {})
    assert (read.window, read.days) == ("latest", 7)
    assert {row[0] for row in lake.read(read, NIGHT, []).select("run_date").collect()} == set(days[2:])
    assert lake.count_read(read, NIGHT, []) == 6
    assert lake.count_read(read, days[1], []) == 2, "as of an older date"
    assert lake.count_read(read, days[0] - dt.timedelta(days=1), []) == 0
