"""Runs one job: settings in, declared windows read, function called, outputs published, recorded."""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Literal, get_args, get_origin

from pyspark.sql import SparkSession

from jobs.flow import INTAKE, JOBS, NIGHT, lacking, stands
from jobs.runner import approvals, erased_list, model_store, persons, pseudonym_vault, shared_files, upkeep
from jobs.runner.cli import common_flags, reported
from jobs.runner.lake import Lake
from jobs.runner.pending_days import PendingDays, work_of
from jobs.runner.publish import OvertakenError, Publisher
from jobs.runner.records import RECORDS, recorded
from jobs.runner.session import session
from jobs.runner.settings import check_settings, function_of, knobs_of, settings
from jobs.transforms import mapping
from schemas import TABLES
from schemas.deployment import load
from schemas.errors import ConfError, DataError, NoModelError, TooEarlyError
from schemas.job import RECOMMEND, Job, Read
from schemas.run import GoldTable, Model, RunContext
from udfs.horizon import HORIZON_DAYS

_OF_SOURCES = {job.name for job in INTAKE}  # jobs that work with the ids of the sources
ATTEMPTS = 3  # of a job whose tables another run of it writes at the same time


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run of a job: rows written per table, seconds, the model used or trained, the days replaced.

    `skipped`: the reason why the job was skipped.
    """

    run_id: str
    job: str
    rows: dict[str, int]
    seconds: float
    model_version: str | None
    days: tuple[dt.date, ...]
    skipped: str = ""


def run(
    name: str,
    lake: Lake,
    run_date: dt.date,
    flags: Mapping[str, Any] | None = None,
    since: dt.date | None = None,
    dry_run: bool = False,
    reingest: bool = False,
    accept_drift: bool = False,
) -> Outcome:
    """Run a job for one date and publish its outputs, or refuse them and leave every table as it was.

    `since`: a job that works day by day processes every day from then on again; `reingest`: also the days whose raw
    files have changed since they were read. `accept_drift`: figures beyond the limits of drift are warnings, this
    once. `dry_run`: everything is computed and checked, nothing is written; Outcome.rows is what would have been. A
    job is skipped where the deployment lacks its sources. Raises ConfError or DataError, and EnvironmentFault where a
    disk or the cluster is at fault; ops.runs records every run but dry runs and skipped jobs. A run that conflicts with
    another one of the same days is repeated, twice at most; then OvertakenError.
    """
    for _ in range(1, ATTEMPTS):
        clock = time.monotonic()
        try:
            return _run_once(name, lake, run_date, flags, since, dry_run, reingest, accept_drift)
        except OvertakenError as error:
            time.sleep((time.monotonic() - clock) * error.waits)  # as long as the other run will take
    return _run_once(name, lake, run_date, flags, since, dry_run, reingest, accept_drift)


def _run_once(
    name: str,
    lake: Lake,
    run_date: dt.date,
    flags: Mapping[str, Any] | None,
    since: dt.date | None,
    dry_run: bool,
    reingest: bool,
    accept_drift: bool,
) -> Outcome:
    job, function, kinds = JOBS[name], function_of(name), lake.deployment.kinds
    if missing := lacking(job, kinds):
        return Outcome("", name, {}, 0.0, None, (), f"{lake.deployment.name} has no [sources.{missing[0]}]")
    job = replace(job, writes=tuple(table for table in job.writes if stands(table, kinds)))
    Thread(target=import_module, args=("jobs.runner.quality",), daemon=True).start()  # while Spark computes
    if accept_drift and lake.deployment.gate.approval:
        raise ConfError("--accept-drift: [gate] approval has a person approve drift instead: make approve")
    if JOBS[name] in INTAKE:  # before anything is read
        pseudonym_vault.check_key(lake, mark=not dry_run)
    with recorded(lake, name, run_date, dry_run) as record:
        knobs = settings(job, function, lake.deployment, flags or {})
        for table in (*job.writes, *RECORDS):  # first, so that a torn table stops the job before any write
            lake.check_log(table)
        pending = work_of(lake, job, run_date, since, reingest)
        _publish(job, function, knobs, lake, pending, record, dry_run, accept_drift)
    return Outcome(
        record["run_id"], name, record["rows_written"], record["seconds"], record["model_version"], tuple(pending.days)
    )


def _publish(
    job: Job,
    function: Any,
    knobs: Mapping[str, Any],
    lake: Lake,
    pending: PendingDays,
    record: dict[str, Any],
    dry_run: bool,
    accept_drift: bool,
) -> None:
    """Read, compute, check everything, then commit table by table."""
    inputs = _inputs(job, lake, pending, record)
    if any(read.model == "encoding" for read in job.reads):
        _of_one_model(job, lake, record["run_date"], inputs["model"])
    endings: list[Callable[[bool], None]] = []
    share = partial(shared_files.share, at_end=endings.append)
    run = replace(_context(lake, record, dry_run), at_end=endings.append, share=share)
    committed = False
    try:
        result = function(**inputs, **knobs, run=run)
        frames = result if isinstance(result, dict) else {job.writes[0]: result}
        if set(frames) != set(JOBS[job.name].writes):
            raise TypeError(f"{job.name} made {sorted(frames)}, but jobs/flow.py says {sorted(JOBS[job.name].writes)}")
        outputs = {table: frames[table] for table in job.writes}
        Publisher(job, lake, pending, record, run.write_page, dry_run, accept_drift).publish(outputs)
        committed = True
    finally:
        for end in endings:
            end(committed)


def _inputs(job: Job, lake: Lake, pending: PendingDays, record: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a job by parameter name, from its declared reads."""
    inputs: dict[str, Any] = {}
    run_date = record["run_date"]
    for read in job.reads:
        if read.window == "model":
            model = inputs[read.parameter] = _model(read, lake, run_date)
            record["model_version"] = model.version if model else None
        elif read.on_driver:
            inputs[read.parameter] = lake.rows(read.table, run_date)
        elif not stands(read.table, lake.deployment.kinds):
            inputs[read.parameter] = lake.empty(read.table)
        elif read.window == "files":
            inputs[read.parameter] = lake.landing.read(read.table.split(".")[1], pending.days)
        else:
            frame = lake.read(read, run_date, pending.days)
            inputs[read.parameter] = (
                frame if job.name in _OF_SOURCES else persons.resolved(lake, read.table, frame, run_date)
            )
    return inputs


