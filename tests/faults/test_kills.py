"""Kill -9 at many moments of a night: readers see the old rows or the new ones, and a second run ends as a clean one.

make test-faults          # fifty kills, the seed is fixed
FAULTS=200 make test-faults
FAULTS=21-50 make test-faults  # the rest of them, after a run that was stopped at the twentieth

A job is killed, not a whole night: it starts from the tables that the jobs before it have left, and what the ones after
it read is compared with what a job leaves that nobody has killed. Two nights are killed and run again whole.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.commands import night
from jobs.flow import NIGHT, lacking, stands
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.faults.killed import BEGINS
from tests.support import tiny_shop

FIRST, LAST = (int(end or 1) for end in os.environ.get("FAULTS", "50").rpartition("-")[::2])
TONIGHT, BEFORE = tiny_shop.day(14), tiny_shop.day(13)
# What a run says about itself, who and when; all else of a table must be the same.
OWN = ("run_id", "publication_id", "published_at", "version", "modified_at")
RECORDS = {"ops.encodes"}  # how long it took and how much was reused: a second run reuses more
# The tiny shop has the raw files that every shop must have, and no others.
KINDS = ("events", "items")  # of the tiny shop
TABLES = [table for job in NIGHT for table in job.writes if table not in RECORDS and stands(table, KINDS)]
WITH_WORKERS = ("score_candidates", "rank_recommendations", "find_similar_items", "forecast_demand")
READ_BY_OTHERS = [table for table in TABLES if table.startswith("gold.")]


@dataclass(frozen=True)
class Fault:
    """What is killed, in which job (or in the night), and when: at a commit, or so many seconds after it began."""

    victim: str  # "driver" or "worker"
    what: str
    moment: str  # before:N, after:N, or "time"
    seconds: float = 0.0

    @property
    def kind(self) -> str:
        when = "at a random moment" if self.moment == "time" else f"{self.moment.split(':')[0]} a commit"
        return f"{self.victim} killed {when}"


def rows(conf: Path, table: str, date: object, version: int | None = None) -> list[str]:
    """One night of a table as another system reads it, without what a run says about itself; nothing if none stands."""
    folder = conf.parent / "lake" / table.replace(".", "/")
    if not (folder / "_delta_log" / f"{0:020}.json").exists():
        return []
    frame = pl.read_delta(str(folder), version=version).filter(pl.col("run_date") == date)
    if table == "ops.publications":
        frame = frame.filter(pl.col("current"))
    return sorted(map(repr, frame.drop(OWN, strict=False).rows()))


def start(conf: Path, moment: str, what: str) -> subprocess.Popen[str]:
    """The job or night in a process group of its own, its output a file beside the conf."""
    flags = ["--run-date", str(TONIGHT), "--conf", str(conf)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed", moment, what, *flags],
        cwd=tiny_shop.REPO,
        stdout=(conf.parent / "job.log").open("w"),
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(conf: Path) -> str:
    return (conf.parent / "job.log").read_text()


@pytest.fixture(scope="module")
def template(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose night before has been run; every fault gets a copy in the same place: its conf has paths."""
    return tiny_shop.copied(trained_shop, tmp_path_factory.mktemp("faults") / "shop")


def tonight(conf: Path) -> dict[str, list[str]]:
    return {table: rows(conf, table, TONIGHT) for table in TABLES}


@dataclass(frozen=True)
class Clean:
    """A night that nobody killed, job by job: commits, seconds, and tonight's rows of every table, before and after.

    `start` is a folder with a copy of the shop as each job found it; `before` the rows of the night before.
    """

    start: Path
    before: dict[str, list[str]]
    commits: dict[str, int]
    seconds: dict[str, float]
    found: dict[str, dict[str, list[str]]]
    left: dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def clean(template: Path, spark: SparkSession) -> Clean:
    conf, committed = template, []
    shop = Clean(conf.parents[1] / "start", {table: rows(conf, table, BEFORE) for table in TABLES}, {}, {}, {}, {})
    real = Lake._commit

    def commit(self: Lake, table: str, write: object) -> None:
        committed.append(table)
        real(self, table, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "_commit", commit)
        for job in (job for job in NIGHT if not lacking(job, KINDS)):
            shutil.copytree(conf.parent, shop.start / job.name)
            shop.found[job.name] = tonight(conf)
            committed.clear()
            clock = time.monotonic()
            run_job.run(job.name, Lake(spark, load(str(conf))), TONIGHT)
            shop.seconds[job.name] = time.monotonic() - clock
            shop.commits[job.name] = len(committed)
            shop.left[job.name] = tonight(conf)
    shop.found["night"], shop.left["night"] = shop.found[NIGHT[0].name], shop.left[NIGHT[-1].name]
    assert all(shop.left["night"][table] for table in READ_BY_OTHERS)
    return shop


def afresh(conf: Path, clean: Clean, what: str, spark: SparkSession) -> None:
    """The shop as the job found it, in the same place: its conf has paths."""
    shutil.rmtree(conf.parent)
    shutil.copytree(clean.start / (NIGHT[0].name if what == "night" else what), conf.parent)
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # what it knows of these paths is no longer so


