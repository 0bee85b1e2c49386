"""Dependencies between jobs, and the kinds of raw files that each job needs. No Spark."""

from __future__ import annotations

from functools import cache

from schemas import bronze
from schemas.job import RECOMMEND, Job, Read


def edges(jobs: tuple[Job, ...]) -> list[tuple[str, str]]:
    """(earlier, later) pairs of job names: the later reads a table that the earlier writes. Sorted.

    A job that reads the model of an earlier run, to judge that run, waits for no training. Jobs that train models
    of different kinds replace the same partition of ops.models: each waits for the ones declared before it.

    The order in which jobs/flow.py declares them respects every edge, and is the order they run in on a laptop.
    """
    place = {job.name: number for number, job in enumerate(jobs)}

    def waits(job: Job, read: Read, writer: Job) -> bool:
        if read.table not in writer.writes or read.model == "judged" or writer is job:
            return False
        if read.window == "model":
            return writer.trains == (read.kind or RECOMMEND)
        return not (job.trains and writer.trains) or place[writer.name] < place[job.name]

    pairs = {
        (producer.name, job.name) for job in jobs for producer in jobs if not set(job.after).isdisjoint(producer.writes)
    }
    for job in jobs:
        pairs |= {(producer.name, job.name) for read in job.reads for producer in jobs if waits(job, read, producer)}
    return sorted(pairs)


@cache
def needs(job: Job, jobs: tuple[Job, ...]) -> tuple[str, ...]:
    """The kinds of raw files that a job requires: those from which the tables it reads are computed."""
    kinds: dict[str, None] = {}
    for read in job.reads:
        layer, name = read.table.split(".")
        if read.optional or read.window == "files" or read.table in job.writes:
            continue
        if read.window == "model":
            for trainer in (producer for producer in jobs if producer.trains == (read.kind or RECOMMEND)):
                kinds |= dict.fromkeys(needs(trainer, jobs))
        elif read.kind or (layer == "bronze" and name in bronze.KINDS):
            kinds[read.kind or name] = None
        else:
            for writer in [producer for producer in jobs if read.table in producer.writes][-1:]:
                kinds |= dict.fromkeys(needs(writer, jobs))
    return tuple(kinds)
