"""Figures of a measured run, the base's figures as recorded on this machine, and the tables of both."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from bench.harness import console
from bench.night_runs import Night

RESULTS = Path(__file__).parent / "results-night.json"
BASES = Path(__file__).parent / "results-night-base.json"
MATMUL_SIDE, MATMULS, LOOPS = 1024, 60, 25_000_000  # some two seconds each on two slow cores
SHOWN_SITES = 25
COUNTS = {
    "wall_seconds": "wall seconds",
    "cpu_seconds": "CPU seconds of all its processes",
    "sql_executions": "SQL executions",
    "spark_jobs": "Spark jobs",
    "versions_other": "new table versions, without ops",
    "versions_ops": "new table versions, ops",
    "bytes_added": "bytes of data files added to tables",
    "spark_bytes_written": "bytes written by Spark's tasks",
    "spark_busy_seconds": "seconds with a query or job running",
}


@dataclass(frozen=True)
class Calibration:
    """Seconds that a fixed amount of work takes on one thread at this moment: matrix products, and plain Python."""

    matmul_seconds: float
    python_seconds: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.matmul_seconds + self.python_seconds


@dataclass(frozen=True)
class Figures:
    """One scenario of one commit on this machine. `figures`: medians of the rounds, by the names in COUNTS.

    `calibration_seconds` is the mean of what the calibration took before and after. Seconds by job, descriptions,
    versions and sites are those of the round with the median wall time.
    """

    commit: str
    scenario: str
    cpu: str
    measured_at: str
    rounds: int
    calibration_seconds: float
    figures: dict[str, float]
    all_wall_seconds: list[float]
    jobs: dict[str, float | None]
    by_description: dict[str, tuple[int, float]]
    versions: dict[str, int]
    engines: dict[str, int]
    sites: list[tuple[str, str, float]]

    @property
    def key(self) -> str:
        """What a base is recorded by."""
        return f"{self.commit} | {self.scenario} | {self.cpu}"


def calibrate() -> Calibration:
    """Do the fixed work."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    left = np.random.default_rng(7).standard_normal((MATMUL_SIDE, MATMUL_SIDE)).astype(np.float32)
    with threadpool_limits(1):
        started = time.perf_counter()
        for _ in range(MATMULS):
            _ = left @ left
        between = time.perf_counter()
    total = 0
    for number in range(LOOPS):
        total += number & 7
    return Calibration(between - started, time.perf_counter() - between)


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The machine's chip in words, with its number of cores."""
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    cores = sum(line.startswith("processor") for line in lines) or 1
    parts = [values[key] for key in ("model name", "cpu family", "model") if key in values]
    return f"{' '.join(parts) or platform.processor() or platform.machine()}, {cores} cores"


def figures_of(night: Night) -> dict[str, float]:
    """A night's figures by the names in COUNTS."""
    return {
        "wall_seconds": round(night.wall_seconds, 1),
        "cpu_seconds": round(night.cpu_seconds, 1),
        "sql_executions": night.work.sql_executions,
        "spark_jobs": night.work.jobs,
        "versions_other": sum(not version.is_ops for version in night.versions),
        "versions_ops": sum(version.is_ops for version in night.versions),
        "bytes_added": sum(version.bytes_added for version in night.versions),
        "spark_bytes_written": night.work.bytes_written,
        "spark_busy_seconds": round(night.work.busy_seconds, 1),
    }


