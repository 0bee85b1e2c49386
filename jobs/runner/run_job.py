"""Runs one job: knobs in, declared windows read, function called, outputs checked, written, recorded."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import inspect
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pyspark.sql import DataFrame, SparkSession

from jobs.flow import JOBS, MODELS, RECOMMEND, Job, Read, lacking, stands
from jobs.runner import drift, environment_fault, quality
from jobs.runner.cli import common_flags, exit_code
from jobs.runner.lake import Lake, check_schema, session
from jobs.runner.pending_days import PendingDays, work_of
from jobs.runner.version import code_version
from jobs.transforms import mapping
from schemas import TABLES
from schemas.contract import Check, Table
from schemas.deployment import Deployment, Source, load
from schemas.errors import ConfError, DataError, NoModelError, TooEarlyError
from schemas.run import Model, RunContext
from udfs.horizon import HORIZON_DAYS

ATTEMPTS = 3  # of a job whose tables another run of it writes at the same moments
OUTCOME = "outcome: "  # the last line of a job that ended well begins with it; JSON follows
HAS_ROWS = Check("has_rows", "a night of it must have rows", "")
RECORDS = ("ops.runs", "ops.checks", "ops.figures")  # what a run writes beside its job's tables
# Parameters that are not knobs: what a job may ask for beside its tables.
RESERVED = (
    *("run_date", "run_id", "started_at", "deployment"),
    *("publish_model", "publish_page", "checkpoints", "code_version", "maintain", "clear", "written", "run"),
)


class OvertakenError(RuntimeError):
    """Another run has written some of the tables of a job after this one, and some before: worth running again.

    Of two runs that both see it, the one with `waits` lets the other go first.
    """

    def __init__(self, message: str, waits: bool) -> None:
        super().__init__(message)
        self.waits = waits


@dataclass(frozen=True)
class Outcome:
    """What one run of a job did: rows written per table, seconds, the model it used or made, the days it replaced.

    `skipped` says why there was nothing to do at all.
    """

    run_id: str
    job: str
    rows: dict[str, int]
    seconds: float
    model_version: str | None
    days: tuple[dt.date, ...]
    skipped: str = ""


def function_of(name: str) -> Callable[..., Any]:
    """The function of a job: jobs/<name>.py has one of that name."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"jobs.{name}"), name)
    return function


def knobs_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A job's tuning knobs: its keyword-only parameters with defaults."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in RESERVED}


def settings(
    job: Job, function: Callable[..., Any], deployment: Deployment, flags: Mapping[str, Any]
) -> dict[str, Any]:
    """Each knob's value: flag over conf over default. ConfError names the file's key and the type it must have."""
    knobs = knobs_of(function)
    chosen = dict(deployment.jobs.get(job.name, {}))
    for name, value in chosen.items():
        where = f"{deployment.file}: [jobs.{job.name}] {name}"
        if name not in knobs:
            raise ConfError(f"{where}: unknown key; {job.name} has {', '.join(knobs) or 'no knobs'}")
        wanted = knobs[name].annotation
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise ConfError(f"{where}: must be one of {', '.join(get_args(wanted))}, not {value!r}")
        elif type(value) is int and wanted is float:
            chosen[name] = float(value)
        elif type(value) is not wanted:
            raise ConfError(f"{where}: must be {wanted.__name__}, not {value!r}")
    return chosen | {name: value for name, value in flags.items() if value is not None}


def check_settings(deployment: Deployment) -> None:
    """Refuse a deployment that names a job or a knob that does not exist, before anything is read."""
    for name in deployment.jobs:
        if name not in JOBS:
            raise ConfError(f"{deployment.file}: [jobs.{name}]: no such job; there are {', '.join(JOBS)}")
        settings(JOBS[name], function_of(name), deployment, {})


