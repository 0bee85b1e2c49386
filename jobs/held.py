"""Frames that a job holds while it runs, in memory or on disk. Jobs run side by side: each lets go of its own alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from pyspark.sql import DataFrame

_HELD: ContextVar[list[DataFrame] | None] = ContextVar("held", default=None)


def hold(frame: DataFrame) -> DataFrame:
    """The frame, persisted until the job that this thread runs has ended (outside of one: as long as Spark lasts)."""
    held = _HELD.get()
    if held is not None:
        held.append(frame)
    return frame.persist()


@contextlib.contextmanager
def holding() -> Iterator[None]:
    """What is held inside is let go of at the end."""
    held: list[DataFrame] = []
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)
        with contextlib.suppress(Exception):  # where the JVM has died nothing is held, and its death is to be told
            for frame in reversed(held):
                frame.unpersist()
