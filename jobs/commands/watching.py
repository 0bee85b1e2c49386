"""How far a job is, while it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from pyspark.sql import SparkSession

from jobs.reports.progress import console, meters

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def watching(spark: SparkSession, title: str) -> Iterator[None]:
    """While a job runs, show how long it has run and how far Spark's current stages are."""
    done = threading.Event()
    started = time.monotonic()

    def line() -> str:
        seconds = f"{time.monotonic() - started:4.0f} s"
        return "  ".join(filter(None, [f"{title}  {seconds}", *(meter.line() for meter in meters), _stages(spark)]))

    def show() -> None:
        if console.is_terminal:
            with console.status(line(), spinner="dots") as status:
                while not done.wait(0.5):
                    status.update(line())
            return
        while not done.wait(SECONDS_BETWEEN_LINES):
            print(f"    {line()}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _stages(spark: SparkSession) -> str:
    tracker = spark.sparkContext.statusTracker()
    infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return ", ".join(f"{info.name.split(' at ')[0]} {info.numCompletedTasks}/{info.numTasks}" for info in infos if info)
