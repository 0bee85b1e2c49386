"""Context of a run: what a job uses beside its tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.deployment import Deployment


@dataclass(frozen=True)
class Model:
    """A promoted model. Executors find it by `file_name` (SparkFiles)."""

    version: str
    folder: str

    @property
    def file_name(self) -> str:
        """The folder's last part."""
        return self.folder.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class GoldTable:
    """A gold table at the version that holds the rows of one run_date: their number and model."""

    name: str
    version: int
    row_count: int
    model_version: str | None


def _nothing(*_: Any) -> None:
    """A no-op in place of a write, for a context without a lake."""


def _at_once(end: Callable[[bool], None]) -> None:
    """Calls at once instead of after the commit, for a context without a lake."""
    end(True)


PIECES = "file STRING, offset BIGINT, content BINARY"  # of files that every task of a job reads


def _nowhere(_pieces: Any) -> str:
    """An error in place of shipped files, for a context without a lake."""
    raise TypeError("this context ships no files to the executors: give it `share` (jobs/runner/shared_files.py)")


@dataclass(frozen=True)
class RunContext:
    """What a job may use beside its tables. A context of a dry run or a test writes nothing.

    `publish_model` takes a model's folder and returns its new path; `write_page` takes a name below the lake and HTML.
    `maintain` (table, days of rows, days of versions) and `clear` (folder, days) are for upkeep. `gold_tables`: those
    that the run_date's runs have written. `erased`: keyed hashes of the users whose lines intake leaves out.
    `checkpoints`: directory of training checkpoints; None for none.
    `share` takes a frame of PIECES (jobs/runner/shared_files.py), ships the files to the executors, and returns
    the name of their folder for SparkFiles. `at_end` takes a function to call when the run has ended, with whether its
    outputs were committed.
    """

    run_date: dt.date
    deployment: Deployment
    run_id: str = "run"
    started_at: dt.datetime = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    code_version: str = ""
    checkpoints: Path | None = None
    at_end: Callable[[Callable[[bool], None]], None] = _at_once
    publish_model: Callable[[Path], str] = str
    share: Callable[[Any], str] = _nowhere
    write_page: Callable[[str, str], object] = _nothing
    maintain: Callable[[str, int, int], dict[str, Any] | None] = _nothing
    clear: Callable[[str, int], int | None] = _nothing
    gold_tables: Callable[[], Sequence[GoldTable]] = tuple
    erased: Callable[[], frozenset[str]] = frozenset
