"""The flow of jobs as text and as a Mermaid picture, and the reference of the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from jobs.flow import (
    BACKTEST,
    EVALUATION,
    INTAKE,
    MAINTENANCE,
    NIGHT,
    PLANNING,
    PUBLISHING,
    SCORING,
    TRAINING,
)
from schemas import TABLES
from schemas.dependencies import edges
from schemas.derive import reference_page
from schemas.job import Job

# The boxes of the picture.
STAGES: dict[str, tuple[Job, ...]] = {
    "intake": INTAKE,
    "training": TRAINING,
    "scoring": SCORING,
    "planning": PLANNING,
    "publishing": PUBLISHING,
}
MOST_NAMED = 3  # tables named on an arrow; of more, their number
COLOURS = {"silver": "#d8dee6", "features": "#d5e8d4", "gold": "#ffe699", "bronze": "#ecd2b4", "ops": "#e1d5e7"}
PAGE = """# The flow of a night

Drawn by `make flow` from `jobs/flow.py`. A box is a job with the tables that it writes, less rejected rows and records
of the work; its colour is their layer. An arrow between stages names the tables that the later one reads. Training runs
weekly. Not drawn, for no night waits for them: {others}.

```mermaid
{picture}
```
"""


def as_text(jobs: Sequence[Job]) -> str:
    """Two lines a job: what it reads, with the window of dates, and what it writes."""
    lines = []
    for number, job in enumerate(jobs, start=1):
        reads = ", ".join(f"{read.table}{f' of {read.kind}' * bool(read.kind)} ({read.seen})" for read in job.reads)
        reads += f"; after {', '.join(job.after)}" * bool(job.after)
        lines += [f"{number:>2}. {job.name}", f"      <- {reads or 'nothing'}", f"      -> {', '.join(job.writes)}"]
    return "\n".join(lines)


def direct_edges(jobs: tuple[Job, ...]) -> list[tuple[str, str]]:
    """The edges between jobs, less those that longer paths imply."""
    pairs = edges(jobs)

    def later(job: str) -> set[str]:
        following = {after for before, after in pairs if before == job}
        return following.union(*map(later, following))

    return [
        (before, after)
        for before, after in pairs
        if not any(after in later(between) for start, between in pairs if start == before)
    ]


def shown(job: Job) -> list[str]:
    """The main tables of a job: without rejected rows, ledgers and records of the work."""
    of_layer = [name for name in job.writes if name.startswith(f"{job.layer}.")]
    return [name for name in of_layer if ".rejected_" not in name and ".cleaned_" not in name]


def between(earlier: Sequence[Job], later: Sequence[Job]) -> str:
    """Label of the arrow between two stages: the tables, or their number; empty where there is no arrow."""
    read = {table for job in later for table in (*(read.table for read in job.reads), *job.after)}
    tables = [table for job in earlier for table in shown(job) if table in read]
    if len(tables) > MOST_NAMED:
        return f"{len(tables)} tables of {tables[0].split('.')[0]}"
    return "<br>".join(tables)


def as_mermaid(stages: dict[str, tuple[Job, ...]]) -> str:
    """A flowchart: stages as boxes, their jobs within, arrows between jobs of a stage and between stages."""
    lines = ["flowchart LR", "  raw([raw files]) --> intake"]
    for stage, jobs in stages.items():
        lines += [f"  subgraph {stage}", "    direction TB"]
        for job in jobs:
            words = "<br>".join([f"<b>{job.name}</b>", *shown(job)])
            lines.append(f'    {job.name}["{words}"]:::{job.layer}')
        lines += [f"    {before} --> {after}" for before, after in direct_edges(jobs)]
        lines.append("  end")
    for earlier, later in combinations(stages, 2):
        if label := between(stages[earlier], stages[later]):
            lines.append(f'  {earlier} -- "{label}" --> {later}')
    layers = sorted({job.layer for jobs in stages.values() for job in jobs})
    lines += [f"  classDef {layer} fill:{COLOURS[layer]},stroke:#555,color:#000" for layer in layers]
    return "\n".join(lines)


def as_page() -> str:
    """docs/flow.md."""
    others = ", ".join(f"`{job.name}`" for job in EVALUATION + BACKTEST + MAINTENANCE)
    return PAGE.format(others=others, picture=as_mermaid(STAGES))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the nightly run and the training; write the requested pages."""
    parser = argparse.ArgumentParser(prog="jobs.commands.draw_flow", description=__doc__)
    parser.add_argument("--page", type=Path, help="write the picture here, as Markdown")
    parser.add_argument("--tables", type=Path, help="write the tables' reference here")
    given = parser.parse_args(arguments)
    parts = {"night": NIGHT, "weekly training": TRAINING + EVALUATION + BACKTEST, "weekly upkeep": MAINTENANCE}
    print("\n\n".join(f"{name}\n{as_text(jobs)}" for name, jobs in parts.items()))
    for path, text in ((given.page, as_page()), (given.tables, reference_page(TABLES.values()))):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"\nwritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
