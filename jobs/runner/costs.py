"""What a run costs: CPU seconds, memory, bytes read and shuffled, by the operating system and Spark's own counts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
from pyspark.sql import SparkSession

from schemas.prices import Prices

SECONDS_BETWEEN_SAMPLES = 2.0  # of the memory
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


class Meter:
    """A meter of this process, Spark's JVM and all that they started; on a cluster, of the executors' tasks as well.

    Processes that have ended count where their parent waited for them, as Python workers are by Spark's daemon. The
    meter counts all that these processes do: runs side by side in one process cannot be told apart.
    """

    def __init__(self, spark: SparkSession) -> None:
        """Begin to count."""
        self._spark, self._jvm = spark, os.getpid()
        with suppress(Exception):  # a JVM that cannot answer fails the job itself, with the reason
            context: Any = spark.sparkContext
            self._jvm = int(context._jvm.java.lang.ProcessHandle.current().pid())
        self._before, self._peak = self._counts(), self._memory()
        self._done = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def end(self, seconds: float, prices: Prices) -> dict[str, Any]:
        """COSTS of a row of ops.runs but bytes_written: what has been used since the beginning, `seconds` ago."""
        self._done.set()
        peak = max(self._peak, self._memory())
        used = {name: value - self._before.get(name, 0.0) for name, value in self._counts().items()}
        cpu = round(max(0.0, used.pop("cpu_seconds")), 3)
        of_spark = {name: int(value) for name, value in used.items()}
        return {"cpu_seconds": cpu, "peak_bytes": peak, "price": prices.of(cpu, peak, seconds), **of_spark}

    def _counts(self) -> dict[str, float]:
        with suppress(Exception):
            of_tasks, read, shuffled = _of_executors(self._spark)
            return {"cpu_seconds": self._cpu() + of_tasks, "bytes_read": read, "bytes_shuffled": shuffled}
        return {"cpu_seconds": self._cpu()}

    def _cpu(self) -> float:
        seconds = 0.0
        for process in self._processes():
            with suppress(*GONE):
                times = process.cpu_times()
                seconds += times.user + times.system
                seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return seconds

    def _memory(self) -> int:
        held = 0
        for process in self._processes():
            with suppress(*GONE):
                held += process.memory_info().rss
        return held

    def _processes(self) -> Iterator[psutil.Process]:
        """The process and the JVM, whichever started the other, and all that they started: each once."""
        seen: set[int] = set()
        for pid in (os.getpid(), self._jvm):
            with suppress(*GONE):
                root = psutil.Process(pid)
                for process in (root, *root.children(recursive=True)):
                    if process.pid not in seen:
                        seen.add(process.pid)
                        yield process

    def _sample(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_SAMPLES):
            self._peak = max(self._peak, self._memory())


def _of_executors(spark: SparkSession) -> tuple[float, float, float]:
    """Seconds of tasks on other machines, bytes read and bytes shuffled, since the application began."""
    context: Any = spark.sparkContext
    scala = context._jsc.sc()
    scala.listenerBus().waitUntilEmpty()  # counts come by messages of tasks that have ended
    listed = scala.statusStore().executorList(False)
    seconds = read = shuffled = 0.0
    for place in range(listed.size()):
        executor = listed.apply(place)
        read += executor.totalInputBytes()
        shuffled += executor.totalShuffleWrite()
        if executor.id() != "driver":
            seconds += executor.totalDuration() / 1000
    return seconds, read, shuffled
