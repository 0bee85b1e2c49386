"""Intake that is stopped between tables, run beside another one, or given days in any order."""

from __future__ import annotations

import random
import shutil
import time
from types import SimpleNamespace

import polars as pl
import pytest

from jobs.flow import INTAKE, NIGHT
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.publish import OvertakenError
from schemas import TABLES
from schemas.deployment import load
from tests.faults.test_kills import OWN
from tests.nights.test_intake import REPEATED, file_of, kept, list_items, put, sale
from tests.nights.test_night import lake_of, read
from tests.support import tiny_shop


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
    real, written = Lake.publish, []

    def publish(self, table, files, days, metadata):
        if metadata.get("job") == job:
            if len(written) == done:
                raise StoppedError
            written.append(table)
        real(self, table, files, days, metadata)

    monkeypatch.setattr(Lake, "publish", publish)
    with pytest.raises(StoppedError):
        intake(0, reingest=True)
    monkeypatch.undo()
    intake(0)  # an ordinary run: nothing tells it to read anything again
    d0 = tiny_shop.day(0)
    assert sorted(kept(conf)) == [(d0, d0, "S08"), (d0, d0, "S09")]
    assert read(conf, "bronze.events").height == 2


@pytest.mark.parametrize("times", [1, pytest.param(run_job.ATTEMPTS, marks=pytest.mark.faults)])
def test_a_run_that_another_one_gets_into_the_way_of_is_followed_by_one_more(conf, intake, spark, monkeypatch, times):
    put(conf, 0, sale(0, "a"), sale(0, "b", "S02"))
    real, seen, waited = Lake.last_run, [], []

    def last_run(self, table, days, since):
        seen.append(table)
        return "another" if seen.count(table) <= times and table == "silver.events" else real(self, table, days, since)

    monkeypatch.setattr(Lake, "last_run", last_run)
    monkeypatch.setattr(run_job, "time", SimpleNamespace(sleep=waited.append, monotonic=time.monotonic))
    if times < run_job.ATTEMPTS:
        intake(0)
        assert sorted(item for _, _, item in kept(conf)) == ["S01", "S02"]
        assert read(conf, "silver.cleaned_days")["rows_kept"].to_list() == [2]
    else:
        with pytest.raises(OvertakenError, match=r"another run \(another\) has written the same days"):
            intake(0)
        assert read(conf, "silver.cleaned_days").is_empty()
    assert len(waited) == min(times, run_job.ATTEMPTS - 1)
    runs = read(conf, "ops.runs").filter(pl.col("job") == "clean_events", pl.col("status") != "running")
    runs = runs.sort("started_at")["status"].to_list()
    assert runs == ["failed"] * times + ["done"] * (times < run_job.ATTEMPTS)


@pytest.mark.faults
def test_days_in_any_order_with_copies_and_late_rows_end_in_the_same_tables(trained_shop, tmp_path, spark):
    """Each file lands in the partition of its day, so once all have come it does not matter in which order they did.

    With the catalogue of a fifth day comes an item that the third has sold.
    """
    week, rng, night = range(7, 14), random.Random(7), tiny_shop.day(13)
    lines = {number: tiny_shop.sales(tiny_shop.day(number)) for number in week}
    for number in (9, 11, 12):  # late rows, some that are new and some that came on their own day as well
        lines[number] += [sale(number - 2, f"late-{number}"), lines[number - 2][0], lines[number - 1][1]]
    lines[9].append(sale(9, "ahead", "S31"))
    ends = []
    for place, order in enumerate((list(week), rng.sample(list(week), 7), list(week)[::-1])):
        made = tiny_shop.copied(trained_shop, tmp_path / str(place))
        made.write_text(made.read_text().replace("[sources.events]", "[sources.events]\nmax_silent_days = 365", 1))
        for layer in made.parent.glob("lake/*"):  # what has been trained stays
            for table in [] if layer.name == "models" else set(layer.iterdir()) - {made.parent / "lake/ops/models"}:
                shutil.rmtree(table)
        for number in range(7, tiny_shop.DAYS):
            file_of(made, number).unlink()
        lake = Lake(spark, load(made))
        for arrived in ([], *(order[first : first + 2] for first in range(0, 7, 2))):
            for number in arrived:
                put(made, number, *lines[number])
                if number == 10:
                    copy = file_of(made, number).with_name(f"sales_copy_{tiny_shop.day(number)}.csv")
                    copy.write_bytes(file_of(made, number).read_bytes())
                if number == 11:
                    list_items(made, number, "S31,jasmine tea,tea")
            for job in INTAKE:
                run_job.run(job.name, lake, night)
        for job in NIGHT[len(INTAKE) :]:
            run_job.run(job.name, lake, night)
        tables = [table for table in TABLES if table.split(".")[0] in ("bronze", "silver", "features", "gold")]
        stood = [table for table in tables if (lake_of(made) / table.replace(".", "/")).exists()]
        ends.append({table: sorted(map(repr, read(made, table).drop(OWN, strict=False).rows())) for table in stood})
    for table, rows in ends[0].items():
        assert [end[table] == rows for end in ends] == [True] * 3, table
    assert {"bronze.files", "silver.cleaned_days", "features.item_vectors", "gold.recommendations"} <= ends[0].keys()
    repeated = [row for row in ends[0]["silver.rejected_events"] if REPEATED in row]
    assert len(repeated) == 6
    assert [row for row in ends[0]["silver.events"] if "'S31'" in row]