def _context(lake: Lake, record: dict[str, Any], dry_run: bool) -> RunContext:
    """The run context of a job; that of a dry run writes nothing."""

    def publish_model(folder: Path) -> str:
        record["model_version"] = folder.name
        return str(folder) if dry_run else lake.storage.publish_folder(folder, f"models/{folder.name}")

    run_date = record["run_date"]
    return RunContext(
        run_date=run_date,
        run_id=record["run_id"],
        started_at=record["started_at"],
        deployment=lake.deployment,
        code_version=record["code_version"],
        checkpoints=None if dry_run else model_store.checkpoint_folder(lake),
        publish_model=publish_model,
        write_page=_nothing if dry_run else lake.storage.write_text,
        maintain=_nothing if dry_run else partial(upkeep.maintain, lake, run_date),
        clear=_nothing if dry_run else partial(upkeep.clear, lake),
        gold_tables=lambda: _gold_tables(lake, run_date),
        erased=lambda: erased_list.erased_users(lake.deployment),
    )


def _gold_tables(lake: Lake, run_date: dt.date) -> list[GoldTable]:
    """Each gold table of the nightly run that the deployment has, at the version committed by a run of run_date.

    Runs that are not done are ignored: one may be replacing a table right now. Row count and model are read at that
    version; a table of a model of another kind than recommend has none. ConfError where no run has written a table.
    """
    done = {row["run_id"] for row in lake.rows("ops.runs", of=run_date) if row["status"] == "done"}
    gold_tables = []
    for writer, name in ((job, table) for job in NIGHT for table in job.writes if table.startswith("gold.")):
        if stands(name, lake.deployment.kinds):
            lake.check_written(name, run_date)
            others = [read for read in writer.reads if read.window == "model" and (read.kind or RECOMMEND) != RECOMMEND]
            has_model = "model_version" in TABLES[name].column_names and not others
            version = lake.written(name, run_date, done)
            model = lake.model_of(name, run_date, version) if has_model else None
            gold_tables.append(GoldTable(name, version, lake.count(name, [run_date], version), model))
    return sorted(gold_tables, key=lambda table: table.name)


