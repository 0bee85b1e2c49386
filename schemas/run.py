"""What a run uses beside its tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.deployment import Deployment


@dataclass(frozen=True)
class Model:
    """One promoted model. `file_name` is what executors find it by (SparkFiles)."""

    version: str
    folder: str

    @property
    def file_name(self) -> str:
        """The folder's last part."""
        return self.folder.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class GoldTable:
    """A gold table at the version that holds the rows of one run_date: how many, and of which model."""

    name: str
    version: int
    row_count: int
    model_version: str | None


def _nothing(*_: Any) -> None:
    """What a context without a lake does in place of writing."""


def _at_once(end: Callable[[bool], None]) -> None:
    """What a context without a lake does in place of waiting for the commit."""
    end(True)


@dataclass(frozen=True)
class RunContext:
    """What a job may use beside its tables. A dry run's, and one made by a test, writes nothing.

    `publish_model` takes the folder of a model and says where it is now; `write_page` a name below the lake and HTML.
    `maintain` (table, days of rows, days of versions) and `clear` (folder, days) are upkeep's. `gold_tables` are those
    of the run that have been written. `checkpoints`: where a training leaves how far it got; None for nowhere.
    `at_end` takes what is to be called when the run has ended, with whether it has committed what it made.
    """

    run_date: dt.date
    deployment: Deployment
    run_id: str = "run"
    started_at: dt.datetime = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    code_version: str = ""
    checkpoints: Path | None = None
    at_end: Callable[[Callable[[bool], None]], None] = _at_once
    publish_model: Callable[[Path], str] = str
    write_page: Callable[[str, str], object] = _nothing
    maintain: Callable[[str, int, int], dict[str, Any] | None] = _nothing
    clear: Callable[[str, int], int | None] = _nothing
    gold_tables: Callable[[], Sequence[GoldTable]] = tuple
