"""Two writers whose steps interleave: what one computed from a table is computed again over what the other put."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.flow import JOBS
from jobs.runner import delta_log, run_job
from jobs.runner.lake import Lake
from schemas import gold, ops
from schemas.deployment import Deployment
from schemas.derive import example_rows
from schemas.errors import DataError
from tests.conftest import Rows

DAY = dt.date(2024, 3, 1)


@pytest.fixture
def lake(deployment: Deployment, spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))


@pytest.fixture
def just_before_its_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done when the next writer has read the table and made its files, and has not committed yet."""

    def once(act: Callable[[], object]) -> None:
        sound = delta_log.commit

        def commit(*given: Any, **more: Any) -> int:
            monkeypatch.setattr(delta_log, "commit", sound)
            act()
            return sound(*given, **more)

        monkeypatch.setattr(delta_log, "commit", commit)

    return once


def publication(name: str) -> dict[str, Any]:
    (row,) = example_rows(ops.PUBLICATIONS, {"run_date": DAY, "rows_of": DAY, "publication_id": name, "current": True})
    return row


def model(name: str, kind: str) -> dict[str, Any]:
    told = {"run_date": DAY, "model_version": name, "kind": kind, "promoted": True}
    (row,) = example_rows(ops.MODELS, told)
    return row


def beside(lake: Lake) -> Lake:
    """The same lake as another driver has it."""
    return Lake(lake.spark, lake.deployment)


def test_neither_of_two_publications_at_once_is_lost(lake: Lake, just_before_its_commit: Any) -> None:
    lake.join("ops.publications", [publication("p0")], [DAY], {"run_id": "p0"})
    other = beside(lake)
    just_before_its_commit(lambda: other.join("ops.publications", [publication("p1")], [DAY], {"run_id": "p1"}))
    lake.join("ops.publications", [publication("p2")], [DAY], {"run_id": "p2"})
    found = {row["publication_id"]: row["current"] for row in lake.rows("ops.publications")}
    assert found == {"p0": False, "p1": False, "p2": True}
    assert len(lake.rows("ops.publications")) == 3
    files = {file.path for file in lake.files("ops.publications")}
    there = {path.name for path in Path(lake.path("ops.publications")).glob("part-*.parquet")}
    assert len(there - files) == 2, "what p0 and p1 had written; the file of the attempt that came too late is gone"


@pytest.mark.parametrize(
    ("kinds", "promoted"), [(("demand", "recommend"), {"m1", "m2"}), (("demand", "demand"), {"m2"})]
)
def test_neither_of_two_trainings_at_once_loses_its_model(
    lake: Lake, just_before_its_commit: Any, kinds: tuple[str, str], promoted: set[str]
) -> None:
    lake.join("ops.models", [model("m0", "audience")], [DAY], {})
    just_before_its_commit(lambda: beside(lake).join("ops.models", [model("m1", kinds[0])], [DAY], {}))
    lake.join("ops.models", [model("m2", kinds[1])], [DAY], {})
    found = {row["model_version"]: row["promoted"] for row in lake.rows("ops.models")}
    assert set(found) == {"m0", "m1", "m2"}
    assert {name for name, is_promoted in found.items() if is_promoted} == {"m0", *promoted}


def test_a_night_published_by_two_writers_keeps_the_later_rows_whole(
    lake: Lake, just_before_its_commit: Any, rows: Rows
) -> None:
    table = gold.RECOMMENDATIONS
    first, second = (
        rows(table, *({"run_date": DAY, "user_id": f"{name}{number}", "rank": 1} for number in range(count)))
        for name, count in (("a", 2), ("b", 3))
    )
    just_before_its_commit(lambda: beside(lake).replace(table.name, first, [DAY], {"run_id": "a"}))
    version = lake.replace(table.name, second, [DAY], {"run_id": "b"})
    assert {row["user_id"] for row in lake.of_days(table.name, [DAY]).collect()} == {"b0", "b1", "b2"}
    assert lake.at_version(table.name, version, DAY).count() == 3
    assert lake.at_version(table.name, version - 1, DAY).count() == 2


def test_a_publication_names_what_a_run_that_is_done_has_committed(
    lake: Lake, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = gold.RECOMMENDATIONS
    monkeypatch.setattr(run_job, "NIGHT", (JOBS["rank_recommendations"],))

    def ran(run_id: str, count: int, model_version: str, *states: str) -> int:
        made = rows(
            table,
            *(
                {"run_date": DAY, "user_id": f"u{number}", "rank": 1, "model_version": model_version}
                for number in range(count)
            ),
        )
        told = {"run_date": DAY, "run_id": run_id, "job": "rank_recommendations", "rows_written": {table.name: count}}
        for state in states:
            lake.append("ops.runs", example_rows(ops.RUNS, told | {"status": state}), {})
        return lake.replace(table.name, made, [DAY], {"run_id": run_id, "run_date": DAY})

    version = ran("r1", 2, "m1", "running", "done")
    ran("r2", 5, "m2", "running")  # it has replaced this table and goes on, or was killed
    (found,) = run_job._gold_tables(lake, DAY)
    assert (found.version, found.row_count, found.model_version) == (version, 2, "m1")
    version = ran("r2", 5, "m2", "done")
    (found,) = run_job._gold_tables(lake, DAY)
    assert (found.version, found.row_count, found.model_version) == (version, 5, "m2")


def test_a_version_that_upkeep_has_removed_is_said_to_be(lake: Lake, rows: Rows) -> None:
    table = gold.RECOMMENDATIONS.name
    gone, _ = (lake.replace(table, rows(gold.RECOMMENDATIONS, {"run_date": DAY, "rank": 1}), [DAY], {}) for _ in "ab")
    opened = lake.delta(table)
    assert opened is not None
    delta_log.vacuum(opened, 0)
    with pytest.raises(DataError) as refused:
        lake.at_version(table, gone, DAY)
    said = str(refused.value)
    assert said.startswith(
        f"gold.recommendations: version {gone}, published for 2024-03-01, can no longer be read, because upkeep has "
        "removed it (keep_versions_days of maintain_tables; "
    )
    assert said.endswith("): choose a newer publication")
    assert "\n" not in said