def _model(read: Read, lake: Lake, run_date: dt.date) -> Model | None:
    """The model that a job declares; where it is optional and there is none, None, or of kind recommend, where the
    deployment's sources cannot train one, the published weights.
    """
    recommends = (read.kind or RECOMMEND) == RECOMMEND
    if read.optional and recommends and not model_store.trainable(lake):
        return model_store.published_model(lake)
    if read.model in ("promoted", "newest"):
        try:
            return model_store.promoted_model(lake, run_date, kind=read.kind or RECOMMEND)
        except NoModelError:
            if read.model == "newest":
                return model_store.published_model(lake)
            if read.optional and not recommends:
                return None
            raise
    if read.model == "encoding":
        return model_store.encoding_model(lake, run_date)
    seen_up_to = run_date - dt.timedelta(days=HORIZON_DAYS)
    try:
        return model_store.scoring_model(lake, seen_up_to)
    except NoModelError as error:
        raise TooEarlyError(f"there is no night of {seen_up_to} to judge: {error}") from None


def _of_one_model(job: Job, lake: Lake, run_date: dt.date, model: Model) -> None:
    """DataError where a table of run_date that a job reads comes from another model than the job's."""
    others = (read for read in job.reads if read.window == "today" and read.table != "features.item_vectors")
    for read in others:
        if "model_version" in TABLES[read.table].column_names:
            version = lake.model_of(read.table, run_date)
            if version != model.version:
                raise DataError(
                    f"{read.table} of {run_date} is of model {version}, and features.item_vectors of {model.version}: "
                    "run the night again from encode_items on"
                )


def _nothing(*_: Any) -> None:
    """A no-op in place of a write in a dry run."""


def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Entry point of a job file: parse the flags that the job's signature defines, run, exit."""
    function = function_of(name)
    parser = argparse.ArgumentParser(prog=name, description=inspect.getdoc(function))
    common_flags(parser)
    parser.add_argument("--dry-run", action="store_true", help="read, compute and check, and write nothing at all")
    for knob, parameter in knobs_of(function).items():
        flag = f"--{knob.replace('_', '-')}"
        if parameter.annotation is bool:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=f"default {parameter.default}"
            )
        elif get_origin(parameter.annotation) is Literal:
            parser.add_argument(flag, choices=get_args(parameter.annotation), help=f"default {parameter.default}")
        else:
            parser.add_argument(flag, type=parameter.annotation, help=f"default {parameter.default}")
    given = parser.parse_args(arguments)
    flags = {knob: getattr(given, knob) for knob in knobs_of(function)}

    def act() -> dict[str, Any]:
        deployment = load(given.conf, landing=given.landing)
        check_settings(deployment)
        spark: SparkSession = session(deployment)
        mapping.check_mappings(spark, deployment)
        lake = Lake(spark, deployment)
        again = {"since": given.since, "reingest": given.reingest, "accept_drift": given.accept_drift}
        outcome = run(name, lake, given.run_date, flags, dry_run=given.dry_run, **again)
        written = ", ".join(f"{table} {count:,} rows" for table, count in outcome.rows.items())
        would = " would be written (dry run)" if given.dry_run and written else ""
        if outcome.skipped:
            print(f"{name} {given.run_date}: skipped, for {outcome.skipped}")
        else:
            print(f"{name} {given.run_date}: {written or 'nothing to do'}{would} in {outcome.seconds:.1f} s")
        held = approvals.held_models(lake, given.run_date, outcome.model_version) if JOBS[name].trains else []
        for version in held:
            print(f"{name} {given.run_date}: model {version} is held until it is approved: {approvals.COMMAND}")
        page = f"{deployment.public_lake}/data_docs/{given.run_date}/index.html"
        more = {"page": page} if "ops.publications" in outcome.rows and not given.dry_run else {}
        more |= {"held": held[0]} if held else {}
        return {"rows": outcome.rows, "model_version": outcome.model_version} | more

    sys.exit(reported(given, name, act))