def faults(clean: Clean) -> Iterator[Fault]:
    """Half at commits, half at moments, of these most of the driver; the same ones every time, without end."""
    rng = random.Random("nightshelf")
    at_commits = [
        (job, f"{when}:{number}")
        for job, commits in clean.commits.items()
        for number in range(1, commits + 1)
        for when in ("before", "after")
    ]
    rng.shuffle(at_commits)
    for number in count():
        if number % 2 == 0:
            yield Fault("driver", *at_commits[number // 2 % len(at_commits)])
        else:
            victim = "worker" if number % 6 == 5 else "driver"
            among = [job for job in clean.seconds if victim == "driver" or job in WITH_WORKERS]
            (job,) = rng.choices(among, [clean.seconds[job] for job in among])
            # In a JVM that has just started a job takes about twice as long as in the one of the clean night.
            yield Fault(victim, job, "time", rng.uniform(0, 2) * clean.seconds[job])


def workers(driver: int) -> list[int]:
    """The Python workers of a night: what Spark's daemon, in the driver's session of processes, has forked."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if os.getsid(pid) == driver and b"pyspark.daemon" in (folder / "cmdline").read_bytes():
                parents[pid] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    return [pid for pid, parent in parents.items() if parent in parents]


def suffer(conf: Path, fault: Fault) -> bool:
    """Run it and let the fault happen; whether it did (the job may have been over before)."""
    process = start(conf, fault.moment if ":" in fault.moment else "never", fault.what)
    if fault.moment != "time":
        return process.wait(600) == -signal.SIGKILL
    while BEGINS not in said(conf) and process.poll() is None:
        time.sleep(0.05)
    deadline, happened = time.monotonic() + fault.seconds, False
    while process.poll() is None:
        if time.monotonic() >= deadline and not happened:
            if fault.victim == "driver":
                os.killpg(process.pid, signal.SIGKILL)
                happened = True
            elif found := workers(process.pid):
                os.kill(random.Random(fault.seconds).choice(found), signal.SIGKILL)
                happened = True
        time.sleep(0.02)
    died = process.returncode == -signal.SIGKILL  # one that was killed as it ended may have ended well
    assert process.returncode == 0 or (died and happened and fault.victim == "driver"), said(conf)
    return died if fault.victim == "driver" else happened


def look(conf: Path, clean: Clean, what: str) -> None:
    """What others may read: each gold table has the old rows and, of the new ones, nothing or all."""
    for table in READ_BY_OTHERS:
        assert rows(conf, table, BEFORE) == clean.before[table], table
        assert rows(conf, table, TONIGHT) in (clean.found[what][table], clean.left[what][table]), table
    published = pl.read_delta(str(conf.parent / "lake" / "ops" / "publications")).filter(pl.col("current"))
    for row in published.rows(named=True):
        expected = clean.before if row["run_date"] == BEFORE else clean.left["night"]
        assert rows(conf, row["table_name"], row["run_date"], row["version"]) == expected[row["table_name"]]


def suffer_and_mend(
    conf: Path, clean: Clean, spark: SparkSession, chosen: Iterable[Fault], first: int = 1
) -> Iterator[str]:
    """Each fault's kind, once a second run has mended what it left."""
    for number, fault in enumerate(chosen, start=first):
        afresh(conf, clean, fault.what, spark)
        kind = fault.kind if suffer(conf, fault) else f"{fault.victim}: it was over"
        look(conf, clean, fault.what)
        if fault.what == "night":
            assert night.main(["--run-date", str(TONIGHT), "--conf", str(conf)]) == 0, fault
        else:
            run_job.run(fault.what, Lake(spark, load(str(conf))), TONIGHT)
        for table in TABLES:
            assert rows(conf, table, TONIGHT) == clean.left[fault.what][table], (fault, table)
            if not table.startswith("ops."):
                assert rows(conf, table, BEFORE) == clean.before[table], (fault, table)
        staged = list((conf.parent / "lake" / "staging").rglob("*.parquet"))
        assert len(staged) <= 8, staged  # what the killed run had staged; maintenance removes it
        print(f"fault {number} mended: {fault}", flush=True)
        yield kind


@pytest.mark.faults
def test_a_killed_night_is_run_again_whole(template: Path, clean: Clean, spark: SparkSession) -> None:
    middle = sum(clean.commits.values()) // 2
    chosen = [
        Fault("driver", "night", f"after:{middle}"),
        Fault("worker", "night", "time", sum(clean.seconds.values()) / 2),
    ]
    happened = list(suffer_and_mend(template, clean, spark, chosen))
    assert happened == ["driver killed after a commit", "worker killed at a random moment"]


@pytest.mark.faults
def test_many_kills(template: Path, clean: Clean, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    happened: Counter[str] = Counter()
    with capsys.disabled():  # it takes hours: each fault is told when it is mended
        try:
            chosen = islice(faults(clean), FIRST - 1, LAST)
            happened.update(suffer_and_mend(template, clean, spark, chosen, FIRST))
        finally:  # what was mended before a failure, or before somebody stopped it
            commits, seconds = sum(clean.commits.values()), sum(clean.seconds.values())
            print(f"\na night of {len(clean.seconds)} jobs, {commits} commits and {seconds:.0f} s")
            print("| fault | times | rows lost | nights half seen |\n|---|---|---|---|")
            for kind, times in sorted(happened.items()):
                print(f"| {kind} | {times} | 0 | 0 |")
