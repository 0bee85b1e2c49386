"""Errors that end a run, with their exit codes, and the text of an error that may be stored and sent."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class NightshelfError(Exception):
    """An error whose text may be stored for years and sent to anyone: it has no value of a personal column.

    `examples`: lines with such values, shown only on the console of the user who started the command. Exit code 1
    unless a subclass has its own: a retry may help.
    """

    def __init__(self, sentence: str, examples: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.examples = tuple(examples)


class ConfError(NightshelfError):
    """Wrong usage or configuration: exit code 2."""


class TooEarlyError(ConfError):
    """A job has no data to judge yet: exit code 4; a scheduler skips it."""


class NoModelError(ConfError):
    """No model had been promoted by the requested date."""


class DataError(NightshelfError):
    """The data broke its contract: exit code 3; a retry will not help."""


class HeldError(DataError):
    """A run whose figures drift, in a deployment where a person approves them: exit code 3 until `make approve`."""


class BusyError(NightshelfError):
    """Other writers were faster: exit code 1, and a retry helps."""


def stated(error: BaseException) -> str:
    """The part of an error that may be stored and sent: the text of a NightshelfError, else its class and place.

    A library's message may quote a record, as Spark's conversion errors do.
    """
    if isinstance(error, NightshelfError):
        return str(error)
    condition = ""
    with contextlib.suppress(Exception):  # asks the JVM, which may have failed
        condition = f" [{error.getCondition()}]" if hasattr(error, "getCondition") and error.getCondition() else ""
    place = _place(error)
    return f"{type(error).__name__}{condition}{place}: the log of this run has its text and traceback"


def _place(error: BaseException) -> str:
    """` at <file>:<line> in <function>`: the innermost line of Nightshelf in the traceback; empty without one."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and not any(part.startswith(".venv") for part in path.parts):
            return f" at {path.relative_to(ROOT)}:{frame.lineno} in {frame.name}"
    return ""
