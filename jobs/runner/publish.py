"""Publication of a job's outputs: staged where no reader looks, checked, then committed."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame

from jobs.runner import approvals, blocked_check, data_files, drift, silence, source_drift
from jobs.runner.data_files import DataFile
from jobs.runner.findings import (
    EXAMPLES,
    Audit,
    Finding,
    balance_check,
    few_of_one_user,
    few_rejected,
    outside,
    refusal,
)
from jobs.runner.lake import Lake
from jobs.runner.pending_days import PendingDays, left_alone
from jobs.runner.records import check_rows, figure_row
from jobs.runner.schema_check import check_schema
from jobs.transforms import ledger
from jobs.transforms.succession import SUCCESSION
from schemas import TABLES, silver
from schemas.contract import PARTITION, Check, Table
from schemas.deployment import Deployment
from schemas.errors import BusyError
from schemas.job import Job
from schemas.rejects import most_rejected

HAS_ROWS = Check("has_rows", "a night of it must have rows", "")
METADATA = ("run_id", "job", "model_version", "code_version", "run_date")  # of a run, recorded in each of its commits
SIDE_BY_SIDE = 2  # tables written concurrently: a small one mostly waits for the driver


class OvertakenError(BusyError):
    """Another run has written some of a job's tables after this one, and some before: run the job again.

    Where both runs see this, the one with `waits` lets the other go first.
    """

    def __init__(self, message: str, waits: bool) -> None:
        super().__init__(message)
        self.waits = waits


@dataclass
class Publisher:
    """Publisher of a run's outputs. `write_page` takes a name below the lake and HTML; a dry run writes nothing.

    `accept_drift`: a figure beyond a limit of drift is recorded as a warning, and does not stop the run. Where the
    deployment has a person approve drift, so is a figure of a table that was approved for this run_date, and of others
    the run is held.
    """

    job: Job
    lake: Lake
    pending: PendingDays
    record: dict[str, Any]
    write_page: Callable[[str, str], object]
    dry_run: bool
    accept_drift: bool = False
    staged: dict[str, list[DataFile]] = field(default_factory=dict)
    joining: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # rows of tables in SUCCESSION
    named: set[str] = field(default_factory=set)  # tables whose staged files a commit may name: not removed

    def publish(self, outputs: Mapping[str, DataFrame]) -> None:
        """Audit every output, then publish all of them, or none and raise where a critical check fails."""
        try:
            ready = self._written(outputs)
            self._check_and_commit(ready)
        except BaseException:
            for table in set(self.staged) - self.named:
                self.lake.unstage(table, self.staged[table])
            raise

    def _written(self, outputs: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
        """The staged outputs as frames: what is checked is what gets published."""
        for table, frame in outputs.items():
            check_schema(TABLES[table], frame, "as the job made it")
        if self.dry_run:
            return {table: frame.persist() for table, frame in outputs.items()}
        for table in outputs:
            self.lake.create(table)

        def stage(table: str) -> None:
            self.staged[table] = self.lake.stage(table, outputs[table], self.record["run_id"], self.pending.days)

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for done in [pool.submit(stage, table) for table in outputs if table not in SUCCESSION]:
                done.result()
        for table in (name for name in outputs if name in SUCCESSION):
            self.joining[table] = outputs[table].toArrow().to_pylist()
        return {
            table: self.lake.frame(table, self.staged[table]) if table in self.staged else frame
            for table, frame in outputs.items()
        }

    def _check_and_commit(self, ready: Mapping[str, DataFrame]) -> None:
        record, lake, run_date = self.record, self.lake, self.record["run_date"]
        metadata = {key: record[key] for key in METADATA}
        audits = audit_all(self.job, lake.deployment, ready, self._rows_in(), self._newest_files())
        for table, rows in ready.items():
            of_blocked = blocked_check.findings(lake, TABLES[table], rows, run_date)
            audits[table] = audits[table].with_findings(of_blocked)
        figures = []
        for table in (name for name in ready if TABLES[name].layer == "gold"):
            if not audits[table].row_count:
                if not TABLES[table].may_be_empty:
                    audits[table] = audits[table].with_findings([Finding(HAS_ROWS, False, None)])
                continue
            table_figures = measured(lake, run_date, TABLES[table], ready[table])
            figures += [figure_row(record, table, figure) for figure in table_figures]
            audits[table] = audits[table].with_findings(self._findings(table, table_figures))
        if compared := source_drift.compared_table(self.job):
            of_sources = source_drift.of_run(lake, self.job, self.pending.days, run_date, self._cleaned(ready))
            figures += [figure_row(record, compared, figure) for figure in of_sources if figure.day is None]
            audits[compared] = audits[compared].with_findings(self._findings(compared, of_sources))
        if of_landing := _of_landing(self.pending):
            audits["bronze.files"] = audits["bronze.files"].with_findings(of_landing)
        for table, audit in audits.items():
            self.write_page(f"data_docs/{run_date}/{table}.html", audit.page)
        if not self.dry_run:
            lake.append("ops.checks", check_rows(audits, record), metadata)
        if refused := [(audit, ready[table]) for table, audit in audits.items() if audit.refused]:
            raise approvals.held_or_refused(lake, run_date, [audit for audit, _ in refused], refusal(refused))
        if self.pending.days and not self.dry_run:
            self._commit(metadata)
            lake.append("ops.figures", figures, metadata)
        record["rows_written"] |= {table: audits[table].row_count for table in ready if self.pending.days}

    def _findings(self, table: str, figures: Sequence[drift.Figure]) -> list[Finding]:
        """The figures of a table that have limits, as findings."""
        limited = [figure for figure in figures if figure.high is not None]
        accepted = "--accept-drift" if self.accept_drift else ""
        if self.lake.deployment.gate.approval and not all(figure.passed for figure in limited):
            accepted = approvals.of_drift(self.lake, self.record["run_date"], table)
        return [figure.finding(accepted) for figure in limited]

    def _cleaned(self, ready: Mapping[str, DataFrame]) -> list[dict[str, Any]]:
        """The staged rows of the job's ledger of cleaned days; none without such a ledger."""
        table = self.job.ledger or ""
        if table not in ledger.LOGS:
            return []
        if self.dry_run:
            return [row.asDict() for row in ready[table].collect()]
        return data_files.rows_of(self.lake.path(table), self.staged[table])

    def _rows_in(self) -> dict[str, int]:
        """Rows of each input of the job's balance, by kind of record."""
        wanted = self.job.balance.rows_in if self.job.balance else ()
        return {
            read.parameter.removeprefix("bronze_"): self.lake.count_read(
                read, self.record["run_date"], self.pending.days
            )
            for read in self.job.reads
            if read.parameter in wanted
        }

    def _newest_files(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of bronze.files of the newest day of each source that the job's balance counts, by source."""
        wanted = self.job.balance.rows_in if self.job.balance else ()
        by_source: dict[str, list[dict[str, Any]]] = {}
        for parameter in wanted:
            files = self.lake.counted_files(parameter.removeprefix("bronze_"), self.record["run_date"])
            for source in {row["source"] for row in files}:
                mine = [row for row in files if row["source"] == source]
                newest = max(row[PARTITION] for row in mine)
                by_source[source] = [row for row in mine if row[PARTITION] == newest]
        return by_source

    def _commit(self, metadata: Mapping[str, Any]) -> None:
        """Replace the days of every table, one commit each, in the order of job.writes; the ledger's comes last.

        Where another run of the job writes the same days meanwhile, tables may end with rows of different runs. The
        last writer detects this: OvertakenError, and the days are unmarked in the ledger.
        """
        lake, job, pending = self.lake, self.job, self.pending
        if job.ledger:
            lake.forget(job.ledger, [*pending.days, *pending.later])
        tables = sorted(self.staged, key=lambda name: (name == job.ledger, job.writes.index(name)))
        self.record["bytes_written"] = sum(file.size for files in self.staged.values() for file in files)
        for table in tables:
            self.named.add(table)
            lake.publish(table, self.staged[table], pending.days, metadata)
        for table, rows in self.joining.items():
            lake.join(table, rows, pending.days, metadata)
        several = tables if len(tables) > 1 else ()
        last_runs = (lake.last_run(table, pending.days, self.record["started_at"]) for table in several)
        runs = {run for run in last_runs if run}  # None: a table that was empty and still is
        if len(runs) > 1:
            if job.ledger:
                lake.forget(job.ledger, pending.days)
            others = sorted(runs - {metadata["run_id"]})
            raise OvertakenError(
                f"another run ({', '.join(others)}) has written the same days of {', '.join(tables)} at the same "
                f"moment: run {job.name} again",
                waits=metadata["run_id"] > others[0],
            )


def audit_all(
    job: Job,
    deployment: Deployment,
    ready: Mapping[str, DataFrame],
    rows_in: Mapping[str, int],
    newest: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Audit]:
    """Every output's audit: its contract's checks and, where the job has a balance, the balance and the share rejected.

    `newest`: rows of bronze.files by source. The share is of their records: of a catalogue that comes every day, last
    year's records must not hide that tonight's are broken.
    """
    from jobs.runner import quality  # Great Expectations takes seconds to import; run_job began it in a thread

    if job.balance is None:
        return {table: quality.audit(TABLES[table], frame) for table, frame in ready.items()}
    accepted, rejected = job.balance.kept, job.balance.rejected
    of_newest = outside([row["source_file"] for files in newest.values() for row in files])
    counted_by = job.balance.rejected_counted_by
    audits = {table: quality.audit(TABLES[table], ready[table]) for table in ready if table not in (accepted, rejected)}
    audits[rejected] = quality.audit(
        TABLES[rejected], ready[rejected], counted=[of_newest], summed=[counted_by] if counted_by else ()
    )
    count = audits[rejected].counted[counted_by] if counted_by else audits[rejected].row_count
    balance = balance_check(sum(rows_in.values()) - count, job.balance.counted_by)
    of_users = accepted == silver.EVENTS.name
    audits[accepted] = quality.audit(TABLES[accepted], ready[accepted], [balance], "user_id" if of_users else "")
    if of_users:
        finding = few_of_one_user(
            audits[accepted].most, audits[accepted].row_count, deployment.max_lines_share("events")
        )
        audits[accepted] = audits[accepted].with_findings([_shown(finding)])
    if job.ledger is None:  # a ledger has the share of each day
        records = {source: sum(row["record_count"] for row in files) for source, files in newest.items()}
        allowed = sum(deployment.sources[source].most_rejected(rows) for source, rows in records.items())
        shares = {source: deployment.sources[source].max_rejected_share for source in records}
        by_share = sum(most_rejected(shares[source], rows) for source, rows in records.items())
        share = few_rejected(audits[rejected].counted[of_newest.name], sum(records.values()), allowed, by_share)
        audits[rejected] = audits[rejected].with_findings([share])
    return {table: audits[table] for table in ready}


def measured(lake: Lake, run_date: dt.date, table: Table, rows: DataFrame) -> list[drift.Figure]:
    """Figures of a gold table that is about to be published, beside those of earlier runs."""
    limits, yesterday = lake.deployment.drift.of(table.name), run_date - dt.timedelta(days=1)
    newest = lake.newest_day(table.name, yesterday)
    figures = drift.measure(table, rows, lake.of_days(table.name, [newest]) if newest else None)
    past = drift.past_nights(
        lake.rows("ops.figures", yesterday), lake.rows("ops.runs", yesterday), table, limits.nights
    )
    return drift.compare(figures, past, limits, table.amounts)


def _of_landing(pending: PendingDays) -> list[Finding]:
    """Warnings about the raw files of a run, which do not stop it."""
    changed = [_changed_files(pending)] if pending.changed else []
    beside = [_files_beside(pending)] if pending.beside else []
    silent = [silence.warning(pending.silent)] if pending.silent else []
    return [_shown(finding) for finding in (*changed, *beside, *silent)]


def _shown(finding: Finding) -> Finding:
    """The finding, printed as a warning if it failed."""
    if not finding.passed:
        print(f"warning: {finding.check.reason}", file=sys.stderr)
    return finding


def _changed_files(pending: PendingDays) -> Finding:
    """A warning: raw files have changed since they were read. What was read is complete, so the run goes on."""
    changed = pending.changed
    names = ", ".join(
        f"{file.name}{' (read again: its day was not done, or has another file)' * (file.day in pending.days)}"
        for file in changed[:EXAMPLES]
    )
    more = f" and {len(changed) - EXAMPLES} more" if len(changed) > EXAMPLES else ""
    reason = f"a raw file must stay as it was read; {names}{more} changed since: --reingest reads the new bytes"
    return Finding(Check("file_unchanged", reason, "", severity="warning"), False, len(changed))


def _files_beside(pending: PendingDays) -> Finding:
    """A warning: files in landing match no source, though their names suggest one."""
    reason = f"a file in landing should match a source's files; left alone: {left_alone(pending.beside, EXAMPLES)}"
    return Finding(Check("no_files_beside", reason, "", severity="warning"), False, len(pending.beside))
