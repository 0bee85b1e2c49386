"""Job: what one job reads, which dates of it, and what it writes; the jobs themselves are in jobs/flow.py. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from schemas import TABLES

# What of a table a job sees. Without a flag of Read that says otherwise, none of them reaches beyond run_date.
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
#   encoding  the one that has made the item vectors of run_date, also where a newer one was promoted meanwhile; an
#             error where it is not promoted any more, or where another input of run_date is of another model
#   judged    the promoted one 28 days earlier: of the run whose lists are judged by what was bought since
Chosen = Literal["promoted", "encoding", "judged"]

RECOMMEND = "recommend"  # the kind of a model that the night cannot do without


@dataclass(frozen=True)
class Read:
    """One input of a job. Raw files of a kind are named `landing.<kind>`; `landing.records` is all but two kinds.

    `kind`: of bronze.records, the rows of this kind alone; of ops.models, the model of this kind ("": recommend).
    `optional`: a deployment whose sources do not give this table runs the job nevertheless, and it reads as empty;
    where there is no such model, the job gets None.
    `may_be_empty`: of `today`: a run may have written no row; an error only where no run has written the table.
    `later_too`: of `history`: beyond run_date as well. For what is known of files, which may have come before those of
    run_date.
    `days`: of `latest`, of one kind of records: how many days.
    `on_driver`: of `history`: the rows as dicts, which costs no query. For records of runs and days.
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
        """What the job calls it: a table by its parameter name, raw files `<source>_files`, a model `<kind>_model`."""
        if self.window == "files":
            return f"{self.table.split('.')[1]}_files"
        if self.window == "model":
            return f"{self.kind}_model" if self.kind else "model"
        return f"bronze_{self.kind}" if self.kind else TABLES[self.table].parameter

    @property
    def seen(self) -> str:
        """The window and what its flags change, for people."""
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

    `ledger` is the one of its tables whose rows say which days are done. What it says of a day is taken back before
    anything of that day is written and said again when all else has been: a run that is killed between has not done it.
    `after` are tables that must have been written for run_date though the job does not read their rows.
    `trains` is the kind of model that it adds to ops.models, if any.
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
        """The layer of what it writes."""
        return self.writes[-1].split(".")[0]


def files(source: str) -> Read:
    """Raw files of a source."""
    return Read(f"landing.{source}", "files")


def pending(table: str) -> Read:
    """Days not yet processed."""
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
    """What of bronze.records is of one kind."""
    return Read("bronze.records", window, kind, days=days)


def model(kind: str = "", chosen: Chosen = "promoted") -> Read:
    """A model of a kind."""
    return Read("ops.models", "model", kind, model=chosen)


def optional(read: Read) -> Read:
    """The same, where the deployment has it."""
    return replace(read, optional=True)