def summarise(commit: str, scenario: str, nights: Sequence[Night], calibrations: Sequence[Calibration]) -> Figures:
    """The figures of some rounds of one scenario."""
    if not nights:
        raise ValueError(f"{scenario}: no round was run")
    rounds = [figures_of(night) for night in nights]
    middle = sorted(nights, key=lambda night: night.wall_seconds)[(len(nights) - 1) // 2]
    versions, engines = _counted(v.table for v in middle.versions), _counted(v.engine for v in middle.versions)
    queries = sorted(middle.work.by_description.items(), key=lambda pair: (-pair[1].seconds, pair[0]))
    return Figures(
        commit,
        scenario,
        cpu_model(),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        len(nights),
        round(sum(calibration.seconds for calibration in calibrations) / len(calibrations), 3),
        {name: median(row[name] for row in rounds) for name in COUNTS},
        [row["wall_seconds"] for row in rounds],
        dict(sorted(middle.jobs.items(), key=lambda job: (-(job[1] or 0.0), job[0]))),
        {description: (work.count, round(work.seconds, 2)) for description, work in queries},
        versions,
        engines,
        middle.sites,
    )


def _counted(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def recorded_base(commit: str, scenario: str, path: Path = BASES) -> Figures | None:
    """The base's figures as recorded on a machine like this one, if they are."""
    if not path.is_file():
        return None
    bases = json.loads(path.read_text("utf-8"))
    base = bases.get(f"{commit} | {scenario} | {cpu_model()}")
    return Figures(**base) if base else None


def record_base(base: Figures, path: Path = BASES) -> None:
    """Record the base's figures for later runs on this machine."""
    bases = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    bases[base.key] = asdict(base)
    path.write_text(json.dumps(bases, indent=1) + "\n", "utf-8")


def ratios(now: Figures, base: Figures) -> dict[str, float]:
    """Each figure as a share of the base's: 0.25 is a quarter. Without those of which the base has none.

    `wall_seconds, corrected`: both divided by their own calibration first, which takes out how fast the machine was.
    """
    shares = {name: now.figures[name] / base.figures[name] for name in COUNTS if base.figures.get(name)}
    drift = base.calibration_seconds / now.calibration_seconds
    return shares | {"wall_seconds, corrected": shares["wall_seconds"] * drift}


def show(now: Figures, base: Figures | None) -> None:
    """Print one scenario: its figures beside the base's, seconds by job, Spark's queries, and where the driver was."""
    shares = ratios(now, base) if base else {}
    rounds = f"{now.rounds} round{'s' * (now.rounds > 1)}"
    walls = ", ".join(f"{seconds:,.0f}" for seconds in now.all_wall_seconds)
    title = f"{now.scenario} at {now.commit}, {rounds} ({walls} s), calibration {now.calibration_seconds:.1f} s"
    beside = f"base {base.commit}, calibration {base.calibration_seconds:.1f} s" if base else "base"
    console().print(title)
    table = Table("", "now", *([beside, "now / base"] if base else []))
    for name, words in COUNTS.items():
        share = f"{shares[name]:.3f}" if name in shares else ""
        table.add_row(words, _number(now.figures[name]), *([_number(base.figures.get(name, 0)), share] if base else []))
    if base:
        table.add_row("wall seconds by calibration", "", "", f"{shares['wall_seconds, corrected']:.3f}")
    console().print(table)
    jobs = Table("job", "seconds", *(["base"] if base else []), title="seconds by job", title_justify="left")
    for job in dict.fromkeys((*now.jobs, *(base.jobs if base else ()))):
        jobs.add_row(job, _seconds(now.jobs, job), *([_seconds(base.jobs, job)] if base else []))
    console().print(jobs)
    queries = Table("queries and jobs", "times", "seconds", title="Spark, by description", title_justify="left")
    for description, (count, seconds) in list(now.by_description.items())[:SHOWN_SITES]:
        queries.add_row(description, f"{count:,}", f"{seconds:.1f}")
    console().print(queries, markup=False)
    kinds: dict[str, float] = {}
    sites = Table("the main thread was in", "for", "seconds", title="driver, by call site", title_justify="left")
    for place, (site, kind, seconds) in enumerate(now.sites):
        kinds[kind] = kinds.get(kind, 0.0) + seconds
        if place < SHOWN_SITES:
            sites.add_row(site, kind, f"{seconds:.1f}")
    console().print(sites, markup=False)
    waits = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sorted(kinds.items(), key=lambda pair: -pair[1]))
    console().print(f"driver in all: {waits}")
    console().print(f"versions by table: {', '.join(f'{name} {count}' for name, count in now.versions.items())}")
    console().print(f"versions by engine: {', '.join(f'{name} {count}' for name, count in now.engines.items())}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _seconds(jobs: dict[str, float | None], job: str) -> str:
    seconds = jobs.get(job)
    return f"{seconds:.1f}" if seconds is not None else "no end recorded" if job in jobs else ""