def run(
    name: str,
    lake: Lake,
    run_date: dt.date,
    flags: Mapping[str, Any] | None = None,
    since: dt.date | None = None,
    dry_run: bool = False,
    reingest: bool = False,
) -> Outcome:
    """Run one job for one date and publish what it makes, or refuse and leave every table as it was.

    `since` makes a job that works day by day process every day from then on again, `reingest` the days whose raw files
    are no longer as they were read. `dry_run`: everything is computed and checked, nothing is written; Outcome.rows is
    what would have been. A job whose raw files the deployment has none of is skipped. Raises ConfError or
    DataError, and EnvironmentFault where a disk or the cluster is at fault; whatever happens, one row of
    ops.runs tells, but for a dry run or a job that is skipped. A run that another one of the same days has got into the
    way of is followed by one more, twice at most; then OvertakenError.
    """
    for _ in range(1, ATTEMPTS):
        clock = time.monotonic()
        try:
            return _run_once(name, lake, run_date, flags, since, dry_run, reingest)
        except OvertakenError as error:
            time.sleep((time.monotonic() - clock) * error.waits)  # as long as the other one will need
    return _run_once(name, lake, run_date, flags, since, dry_run, reingest)


def _run_once(
    name: str,
    lake: Lake,
    run_date: dt.date,
    flags: Mapping[str, Any] | None,
    since: dt.date | None,
    dry_run: bool,
    reingest: bool,
) -> Outcome:
    job, function, kinds = JOBS[name], function_of(name), lake.deployment.sources
    if missing := lacking(job, kinds):
        return Outcome("", name, {}, 0.0, None, (), f"{lake.deployment.name} has no [sources.{missing[0]}]")
    job = replace(job, writes=tuple(table for table in job.writes if stands(table, kinds)))
    with recorded(lake, name, run_date, dry_run) as record:
        knobs = settings(job, function, lake.deployment, flags or {})
        for table in (*job.writes, *RECORDS):  # before anything is written, so that a torn one stops the job as a whole
            lake.check_log(table)
        work = work_of(lake, job, run_date, since, reingest)
        days = _publish(job, function, knobs, lake, run_date, work, record, dry_run)
    return Outcome(
        record["run_id"], name, record["rows_written"], record["seconds"], record["model_version"], tuple(days)
    )


@contextmanager
def recorded(lake: Lake, job: str, run_date: dt.date, dry_run: bool = False) -> Iterator[dict[str, Any]]:
    """What is done inside gets a row of ops.runs, however it ends; yields the row, whose rest is for the run to fill.

    What is broken under the run is raised as an EnvironmentFault.
    """
    clock = time.monotonic()
    record: dict[str, Any] = {
        "run_date": run_date,
        "run_id": uuid.uuid4().hex,
        "job": job,
        "started_at": dt.datetime.now(dt.UTC),
        "code_version": code_version(),
        "deployment": lake.deployment.name,
        "model_version": None,
        "rows_written": {},
        "error": "interrupted",
        "status": "failed",
    }
    try:
        yield record
        record |= {"status": "done", "error": None}
    except Exception as error:
        refused = isinstance(error, ConfError | DataError)
        record["status"] = "refused" if refused else "failed"
        told = None if refused else environment_fault.sentence(error, lake.deployment.lake)
        record["error"] = (told or str(error))[:4000] or type(error).__name__
        if told:
            raise environment_fault.EnvironmentFault(told) from error
        raise
    finally:
        with suppress(Exception):  # where the JVM has died nothing is cached, and its death is to be told
            lake.spark.catalog.clearCache()
        record["seconds"] = round(time.monotonic() - clock, 3)
        if not dry_run:
            _record(lake, record)


def _record(lake: Lake, row: dict[str, Any]) -> None:
    """One row of ops.runs. A run that failed fails for its own reason, also where its record cannot be written."""
    try:
        lake.append("ops.runs", [row], {key: row[key] for key in ("run_id", "job", "code_version")})
    except Exception as error:
        if row["status"] == "done":
            raise
        said = environment_fault.sentence(error, lake.deployment.lake) or str(error)[:300]
        print(f"the run could not be recorded in ops.runs: {said}", file=sys.stderr)


