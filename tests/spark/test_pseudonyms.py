"""Pseudonyms: from silver on no id is as it landed, the key is in no plan, and another key renames all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.commands import pseudonyms as command
from jobs.flow import INTAKE
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.transforms.pseudonyms import hidden
from schemas import gold
from schemas.deployment import load
from schemas.errors import ConfError
from tests.support import tiny_shop
from udfs.keyed_hash import keyed, read_once

KEYS = {"k1": "4b1f" * 16, "k2": "77aa" * 16}
SECTION = '\n[privacy.pseudonyms]\nvault = "../vault"\nkey_file = "../{key}"\nkey_id = "{key}"\n'


@pytest.fixture
def conf(taken_in: Path, tmp_path: Path) -> Path:
    """A copy of a shop that was taken in without pseudonyms, and two keys beside it."""
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key)
    read_once.cache_clear()
    return tiny_shop.copied(taken_in, tmp_path / "shop")


def with_key(conf: Path, name: str) -> None:
    conf.write_text(conf.read_text().split("\n[privacy.pseudonyms]")[0] + SECTION.format(key=name))


def users(conf: Path, table: str) -> set[str]:
    return set(DeltaTable(str(conf.parent / "lake" / table)).to_pyarrow_table().column("user_id").to_pylist())


def under(key: str) -> set[str]:
    return {keyed(KEYS[key].encode(), f"U{number:02d}")[:32] for number in range(1, 25)}


def intake(conf: Path, spark: SparkSession) -> None:
    for job in INTAKE:
        run_job.run(job.name, Lake(spark, load(conf)), tiny_shop.day(0))


def test_ids_are_hidden_and_the_key_is_in_no_plan(conf, spark, rows, capsys):
    with_key(conf, "k1")
    frame = spark.createDataFrame([("U01", "e1"), (None, "e2")], "user_id STRING, event_id STRING")
    renamed = hidden(frame, load(conf))
    first, guest = renamed.collect()
    assert first.user_id == keyed(KEYS["k1"].encode(), "U01")[:32]
    assert guest.user_id is None
    assert guest.event_id == keyed(KEYS["k1"].encode(), "e2")[:32]
    renamed.explain(extended=True)
    assert KEYS["k1"] not in capsys.readouterr().out


def test_a_lake_gets_pseudonyms_and_another_key(conf, spark, rows):
    lake = Lake(spark, load(conf))
    day = tiny_shop.day(0)
    lists = rows(gold.RECOMMENDATIONS, *({"user_id": f"U{n:02d}", "rank": 1, "run_date": day} for n in range(1, 25)))
    lake.replace("gold.recommendations", lists, [day], {})
    before = DeltaTable(str(conf.parent / "lake" / "silver" / "events")).to_pyarrow_table()
    with_key(conf, "k1")
    with pytest.raises(ConfError, match="of before there were pseudonyms: make pseudonyms"):
        intake(conf, spark)
    for key in KEYS:
        with_key(conf, key)
        assert command.main(["--conf", str(conf)]) == 0
        intake(conf, spark)
        assert users(conf, "silver/events") <= under(key)
        assert users(conf, "gold/recommendations") == under(key)
        events = DeltaTable(str(conf.parent / "lake" / "silver" / "events")).to_pyarrow_table()
        assert events.num_rows == before.num_rows
        assert not set(events.column("event_id").to_pylist()) & set(before.column("event_id").to_pylist())
        vault = spark.read.parquet(str(conf.parent.parent / "vault" / key))
        assert {row.pseudonym for row in vault.collect()} == under(key)
        assert vault.where(F.col("user_id") == "U07").count() == 1
    assert [folder.name for folder in (conf.parent.parent / "vault").iterdir()] == ["k2"]

    with_key(conf, "k1")
    with pytest.raises(ConfError, match="of key 'k2'"):
        intake(conf, spark)
    conf.write_text(conf.read_text().split("\n[privacy.pseudonyms]")[0])
    with pytest.raises(ConfError, match=r"put \[privacy.pseudonyms\] back"):
        intake(conf, spark)
    with_key(conf, "k2")
    (conf.parent.parent / "k2").write_text("9" * 64)
    read_once.cache_clear()
    with pytest.raises(ConfError, match="the key is not the one of the lake"):
        intake(conf, spark)


def test_without_a_section_nothing_is_hidden(spark, deployment):
    frame = spark.createDataFrame([("U01", "e1")], "user_id STRING, event_id STRING")
    assert hidden(frame, deployment) is frame
