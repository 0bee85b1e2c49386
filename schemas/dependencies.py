"""Dependencies of jobs: which waits for which, and the kinds of raw files that each needs. No Spark."""

from __future__ import annotations

from functools import cache

from schemas import bronze
from schemas.job import RECOMMEND, Job, Read


def edges(jobs: tuple[Job, ...]) -> list[tuple[str, str]]:
    """(earlier, later) pairs of job names: the later reads a table that the earlier writes. Sorted.

    A model that judges an earlier night is not one of tonight's: who reads it waits for nobody. Jobs that train models
    of different kinds replace the same partition of ops.models: each waits for those declared before it.

    The order in which jobs/flow.py declares them respects every edge, and is the order they run in on a laptop.
    """
    place = {job.name: number for number, job in enumerate(jobs)}

    def waits(job: Job, read: Read, other: Job) -> bool:
        if read.table not in other.writes or read.model == "judged" or other is job:
            return False
        if read.window == "model":
            return other.trains == (read.kind or RECOMMEND)
        return not (job.trains and other.trains) or place[other.name] < place[job.name]

    pairs = {(other.name, job.name) for job in jobs for other in jobs if not set(job.after).isdisjoint(other.writes)}
    for job in jobs:
        pairs |= {(other.name, job.name) for read in job.reads for other in jobs if waits(job, read, other)}
    return sorted(pairs)


@cache
def needs(job: Job, jobs: tuple[Job, ...]) -> tuple[str, ...]:
    """The kinds of raw files that a job cannot do without: those that the tables it reads are made of."""
    kinds: dict[str, None] = {}
    for read in job.reads:
        layer, name = read.table.split(".")
        if read.optional or read.window == "files" or read.table in job.writes:
            continue
        if read.window == "model":
            for trainer in (other for other in jobs if other.trains == (read.kind or RECOMMEND)):
                kinds |= dict.fromkeys(needs(trainer, jobs))
        elif read.kind or (layer == "bronze" and name in bronze.KINDS):
            kinds[read.kind or name] = None
        else:
            for writer in [other for other in jobs if read.table in other.writes][-1:]:
                kinds |= dict.fromkeys(needs(writer, jobs))
    return tuple(kinds)
