"""A person with two source ids, from intake on: read as one, by the day when that was known, and erased as one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.commands import erase, prove_erasure
from jobs.flow import JOBS
from jobs.runner import persons, run_job
from jobs.runner.lake import Lake
from jobs.runner.pending_days import PendingDays
from jobs.transforms.pseudonyms import key_of
from schemas.deployment import load
from tests.support import tiny_shop
from udfs.keyed_hash import pseudonym, read_once

WEB, CARD = "web-6d0b8a57f2", "card-77120941"
MAIL = "anna@shop.test"
DAY = tiny_shop.day(0)
SOURCE = """
[sources.identities]
files = "people/*.csv"
columns = ["id", "mail"]
[sources.identities.map]
user_id = "id"
email = "mail"

"""
ERASURE = '\n[privacy.erasure]\nerased = "../privacy/erased.jsonl"\nkey_file = "../key"\nkey_id = "k1"\n'
PSEUDONYMS = '\n[privacy.pseudonyms]\nvault = "../vault"\nkey_file = "../key"\nkey_id = "k1"\n'


def sold(user: str) -> list[str]:
    return [f"{user}-{place},{user},S0{place},2,3.0,T0,{DAY} 10:0{place}:00" for place in range(1, 4)]


def made(root: Path, more: str) -> Path:
    conf = tiny_shop.make(root / "shop", days=1, dirt={0: [*sold(WEB), *sold(CARD)]})
    conf.write_text(conf.read_text().replace("[sources.items]", f"{SOURCE}[sources.items]", 1) + ERASURE + more)
    people = conf.parent / "landing" / "people" / f"people_{DAY}.csv"
    people.parent.mkdir()
    people.write_text(f"id,mail\n{CARD},{MAIL}\nU01,u01@shop.test\n{WEB},{MAIL.upper()}\n")
    (root / "key").write_text("4b1f" * 16)
    read_once.cache_clear()
    return conf


def take_in(conf: Path, spark: SparkSession) -> Lake:
    lake = Lake(spark, load(conf))
    for job in ("ingest_logs", "clean_items", "link_persons", "clean_events"):
        run_job.run(job, lake, DAY)
    return lake


def events_of(lake: Lake, job: str, day: dt.date) -> dict[str, int]:
    """user_id -> lines, of the events that a job gets."""
    frame = run_job._inputs(JOBS[job], lake, PendingDays([day]), {"run_date": day})["events"]
    return {row["user_id"]: row["count"] for row in frame.groupBy("user_id").count().collect()}


@pytest.mark.parametrize("more", ["", PSEUDONYMS], ids=["ids", "pseudonyms"])
def test_a_person_of_two_ids_is_read_as_one_and_erased_as_one(tmp_path, spark, more, capsys):
    conf = made(tmp_path, more)
    lake, key = take_in(conf, spark), key_of(load(conf))
    web, card = (pseudonym(key.read(), each) if key else each for each in (WEB, CARD))
    known = {row.source_user_id: row.user_id for row in lake.up_to("silver.persons", DAY).collect()}
    first = min(web, card)
    assert {known[web], known[card]} == {first}
    assert len(known) == 3

    read, landed = events_of(lake, "evaluate_profiles", DAY), events_of(lake, "clean_events", DAY)
    assert (landed[web], landed[card]) == (3, 3)
    assert (read[first], read.get(max(web, card))) == (6, None)
    assert sum(read.values()) == sum(landed.values())
    earlier = DAY - dt.timedelta(days=1)
    assert persons.resolved(lake, "silver.events", frame := lake.up_to("silver.events", DAY), earlier) is frame
    assert persons.resolved(lake, "gold.recommendations", frame, DAY) is frame, "computed from persons already"

    ids = tmp_path / "ids.txt"
    ids.write_text(f"{WEB}\n")
    arguments = ["--ids", str(ids), "--conf", str(conf)]
    assert erase.main(arguments) == 0, capsys.readouterr()
    assert (tmp_path / "ids.txt.others").read_text() == f"{CARD}\n"
    assert prove_erasure.main(arguments) == 0, capsys.readouterr()
    lake = Lake(spark, load(conf))
    assert lake.up_to("silver.persons", DAY).count() == 1
    assert {web, card}.isdisjoint(events_of(lake, "evaluate_profiles", DAY))
    take_in(conf, spark)  # from the raw files, which still have the lines
    assert Lake(spark, load(conf)).up_to("silver.persons", DAY).count() == 1
    assert erase.main(arguments) == 0
    assert "0 rows" in capsys.readouterr().out


def test_without_identities_a_frame_is_read_as_it_is(taken_in, spark):
    lake = Lake(spark, load(next(taken_in.rglob("tiny_shop.toml"))))
    frame = lake.up_to("silver.events", DAY)
    assert persons.resolved(lake, "silver.events", frame, DAY) is frame