def _publish(
    job: Job,
    function: Callable[..., Any],
    knobs: dict[str, Any],
    lake: Lake,
    run_date: dt.date,
    work: PendingDays,
    record: dict[str, Any],
    dry_run: bool,
) -> list[dt.date]:
    """Read, compute, check everything, then write table by table; the days whose partitions were replaced."""
    days = work.days
    inputs: dict[str, Any] = {}
    for read in job.reads:
        if not stands(read.table, lake.deployment.sources):
            inputs[read.parameter] = lake.empty(read.table)
        elif read.window == "files":
            inputs[read.parameter] = lake.read_files(read.table.split(".")[1], days)
        elif read.window in MODELS:
            inputs[read.parameter] = _model(read, lake, run_date)
            record["model_version"] = inputs[read.parameter].version if inputs[read.parameter] else None
        else:
            inputs[read.parameter] = lake.read(read, run_date, days)

    if any(read.window == "encoding" for read in job.reads):
        _of_one_model(job, run_date, inputs)

    def publish_model(folder: Path) -> str:
        record["model_version"] = folder.name
        return str(folder) if dry_run else lake.publish_folder(folder, f"models/{folder.name}")

    write_page = _unsaid if dry_run else lake.write_text
    reserved = {
        "run_date": run_date,
        "run_id": record["run_id"],
        "started_at": record["started_at"],
        "deployment": lake.deployment,
        "publish_model": publish_model,
        "publish_page": write_page,
        "code_version": record["code_version"],
        "checkpoints": None if dry_run else lake.checkpoint_folder(),
        "maintain": _unsaid if dry_run else partial(lake.maintain, run_date),
        "clear": _unsaid if dry_run else lake.clear,
        "written": lambda table: lake.written(table, run_date),
        "run": RunContext(
            run_date=run_date,
            deployment=lake.deployment,
            run_id=record["run_id"],
            started_at=record["started_at"],
            code_version=record["code_version"],
            checkpoints=None if dry_run else lake.checkpoint_folder(),
            publish_model=publish_model,
            write_page=write_page,
        ),
    }
    asked = inspect.signature(function).parameters
    made = function(**inputs, **knobs, **{key: value for key, value in reserved.items() if key in asked})
    frames = made if isinstance(made, dict) else {job.writes[0]: made}
    if set(frames) != set(JOBS[job.name].writes):
        raise TypeError(f"{job.name} made {sorted(frames)}, but jobs/flow.py says {sorted(JOBS[job.name].writes)}")
    staged = [table for table in job.writes if TABLES[table].layer == "gold" and not dry_run]
    try:
        ready = {
            table: _at_the_door(
                table, frames[table], partial(lake.stage, table, run_id=record["run_id"]) if table in staged else None
            )
            for table in job.writes
        }
        _check_and_write(job, lake, run_date, work, record, inputs, ready, write_page, dry_run)
    finally:
        for table in staged:
            lake.unstage(table, record["run_id"])
    return days


def _model(read: Read, lake: Lake, run_date: dt.date) -> Model | None:
    """The model that a job asks for; None where it does without."""
    if read.window == "promoted":
        try:
            return lake.promoted_model(run_date, kind=read.kind or RECOMMEND)
        except NoModelError:
            if read.optional:
                return None
            raise
    if read.window == "encoding":
        return lake.encoding_model(run_date)
    seen = run_date - dt.timedelta(days=HORIZON_DAYS)
    try:
        return lake.promoted_model(seen)
    except NoModelError as error:
        raise TooEarlyError(f"there is no night of {seen} to judge: {error}") from None


def _of_one_model(job: Job, run_date: dt.date, inputs: Mapping[str, Any]) -> None:
    """DataError where a table of run_date that a job reads is of another model than the job's. One row tells: one run
    has made them all."""
    others = (read for read in job.reads if read.window == "today" and read.table != "features.item_vectors")
    for read in others:
        if "model_version" in TABLES[read.table].column_names:
            row = inputs[read.parameter].select("model_version").first()
            if row["model_version"] != inputs["model"].version:
                raise DataError(
                    f"{read.table} of {run_date} is of model {row['model_version']}, and features.item_vectors of "
                    f"{inputs['model'].version}: run the night again from encode_items on"
                )


