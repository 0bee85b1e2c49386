"""Errors that end a run, each with its exit code, and what of an error may be stored and sent."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class NightshelfError(Exception):
    """An error whose text may be stored for years and sent to anybody: it has no value of a person's column.

    `examples` are lines that have such values; they are shown on the console of who started the command, and only
    there. Exit code 1 where a subclass does not say otherwise: a retry may help.
    """

    def __init__(self, sentence: str, examples: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.examples = tuple(examples)


class ConfError(NightshelfError):
    """Wrong usage or configuration: exit code 2."""


class TooEarlyError(ConfError):
    """There is nothing yet that a job could judge: exit code 4; a scheduler skips it."""


class NoModelError(ConfError):
    """No model had been promoted by the date that was asked for."""


class DataError(NightshelfError):
    """The data broke its contract: exit code 3; a retry will not help."""


class BusyError(NightshelfError):
    """Other writers were faster: exit code 1, and a retry helps."""


def stated(error: BaseException) -> str:
    """What of any error may be stored and sent: the text of one of ours; of another its kind and place.

    What a library says may quote a record: Spark's errors of conversion do.
    """
    if isinstance(error, NightshelfError):
        return str(error)
    condition = ""
    with contextlib.suppress(Exception):  # asks the JVM, which may be what has failed
        condition = f" [{error.getCondition()}]" if hasattr(error, "getCondition") and error.getCondition() else ""
    place = _place(error)
    return f"{type(error).__name__}{condition}{place}: the log of this run has its text and traceback"


def _place(error: BaseException) -> str:
    """` at <file>:<line> in <function>`: the innermost line of ours that the error came through; empty without one."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and not any(part.startswith(".venv") for part in path.parts):
            return f" at {path.relative_to(ROOT)}:{frame.lineno} in {frame.name}"
    return ""
