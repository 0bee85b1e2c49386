"""A standalone Spark cluster on this machine: Spark's own master and workers, each a process."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyspark

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
SECONDS = 120
# JVMs that live for seconds: compiled lightly they take a third of the time.
QUICK = {"SPARK_LOCAL_IP": "127.0.0.1", "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


def started(log: Path, words: str, process: subprocess.Popen[bytes]) -> re.Match[str]:
    """Wait until a log has a line with these words."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(words, log.read_text()):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{words!r} is not in {log}:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def standalone(folder: Path, workers: int, more: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a master with so many workers of one core and 2 GB each; `more` is their environment's."""
    environment = os.environ | QUICK | {"SPARK_DAEMON_MEMORY": "512m"} | dict(more or {})
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, kind: str, *arguments: str) -> tuple[Path, subprocess.Popen[bytes]]:
        log = folder / f"{name}.log"
        with log.open("wb") as file:
            command = [str(SPARK_CLASS), f"org.apache.spark.deploy.{kind}", "--webui-port", "0", *arguments]
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=folder))
        return log, processes[-1]

    try:
        log, process = start("master", "master.Master", "--host", "127.0.0.1", "--port", "0")
        url = started(log, r"spark://127\.0\.0\.1:\d+", process).group()
        for number in range(workers):
            own = ["--work-dir", str(folder / f"work{number}")]
            size = ["--host", "127.0.0.1", "--cores", "1", "--memory", "2g"]
            log, process = start(f"worker{number}", "worker.Worker", *size, *own, url)
            started(log, "Successfully registered with master", process)
        yield url
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=20)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
