"""Nights of any checkout of Nightshelf in scratch folders: its clone, prepared lakes, a copied deployment, one run.

A night runs in a process of its own, in a folder of its own, with the code of its checkout first on the path and the
Python environment of the caller. The given checkout and lakes are not changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.night_logs import SparkWork, Version, job_seconds, new_versions, newest_versions, read_event_log, run_ids

SAMPLED = Path(__file__).with_name("sampled.py")
CODE = ("schemas", "jobs", "udfs", "conf", "tests/tiny_shop.py", "tests/support")
MODULES = ("jobs.commands.night", "jobs.night")  # the night's command, in newer and in older commits
SHOPS = ("tests.support.tiny_shop", "tests.tiny_shop")
LAYERS = ("bronze", "silver", "features", "gold", "ops", "staging", "data_docs")
EVENT_LOG = """
spark.eventLog.enabled                         true
spark.eventLog.dir                             {folder}
spark.eventLog.compress                        false
spark.eventLog.rolling.enabled                 false
"""
LAST_LINES = 15  # of a failed night's output, shown
SECONDS_TO_CLOSE = 20.0  # for the JVM to finish its log after Python has ended


class NightFailedError(Exception):
    """A night ended with another exit code than 0: which, and the end of what it printed."""


@dataclass(frozen=True)
class Checkout:
    """A working tree of some commit: its folder, and the abbreviated commit ("+changes" where the tree differs)."""

    folder: Path
    commit: str

    def module(self) -> str:
        """The night's command in this tree."""
        return self._first(MODULES, "the night's command")

    def tiny_shop(self) -> str:
        """The module that writes a tiny shop."""
        return self._first(SHOPS, "a tiny shop")

    def _first(self, modules: Sequence[str], what: str) -> str:
        for module in modules:
            if (self.folder / f"{module.replace('.', '/')}.py").is_file():
                return module
        raise FileNotFoundError(f"{self.folder} has none of {', '.join(modules)}: {what} is not found")

    def fingerprint(self) -> str:
        """A hash of all code that a prepared lake depends on."""
        digest = hashlib.sha256()
        for name in CODE:
            root = self.folder / name
            for file in [root] if root.is_file() else sorted(root.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    digest.update(f"{file.relative_to(self.folder)}\0".encode() + file.read_bytes())
        return digest.hexdigest()[:12]

    def environment(self) -> dict[str, str]:
        """The variables of a night, as the Makefile sets them; byte code is kept, as users have it."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONWARNINGS": "ignore::FutureWarning",
        }

    def python(self, code: str, *arguments: str) -> str:
        """What a few lines of Python print that run with this tree's code."""
        command = [sys.executable, "-P", "-c", code, *arguments]
        done = subprocess.run(command, env=self.environment(), cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise NightFailedError(f"{self.folder} ({self.commit}): {done.stderr.strip()}")
        return done.stdout

    def trained_tables(self) -> list[str]:
        """The tables that the training jobs of this tree write."""
        code = "from jobs.flow import TRAINING; print(*(table for job in TRAINING for table in job.writes))"
        return self.python(code).split()


@dataclass(frozen=True)
class Night:
    """One measured night. `sites`: (the two innermost functions, what they waited for, seconds) of the main thread."""

    wall_seconds: float
    cpu_seconds: float
    work: SparkWork
    versions: list[Version]
    jobs: dict[str, float | None]
    sites: list[tuple[str, str, float]]


def checkout(folder: Path) -> Checkout:
    """The checkout in a folder."""
    commit = _git(folder, "rev-parse", "--short=10", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--", *(name for name in CODE if (folder / name).exists()))
    return Checkout(folder.resolve(), commit + "+changes" * bool(changed))


def clone(commit: str, source: Path, scratch: Path) -> Checkout:
    """A commit of `source`, as a clone of its own in the scratch folder; an earlier one is used again."""
    full = _git(source, "rev-parse", "--verify", f"{commit}^{{commit}}")
    folder = scratch / "checkouts" / full[:10]
    if not folder.is_dir():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _git(source, "clone", "--quiet", "--shared", "--no-checkout", str(source), str(unfinished))
        _git(unfinished, "checkout", "--quiet", "--detach", full)
        unfinished.rename(folder)
    return Checkout(folder.resolve(), full[:10])


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def copy_lake(source: Path, target: Path, only: Sequence[str] | None = None) -> None:
    """Copy a lake: data files, which never change in place, as hard links; all others byte by byte.

    With `only`, of the tables in the layers' folders just these ("ops.models"), and everything outside the layers.
    """
    wanted = None if only is None else {tuple(table.split(".")) for table in only}
    for file in sorted(source.rglob("*")):
        parts = file.relative_to(source).parts
        if file.is_dir() or (wanted is not None and parts[0] in LAYERS and parts[:2] not in wanted):
            continue
        copy = target.joinpath(*parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet" and "_delta_log" not in parts:
            try:
                os.link(file, copy)
                continue
            except OSError:  # another file system
                pass
        shutil.copy2(file, copy)


def write_conf(source: Path, folder: Path, lake: Path, events: Path | None = None, landing: Path | None = None) -> Path:
    """A copy of a deployment in `folder` with another lake and absolute paths; with `events`, Spark logs events there.

    ValueError where the TOML has no line for one of the three paths at its top.
    """
    text = source.read_text("utf-8")
    top, table, tables = text.partition("\n[")
    paths = dict(re.findall(r'^(lake|landing|spark|checkpoints)\s*=\s*"([^"]*)"', top, re.MULTILINE))
    if missing := {"lake", "landing", "spark"} - set(paths):
        raise ValueError(f"{source}: no line for {', '.join(sorted(missing))} above the first table")
    here = source.resolve().parent
    spark = folder / "spark.conf"
    new = {name: here / path for name, path in paths.items()} | {"lake": lake, "spark": spark}
    if landing is not None:
        new["landing"] = landing.resolve()
    for name, path in new.items():
        top = re.sub(rf'^{name}\s*=\s*"[^"]*"', f'{name} = "{path}"', top, flags=re.MULTILINE)
    properties = (here / paths["spark"]).read_text("utf-8")
    if events is not None:
        events.mkdir(parents=True, exist_ok=True)
        properties += EVENT_LOG.format(folder=events.resolve().as_uri())
    spark.write_text(properties, "utf-8")
    conf = folder / source.name
    conf.write_text(top + table + tables, "utf-8")
    return conf


def run(code: Checkout, folder: Path, conf: Path, run_date: str, flags: Sequence[str] = ()) -> tuple[float, str]:
    """Run a night in a folder: wall seconds of the process and what it printed. NightFailedError where it fails."""
    sampled = [sys.executable, "-P", str(SAMPLED), str(folder / "sites.json"), str(code.folder)]
    command = [*sampled, code.module(), "--run-date", run_date, "--conf", str(conf), *flags]
    log = folder / "night.log"
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        exit_code = subprocess.call(command, env=code.environment(), cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    seconds = time.perf_counter() - started
    printed = log.read_text("utf-8", errors="replace")
    if exit_code:
        last = "\n".join(printed.splitlines()[-LAST_LINES:])
        ended = f"the night of {run_date} ended with exit code {exit_code}"
        raise NightFailedError(f"{code.commit}: {ended} ({log}):\n{last}")
    return seconds, printed


def measure(code: Checkout, folder: Path, conf: Path, lake: Path, run_date: str, landing: Path | None = None) -> Night:
    """Run one night on a lake in a folder that is both its own, and read what it has left behind."""
    before, runs = newest_versions(lake), run_ids(lake)
    own_conf = write_conf(conf, folder, lake, folder / "events", landing)
    seconds, printed = run(code, folder, own_conf, run_date)
    until = time.monotonic() + SECONDS_TO_CLOSE
    while any((folder / "events").glob("*.inprogress")) and time.monotonic() < until:
        time.sleep(0.2)
    sites = [(site, kind, spent) for site, kind, spent in json.loads((folder / "sites.json").read_text("utf-8"))]
    return Night(
        seconds,
        json.loads((folder / "cpu.json").read_text("utf-8")),
        read_event_log(folder / "events"),
        new_versions(lake, before),
        job_seconds(lake, runs, printed),
        sites,
    )


def prepare_tiny(code: Checkout, scratch: Path, trained_on: str) -> tuple[Path, Path, Path]:
    """A tiny shop with plans, as this checkout writes it: its TOML file, its lake after training, and after one night.

    Both lakes are prepared once for each state of the code.
    """
    root = scratch / "prepared" / f"{code.commit.split('+')[0]}-{code.fingerprint()}"
    conf, trained, later = root / "tiny_shop.toml", root / "trained", root / "later"
    if not conf.is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        lines = (
            "import importlib, sys; from pathlib import Path; shop = importlib.import_module(sys.argv[1]); "
            "shop.add_plans(shop.make(Path(sys.argv[2])))"
        )
        code.python(lines, code.tiny_shop(), str(root))
    for lake, source, flags in (
        (trained, None, ("--train", "always", "--only", "training")),
        (later, trained, ("--train", "never")),
    ):
        if lake.is_dir():
            continue
        unfinished = root / f"{lake.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        if source is not None:
            copy_lake(source, unfinished / "lake")
        print(f"{code.commit}: preparing a tiny shop ({' '.join(flags)}) ...", file=sys.stderr, flush=True)
        run(code, unfinished, write_conf(conf, unfinished, unfinished / "lake"), trained_on, flags)
        (unfinished / "lake").rename(lake)
        shutil.rmtree(unfinished)
    return conf, trained, later
