"""Declaration of a job: the tables and dates that it reads, the tables that it writes. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from schemas import TABLES

# Windows: the part of a table that a job sees. Unless a flag of Read extends it, none goes beyond run_date.
#   files     raw files of the days that are still to be read
#   pending   days that are still to be processed, run_date always among them
#   today     the rows of run_date; an error where there are none
#   latest    the newest date up to run_date; empty where there is none. Of one kind of records it is the newest day of
#             files that have some, and with it Read.days - 1 days before it
#   history   every date up to run_date
#   model     a model that has seen nothing after run_date: Read.model says which
Window = Literal["files", "pending", "today", "latest", "history", "model"]
# Which model of a kind.
#   promoted  the newest promoted one; where there is none, an error for the kind recommend, and None for any other: the
#             job then fits one within the run
#   newest    the same, where there is none the published weights
#   encoding  the one that computed the item vectors of run_date, even if a newer one was promoted meanwhile; an
#             error where it is not promoted any more, or where another input of run_date is of another model
#   judged    the one that scored the candidates 28 days earlier, promoted or not since: of the run whose lists are
#             judged by what was bought in between
Chosen = Literal["promoted", "newest", "encoding", "judged"]

RECOMMEND = "recommend"  # the kind of model that the nightly run requires


@dataclass(frozen=True)
class Read:
    """One input of a job. Raw files of a kind are named `landing.<kind>`; `landing.records` is all but two kinds.

    `kind`: of bronze.records, the rows of this kind alone; of ops.models, the model of this kind ("": recommend).
    `optional`: a deployment whose sources do not provide this table runs the job with an empty one; without such a
    model, the job gets None. Of the kind recommend it gets the published weights, if the sources cannot train any.
    `may_be_empty`: of `today`: a run may have written no row; an error only where no run has written the table.
    `later_too`: of `history`: beyond run_date as well. For records of files, some of which may be read early.
    `days`: of `latest`, of one kind of records: how many days.
    `on_driver`: of `history`: the rows as dicts, without a query. For records of runs and days.
    """

    table: str
    window: Window
    kind: str = ""
    optional: bool = False
    may_be_empty: bool = False
    later_too: bool = False
    on_driver: bool = False
    model: Chosen = "promoted"
    days: int = 1

    @property
    def parameter(self) -> str:
        """The job's parameter: the table's name, `<source>_files` for raw files, `<kind>_model` for a model."""
        if self.window == "files":
            return f"{self.table.split('.')[1]}_files"
        if self.window == "model":
            return f"{self.kind}_model" if self.kind else "model"
        return f"bronze_{self.kind}" if self.kind else TABLES[self.table].parameter

    @property
    def seen(self) -> str:
        """The window and its flags, as text."""
        flags = ("may_be_empty", "later_too", "on_driver")
        words = [name.replace("_", " ") for name in flags if getattr(self, name)]
        words += [f"{self.days} days"] * (self.days > 1)
        return ", ".join([self.window, *([self.model] if self.window == "model" else []), *words])


@dataclass(frozen=True)
class Balance:
    """Rows of all inputs `rows_in` = rows of `kept` + rows of `rejected`; `counted_by`: the sum of a column instead."""

    rows_in: tuple[str, ...]
    kept: str
    rejected: str
    counted_by: str | None = None
    rejected_counted_by: str | None = None


@dataclass(frozen=True)
class Job:
    """One job: the file jobs/<name>.py, with a function of the same name.

    `ledger`: the one of its tables that lists the days that are done. A day is unmarked before any of its rows are
    written and marked again after all else: if a run is killed in between, the day is pending.
    `after`: tables that must have been written for run_date though the job does not read their rows.
    `trains`: the kind of model that it adds to ops.models, if any.
    """

    name: str
    reads: tuple[Read, ...]
    writes: tuple[str, ...]
    balance: Balance | None = None
    ledger: str | None = None
    after: tuple[str, ...] = ()
    trains: str = ""

    @property
    def layer(self) -> str:
        """The layer of the tables that it writes."""
        return self.writes[-1].split(".")[0]


def split(
    kind: str,
    counted_by: str | None = None,
    rejected_counted_by: str | None = None,
    more: tuple[str, ...] = (),
    kept: str = "",
) -> Balance:
    """The balance of a job that cleans the records of one kind; `more`: others that become rows of it.

    `kept`: the table of the accepted ones, by default silver.<kind>.
    """
    rows_in = tuple(f"bronze_{each}" for each in (kind, *more))
    return Balance(rows_in, kept or f"silver.{kind}", f"silver.rejected_{kind}", counted_by, rejected_counted_by)


def cleaned(kind: str, *reads: Read, counted_by: str | None = None) -> Job:
    """The job that cleans the lists of one kind."""
    return Job(f"clean_{kind}", reads, (f"silver.{kind}", f"silver.rejected_{kind}"), split(kind, counted_by))


def files(source: str) -> Read:
    """Raw files of a source."""
    return Read(f"landing.{source}", "files")


def pending(table: str) -> Read:
    """The pending days."""
    return Read(table, "pending")


def today(table: str, *, may_be_empty: bool = False) -> Read:
    """The rows of run_date."""
    return Read(table, "today", may_be_empty=may_be_empty)


def latest(table: str) -> Read:
    """The newest date up to run_date, if any."""
    return Read(table, "latest")


def history(table: str, *, later_too: bool = False, on_driver: bool = False) -> Read:
    """All dates up to run_date."""
    return Read(table, "history", later_too=later_too, on_driver=on_driver)


def records(kind: str, window: Window, days: int = 1) -> Read:
    """The rows of bronze.records of one kind."""
    return Read("bronze.records", window, kind, days=days)


def model(kind: str = "", chosen: Chosen = "promoted") -> Read:
    """A model of a kind."""
    return Read("ops.models", "model", kind, model=chosen)


def optional(read: Read) -> Read:
    """The same, where the deployment has it."""
    return replace(read, optional=True)
