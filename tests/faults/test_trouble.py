"""A full disk, a read-only lake, a master that is away, a spoilt model, a torn commit: said, mended, nothing lost."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.model_store import promoted_model
from schemas import TABLES, gold, ops
from schemas.deployment import load
from schemas.errors import ConfError, DataError
from tests.conftest import Rows
from tests.support import tiny_shop
from tests.support.clusters import closed_port
from udfs.encoder.model_folder import sha256, write_manifest

# -- runs --------------------------------------------------------------------------------------------------------------


def ingest(conf: Path, number: int) -> int:
    with pytest.raises(SystemExit) as ended:
        run_job.main("ingest_logs", ["--run-date", str(tiny_shop.day(number)), "--conf", str(conf)])
    return int(ended.value.code or 0)


def in_a_process(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *flags]
    return subprocess.run(command, cwd=tiny_shop.REPO, capture_output=True, text=True, timeout=900)


def folder_of(conf: Path, table: str) -> Path:
    return conf.parent / "lake" / table.replace(".", "/")


def read(conf: Path, table: str, version: int | None = None) -> list[str]:
    return sorted(map(repr, pl.read_delta(str(folder_of(conf, table)), version=version).rows()))


def standing(conf: Path) -> list[str]:
    return [table for table in TABLES if (folder_of(conf, table) / "_delta_log").exists()]


def forget_snapshots(spark: SparkSession) -> None:
    """A mended table is read by a new process; this one would remember the old log."""
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]


def stock(conf: Path, spark: SparkSession, rows: Rows) -> Path:
    """The conf, once its lake has two nights of gold.recommendations and the logs up to day 0."""
    lake = Lake(spark, load(conf))
    for number in (-2, -1):
        night = [{"run_date": tiny_shop.day(number), "user_id": f"u{user}", "rank": 1} for user in range(5)]
        lake.replace("gold.recommendations", rows(gold.RECOMMENDATIONS, *night), [tiny_shop.day(number)], {})
    assert ingest(conf, 0) == 0
    return conf


@pytest.fixture
def stocked(tiny_shop_conf: Path, spark: SparkSession, rows: Rows) -> Path:
    return stock(tiny_shop_conf, spark, rows)


@pytest.fixture
def small_disk(tiny_shop_conf: Path, spark: SparkSession, rows: Rows) -> Iterator[Path]:
    """The conf of a stocked lake on a file system of its own, of 16 MiB."""
    lake = tiny_shop_conf.parent / "lake"
    lake.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(lake)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"this test mounts a small disk, and that is not permitted here: {made.stderr.strip()}")
    try:
        yield stock(tiny_shop_conf, spark, rows)
    finally:
        subprocess.run(["umount", "-l", str(lake)], check=True)


def test_a_full_disk_stops_a_run_and_a_second_one_ends_it(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = small_disk.parent / "lake"
    before = {table: read(small_disk, table) for table in standing(small_disk)}
    for spare in (0, 40_000, 80_000):  # nothing fits, or the first of a run's commits do
        filling = lake / "filling"
        filling.write_bytes(bytes(shutil.disk_usage(lake).free - spare))
        assert ingest(small_disk, 1) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert re.match(r"error: no space left on device for .*\(free now: .*MiB\): make room there", error), error
        assert str(lake) in error
        assert read(small_disk, "gold.recommendations") == before["gold.recommendations"]
        for table in standing(small_disk):  # every table can be read, and has what it had
            assert set(before.get(table, [])) <= set(read(small_disk, table)), table
        filling.unlink()
    assert ingest(small_disk, 1) == 0
    assert read(small_disk, "gold.recommendations") == before["gold.recommendations"]
    events = pl.read_delta(str(folder_of(small_disk, "bronze.events")))
    assert events.filter(pl.col("run_date") == tiny_shop.day(1)).height > 0
    runs = pl.read_delta(str(folder_of(small_disk, "ops.runs"))).filter(pl.col("status") == "failed")
    assert all(said.startswith("no space left on device for ") for said in runs["error"])


@pytest.mark.faults
def test_a_read_only_lake_is_said_and_can_be_read(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = small_disk.parent / "lake"
    before = {table: read(small_disk, table) for table in standing(small_disk)}
    subprocess.run(["mount", "-o", "remount,ro", str(lake)], check=True)
    assert ingest(small_disk, 1) == 1
    error = capsys.readouterr().err
    last = error.splitlines()[-1]
    assert re.match(rf"error: {lake}/\S+ is on a read-only file system", last), last
    assert "could not be recorded in ops.runs: " in error
    assert {table: read(small_disk, table) for table in standing(small_disk)} == before
    subprocess.run(["mount", "-o", "remount,rw", str(lake)], check=True)
    assert ingest(small_disk, 1) == 0


@pytest.mark.faults
def test_a_master_that_is_away_is_said_at_once(tiny_shop_conf: Path) -> None:
    properties, port = tiny_shop_conf.with_name("spark.conf"), closed_port()
    properties.write_text(properties.read_text().replace("local[2,3]", f"spark://127.0.0.1:{port}"))
    found = in_a_process("jobs.commands.sql", "--conf", str(tiny_shop_conf))
    assert found.returncode == 1
    last = found.stderr.splitlines()[-1]
    told = f"error: the Spark master spark://127.0.0.1:{port} cannot be reached (127.0.0.1:{port}: Connection refused)"
    assert last.startswith(told), found.stderr


@pytest.mark.parametrize("harm", ["a changed byte", "a file less", "no folder"])
def test_a_corrupt_model_is_refused_by_name(tiny_shop_conf: Path, spark: SparkSession, rows: Rows, harm: str) -> None:
    lake, version = Lake(spark, load(tiny_shop_conf)), f"{uuid.uuid4()}"  # Spark fetches one folder of a name
    folder = tiny_shop_conf.parent / "lake" / "models" / version
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "ranker.json"):
        (folder / name).write_text(name)
    write_manifest(folder)
    weights = sha256(folder / "model.safetensors")
    told = {"folder": f"models/{version}", "model_version": version, "weights_sha256": weights, "promoted": True}
    lake.replace("ops.models", rows(ops.MODELS, told | {"run_date": tiny_shop.day(0)}), [tiny_shop.day(0)], {})
    if harm == "a changed byte":
        (folder / "model.safetensors").write_text("model.safetensorz")
        words = f"model.safetensors: manifest.json expects sha256 {weights}, found "
        words += sha256(folder / "model.safetensors")
    elif harm == "a file less":
        (folder / "ranker.json").unlink()
        words = f"ranker.json: manifest.json expects sha256 {hashlib.sha256(b'ranker.json').hexdigest()}, found no such"
    else:
        shutil.rmtree(folder)
        words = "it cannot be read: "
    with pytest.raises(DataError) as refused:
        promoted_model(lake, tiny_shop.day(1))
    said = str(refused.value)
    assert said.startswith(f"{folder}: {words}"), said
    assert f"Put the folder of model {version} back from a copy" in said
    command = re.search(r'make sql Q="(.*?)"', said)
    assert command, said
    spark.sql(command[1].replace("ops.models", f"delta.`{lake.path('ops.models')}`"))
    with pytest.raises(ConfError, match="no promoted model"):
        promoted_model(lake, tiny_shop.day(1))


def empty(commit: Path) -> None:
    commit.write_bytes(b"")


def cut(commit: Path) -> None:
    commit.write_bytes(commit.read_bytes()[: commit.stat().st_size // 2])


def cut_without_checksum(commit: Path) -> None:
    cut(commit)
    commit.with_name(f".{commit.name}.crc").unlink()


def cut_between_lines(commit: Path) -> None:
    """Each line left is whole: the checksum beside it tells."""
    content = commit.read_bytes()
    commit.write_bytes(content[: content.index(b"\n") + 1])


def mend(said: str) -> None:
    """Do what the message says."""
    command = re.search(r"hidden ones too: (.*)$", said, re.MULTILINE)
    assert command, said
    subprocess.run(["sh", "-c", command[1]], check=True)


@pytest.mark.faults
@pytest.mark.parametrize("tear", [empty, cut, cut_without_checksum, cut_between_lines])
def test_a_torn_commit_of_a_gold_table_is_refused_and_mended_as_the_message_says(
    stocked: Path, spark: SparkSession, rows: Rows, tear: Callable[[Path], None]
) -> None:
    table, day = "gold.recommendations", tiny_shop.day(-1)
    log = folder_of(stocked, table) / "_delta_log"
    commit = max(log.glob("[0-9]*.json"))
    version = int(commit.stem)
    before, night = read(stocked, table, version - 1), read(stocked, table)
    tear(commit)
    forget_snapshots(spark)
    found = {path: path.read_bytes() for path in log.iterdir() if path.is_file()}

    made = rows(gold.RECOMMENDATIONS, *({"run_date": day, "user_id": f"u{user}", "rank": 1} for user in range(5)))
    said = ""
    for act in (lambda lake: lake.up_to(table, day), lambda lake: lake.replace(table, made, [day], {})):
        with pytest.raises(DataError) as refused:
            act(Lake(spark, load(stocked)))
        said = str(refused.value)
        assert said.startswith(f"{table}: its newest commit {commit} is ")
        assert f"is whole at version {version - 1} then" in said
    assert {path: path.read_bytes() for path in log.iterdir() if path.is_file()} == found
    for other in set(standing(stocked)) - {table}:
        read(stocked, other)

    mend(said)
    forget_snapshots(spark)
    assert DeltaTable(str(folder_of(stocked, table))).version() == version - 1
    assert read(stocked, table) == before
    lake = Lake(spark, load(stocked))
    assert lake.up_to(table, day).count() == len(before)
    lake.replace(table, made, [day], {})
    assert read(stocked, table) == night
    forget_snapshots(spark)
    assert lake.up_to(table, day).count() == len(night)


@pytest.mark.faults
@pytest.mark.parametrize("tear", [empty, cut])
def test_a_torn_commit_of_an_ops_table_stops_a_job_before_it_writes(
    stocked: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str], tear: Callable[[Path], None]
) -> None:
    lake, table = Lake(spark, load(stocked)), "ops.runs"
    record = lake.rows(table, tiny_shop.day(0))[0]
    log = folder_of(stocked, table) / "_delta_log"
    while not (log / f"{10:020}.checkpoint.parquet").exists():  # the torn one has a checkpoint beside it
        lake.append(table, [record | {"run_id": uuid.uuid4().hex}], {})
    commit = max(log.glob("[0-9]*.json"))
    assert int(commit.stem) == 10
    before = read(stocked, table, 9)
    others = {name: read(stocked, name) for name in set(standing(stocked)) - {table}}
    tear(commit)
    forget_snapshots(spark)

    assert ingest(stocked, 1) == 3
    said = capsys.readouterr().err
    assert f"refused: {table}: its newest commit {commit} is " in said
    assert {name: read(stocked, name) for name in others} == others

    mend(said)
    forget_snapshots(spark)
    assert read(stocked, table) == before
    assert ingest(stocked, 1) == 0
    forget_snapshots(spark)
    after = read(stocked, table)
    assert set(before) < set(after)
    assert Lake(spark, load(stocked)).up_to(table, tiny_shop.day(1)).count() == len(after) == len(before) + 1


@pytest.mark.faults
def test_other_tables_can_be_queried_beside_a_torn_one(stocked: Path) -> None:
    cut(max((folder_of(stocked, "gold.recommendations") / "_delta_log").glob("[0-9]*.json")))
    query = "SELECT job, status FROM ops.runs"
    found = in_a_process("jobs.commands.sql", "--conf", str(stocked), "--query", query)
    assert found.returncode == 0, found.stderr
    assert "warning: gold.recommendations: its newest commit" in found.stderr
    assert "|ingest_logs|done  |" in found.stdout
