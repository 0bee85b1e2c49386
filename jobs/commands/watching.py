"""Progress display of a running job."""

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
    """Within the block, show how long a job has run and the progress of Spark's current stages."""
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
    """How many tasks of the active stages are done; empty where there is no stage."""
    tracker = spark.sparkContext.statusTracker()
    stages = [stage for stage in map(tracker.getStageInfo, tracker.getActiveStageIds()) if stage]
    done, tasks = sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)
    return f"{done} of {tasks} tasks of {len(stages)} stage{'s' * (len(stages) != 1)}" if stages else ""