def _check_and_write(
    job: Job,
    lake: Lake,
    run_date: dt.date,
    work: PendingDays,
    record: dict[str, Any],
    inputs: Mapping[str, Any],
    ready: dict[str, DataFrame],
    write_page: Callable[..., None],
    dry_run: bool,
) -> None:
    """Audit every output; publish all of them where nothing critical is found, else none, and say why."""
    metadata = {key: record[key] for key in ("run_id", "job", "model_version", "code_version", "run_date")}
    audits = _audit(job, lake.deployment.sources, ready, inputs)
    figures = []
    for table in (name for name in ready if TABLES[name].layer == "gold"):
        if not audits[table].row_count:
            if not TABLES[table].may_be_empty:
                audits[table] = audits[table].with_findings([quality.Finding(HAS_ROWS, False, None)])
            continue
        found = measured(lake, run_date, TABLES[table], ready[table])
        figures += [figure_row(record, table, figure) for figure in found]
        audits[table] = audits[table].with_findings(
            [quality.Finding(f.check(), f.passed, None) for f in found if f.high is not None]
        )
    if work.changed:
        audits["bronze.files"] = audits["bronze.files"].with_findings([_changed_files(work)])
    findings: Callable[[], None] = (
        _unsaid if dry_run else partial(lake.append, "ops.checks", _check_rows(audits, record), metadata)
    )
    for table, audit in audits.items():
        write_page(f"data_docs/{run_date}/{table}.html", audit.page)
    if refused := [quality.explain(audit, ready[table]) for table, audit in audits.items() if audit.refused]:
        findings()
        raise DataError("\n".join(refused))
    if work.days and not dry_run:
        _replace_all(job, lake, work, ready, metadata, record["started_at"], findings)
        if figures:
            lake.append("ops.figures", figures, metadata)
        for table, audit in audits.items():
            lake.note_partition(table, run_date, work.days == [run_date] and audit.row_count > 0)
    else:
        findings()
    record["rows_written"] |= {table: audits[table].row_count for table in ready if work.days}


def _replace_all(
    job: Job,
    lake: Lake,
    work: PendingDays,
    ready: Mapping[str, DataFrame],
    metadata: Mapping[str, Any],
    started_at: dt.datetime,
    findings: Callable[[], None],
) -> None:
    """Replace the days of every table and say what was found: a commit each, side by side, the ledger's comes last.

    Where another run of the job writes the same days meanwhile, one table may end as one run has it and the next as the
    other. Whoever has written last sees that: OvertakenError, and the days count as not done.
    """
    if job.ledger:
        lake.forget(job.ledger, [*work.days, *work.later])
    writes = {table: partial(lake.replace, table, frame, work.days, metadata) for table, frame in ready.items()}
    last = [writes.pop(job.ledger)] if job.ledger else []
    first: list[Callable[[], None]] = [findings, *writes.values()]
    with ThreadPoolExecutor() as pool:  # a commit is mostly waiting for the driver
        for done in [pool.submit(write) for write in first]:
            done.result()
        for write in last:
            write()
        several = ready if len(ready) > 1 else ()
        asked = [pool.submit(lake.last_run, table, work.days, started_at) for table in several]
        whose = {run for done in asked if (run := done.result())}  # of a table that was empty and is, nobody's
    if len(whose) > 1:
        if job.ledger:
            lake.forget(job.ledger, work.days)
        others = sorted(whose - {metadata["run_id"]})
        raise OvertakenError(
            f"another run ({', '.join(others)}) has written the same days of {', '.join(ready)} at the same moment: "
            f"run {job.name} again",
            waits=metadata["run_id"] > others[0],
        )


def measured(lake: Lake, run_date: dt.date, table: Table, rows: DataFrame) -> list[drift.Figure]:
    """The figures of a gold table that is about to be published, beside those of the nights before."""
    limits, yesterday = lake.deployment.drift.of(table.name), run_date - dt.timedelta(days=1)
    before = lake.read(Read(table.name, "latest"), yesterday, [])
    figures = drift.measure(table, rows, None if before.isEmpty() else before)
    recorded_figures, runs = (lake.up_to(name, yesterday) for name in ("ops.figures", "ops.runs"))
    past = drift.past_nights(recorded_figures, runs, table, limits.nights)
    return drift.compare(figures, past, limits)


def figure_row(record: Mapping[str, Any], table: str, figure: drift.Figure) -> dict[str, Any]:
    """A row of ops.figures."""
    of_run = {key: record[key] for key in ("run_date", "run_id")}
    told = {"figure": figure.name, "value": figure.value, "usual": figure.usual, "low": figure.low, "high": figure.high}
    return {**of_run, "table_name": table, **told}


