"""Kill -9 at many moments of a night: readers see the old night or the new one, and a second run ends as a clean one.

make test-faults          # fifty kills, the seed is fixed
FAULTS=200 make test-faults
FAULTS=21-50 make test-faults  # the rest of them, after a run that was stopped at the twentieth
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import polars as pl
import pytest

from jobs import night
from jobs.flow import NIGHT
from tests import tiny_shop

FIRST, LAST = (int(end or 1) for end in os.environ.get("FAULTS", "50").rpartition("-")[::2])
TONIGHT, BEFORE = tiny_shop.day(14), tiny_shop.day(13)
# What a run says about itself, who and when; all else of a table must be the same.
OWN = ("run_id", "publication_id", "published_at", "version", "modified_at")
RECORDS = {"ops.encodes"}  # how long it took and how much was reused: a second run reuses more
TABLES = [table for job in NIGHT for table in job.writes if table not in RECORDS]
READ_BY_OTHERS = [table for table in TABLES if table.startswith("gold.")]


@dataclass(frozen=True)
class Fault:
    """What is killed, and when: at a commit, or so many seconds after Spark was started."""

    victim: str  # "driver" or "worker"
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


def start(conf: Path, moment: str) -> subprocess.Popen[str]:
    """The night in a process group of its own, its output a file beside the conf."""
    command = [
        sys.executable,
        "-m",
        "tests.faults.killed_night",
        moment,
        "--run-date",
        str(TONIGHT),
        "--conf",
        str(conf),
    ]
    log = (conf.parent / "night.log").open("w")
    return subprocess.Popen(
        command, cwd=tiny_shop.REPO, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def said(conf: Path) -> str:
    return (conf.parent / "night.log").read_text()


@pytest.fixture(scope="module")
def template(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose night before has been run; every fault gets a copy in the same place: its conf has paths."""
    root = tmp_path_factory.mktemp("faults") / "shop"
    shutil.copytree(trained_shop, root)
    conf = root / "tiny_shop.toml"
    conf.write_text(conf.read_text().replace(str(trained_shop), str(root)))
    shutil.copytree(root, root.with_name("template"))
    return conf


def afresh(conf: Path) -> Path:
    shutil.rmtree(conf.parent)
    shutil.copytree(conf.parent.with_name("template"), conf.parent)
    return conf


@dataclass(frozen=True)
class Clean:
    """A night that nobody killed: its tables, how many commits it had, how long it took."""

    tables: dict[str, list[str]]
    before: dict[str, list[str]]
    commits: int
    seconds: float


@pytest.fixture(scope="module")
def clean(template: Path) -> Clean:
    conf, clock = afresh(template), time.monotonic()
    before = {table: rows(conf, table, BEFORE) for table in TABLES}
    process = start(conf, "never")
    assert process.wait(600) == 0, said(conf)
    seconds = time.monotonic() - clock
    tables = {table: rows(conf, table, TONIGHT) for table in TABLES}
    assert all(tables[table] for table in READ_BY_OTHERS)
    return Clean(tables, before, len(re.findall(r"^commit \d+ ", said(conf), re.M)), seconds)


def faults(clean: Clean) -> Iterator[Fault]:
    """Half at commits, half at moments, of these most of the driver; the same ones every time, without end."""
    rng = random.Random("nightshelf")
    at_commits = [f"{when}:{number}" for number in range(1, clean.commits + 1) for when in ("before", "after")]
    rng.shuffle(at_commits)
    for number in count():
        if number % 2 == 0:
            yield Fault("driver", at_commits[number // 2 % len(at_commits)])
        else:
            victim = "worker" if number % 6 == 5 else "driver"
            yield Fault(victim, "time", rng.uniform(0.25, 1.0) * clean.seconds)


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
    """Run the night and let the fault happen; whether it did (the night may have been over before)."""
    process = start(conf, fault.moment if ":" in fault.moment else "never")
    if fault.moment != "time":
        process.wait(600)
        return True
    deadline = time.monotonic() + fault.seconds
    if fault.victim == "driver":
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        happened = process.poll() is None
        if happened:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        return happened
    happened = False
    while process.poll() is None:
        if time.monotonic() >= deadline and not happened and (found := workers(process.pid)):
            os.kill(random.Random(fault.seconds).choice(found), signal.SIGKILL)
            happened = True
        time.sleep(0.02)
    assert process.returncode == 0, said(conf)
    return happened


def look(conf: Path, clean: Clean) -> None:
    """What others may read: each gold table has the old night and, of the new one, nothing or all."""
    for table in READ_BY_OTHERS:
        assert rows(conf, table, BEFORE) == clean.before[table], table
        assert rows(conf, table, TONIGHT) in ([], clean.tables[table]), table
    published = pl.read_delta(str(conf.parent / "lake" / "ops" / "publications")).filter(pl.col("current"))
    for row in published.rows(named=True):
        expected = clean.before if row["run_date"] == BEFORE else clean.tables
        assert rows(conf, row["table_name"], row["run_date"], row["version"]) == expected[row["table_name"]]


def suffer_and_mend(conf: Path, clean: Clean, chosen: Iterator[Fault], first: int = 1) -> Iterator[str]:
    """Each fault's kind, once a second run has mended what it left."""
    for number, fault in enumerate(chosen, start=first):
        afresh(conf)
        kind = fault.kind if suffer(conf, fault) else f"{fault.victim}: the night was over"
        look(conf, clean)
        assert night.main(["--run-date", str(TONIGHT), "--conf", str(conf)]) == 0, fault
        for table in TABLES:
            assert rows(conf, table, TONIGHT) == clean.tables[table], (fault, table)
            if not table.startswith("ops."):
                assert rows(conf, table, BEFORE) == clean.before[table], (fault, table)
        staged = list((conf.parent / "lake" / "staging").rglob("*.parquet"))
        assert len(staged) <= 8, staged  # what the killed run had staged; maintenance removes it
        print(f"fault {number} mended: {fault}", flush=True)
        yield kind


@pytest.mark.faults
def test_a_few_kills(template: Path, clean: Clean) -> None:
    """One of each kind, some minutes. In the ordinary suite tests/test_intake.py stops jobs between their commits."""
    last = Fault("driver", f"before:{clean.commits}")
    chosen = [Fault("driver", "after:2"), Fault("worker", "time", clean.seconds / 2), last]
    assert len(list(suffer_and_mend(template, clean, iter(chosen)))) == 3


@pytest.mark.faults
def test_many_kills(template: Path, clean: Clean, capsys: pytest.CaptureFixture[str]) -> None:
    happened: Counter[str] = Counter()
    try:
        happened.update(suffer_and_mend(template, clean, islice(faults(clean), FIRST - 1, LAST), FIRST))
    finally:  # what was mended before a failure, or before somebody stopped it
        with capsys.disabled():
            print(f"\na night of {clean.commits} commits and {clean.seconds:.0f} s")
            print("| fault | times | rows lost | nights half seen |\n|---|---|---|---|")
            for kind, times in sorted(happened.items()):
                print(f"| {kind} | {times} | 0 | 0 |")