def _changed_files(work: PendingDays) -> quality.Finding:
    """That raw files are no longer as they were read: told, and no reason to stop, for what was read is whole."""
    changed = work.changed
    names = ", ".join(
        f"{file.name}{' (read again: its day was not done, or has another file)' * (file.day in work.days)}"
        for file in changed[: quality.EXAMPLES]
    )
    more = f" and {len(changed) - quality.EXAMPLES} more" if len(changed) > quality.EXAMPLES else ""
    reason = f"a raw file must stay as it was read; {names}{more} changed since: --reingest reads the new bytes"
    print(f"warning: {reason}", file=sys.stderr)
    return quality.Finding(Check("file_unchanged", reason, "", severity="warning"), False, len(changed))


def _unsaid(*_: Any) -> None:
    """What a dry run does in place of writing."""


def _at_the_door(table: str, frame: DataFrame, stage: Callable[[DataFrame], DataFrame] | None) -> DataFrame:
    """A job's output, held in memory or on disk, once its columns are what the contract says; of gold, as staged.

    What is staged is read from there again and again: that is cheaper than to hold ten million rows in memory.
    """
    check_schema(TABLES[table], frame, "as the job made it")
    return stage(frame) if stage else frame.persist()


def _audit(
    job: Job, sources: Mapping[str, Source], ready: dict[str, DataFrame], inputs: Mapping[str, Any]
) -> dict[str, quality.Audit]:
    """Every output's audit: its contract's checks and, where the job has a balance, that, and the share rejected."""
    if job.balance is None:
        return {table: quality.audit(TABLES[table], frame) for table, frame in ready.items()}
    kept, rejected = job.balance.kept, job.balance.rejected
    rows_in = {name.removeprefix("bronze_"): inputs[name].count() for name in job.balance.rows_in}
    count = ready[rejected].count()
    balance = quality.balance_check(sum(rows_in.values()) - count, job.balance.counted_by)
    audits = {table: quality.audit(TABLES[table], frame, [balance] * (table == kept)) for table, frame in ready.items()}
    if job.ledger is None:  # where there is one, it has the share of each day
        allowed = sum(sources[kind].max_rejected_share * rows for kind, rows in rows_in.items() if rows)
        share = quality.few_rejected(count, sum(rows_in.values()), allowed)
        audits[rejected] = audits[rejected].with_findings([share])
    return audits


def _check_rows(audits: Mapping[str, quality.Audit], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of ops.checks: one a finding."""
    return [
        {
            **{key: record[key] for key in ("run_date", "run_id", "job")},
            "table_name": table,
            "check_name": finding.check.name,
            "column_name": finding.check.column,
            "severity": finding.check.severity,
            "passed": finding.passed,
            "row_count": audit.row_count,
            "unexpected_count": finding.unexpected_count,
            "reason": finding.check.reason,
        }
        for table, audit in audits.items()
        for finding in audit.findings
    ]


def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """The run line of a job file: parse the flags that the job's signature gives, run, exit."""
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

    def act() -> None:
        deployment = load(given.conf, landing=given.landing)
        check_settings(deployment)
        spark: SparkSession = session(deployment)
        mapping.check_mappings(spark, deployment)
        lake = Lake(spark, deployment)
        outcome = run(name, lake, given.run_date, flags, given.since, given.dry_run, given.reingest)
        written = ", ".join(f"{table} {count:,} rows" for table, count in outcome.rows.items())
        would = " would be written (dry run)" if given.dry_run and written else ""
        if outcome.skipped:
            print(f"{name} {given.run_date}: skipped, for {outcome.skipped}")
        else:
            print(f"{name} {given.run_date}: {written or 'nothing to do'}{would} in {outcome.seconds:.1f} s")
        told = {"job": name, "run_date": given.run_date, "rows": outcome.rows, "model_version": outcome.model_version}
        print(f"{OUTCOME}{json.dumps(told, default=str)}")  # for whoever started it: a scheduler reads this line

    sys.exit(exit_code(act))
