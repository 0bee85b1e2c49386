"""A standalone cluster of one worker that takes itself to have GPU number 3: who gets it. No GPU is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from tests.tiny_shop import REPO

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
SECONDS = 120
# Four JVMs that live for seconds: compiled lightly they take a third of the time.
QUICK = {"SPARK_LOCAL_IP": "127.0.0.1", "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


def started(log: Path, words: str, process: subprocess.Popen[bytes]) -> re.Match[str]:
    """Wait until a log has a line with these words."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(words, log.read_text()):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{words!r} is not in {log}:\n{log.read_text()[-2000:]}")


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The URL of a master with one worker: one core, 2 GB, and the GPU that a made-up nvidia-smi lists."""
    fake = tmp_path / "bin" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 3\n")
    fake.chmod(0o755)
    script = REPO / "conf" / "find-gpus.sh"
    environment = os.environ | QUICK
    environment |= {
        "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}",
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_WORKER_OPTS": "-Dspark.worker.resource.gpu.amount=1 "
        f"-Dspark.worker.resource.gpu.discoveryScript={script}",
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> tuple[Path, subprocess.Popen[bytes]]:
        log = tmp_path / f"{name}.log"
        with log.open("wb") as file:
            command = [str(SPARK_CLASS), f"org.apache.spark.deploy.{name}", "--webui-port", "0", *arguments]
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=tmp_path))
        return log, processes[-1]

    try:
        log, process = start("master.Master", "--host", "127.0.0.1", "--port", "0")
        url = started(log, r"spark://127\.0\.0\.1:\d+", process).group()
        work = str(tmp_path / "work")
        log, process = start(
            "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--work-dir", work, url
        )
        started(log, "Successfully registered with master", process)
        yield url
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.cluster
def test_encoding_gets_the_gpu_and_no_other_stage_asks_for_it(master: str, tmp_path: Path) -> None:
    log, output = tmp_path / "events", tmp_path / "found.json"
    log.mkdir()
    command = [sys.executable, "-m", "tests.probe_gpu_cluster", master, str(log), str(output)]
    environment = os.environ | QUICK | {"PYTHONPATH": str(REPO), "PYSPARK_PYTHON": sys.executable}
    probe = subprocess.run(
        command, env=environment, cwd=REPO, capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )
    assert probe.returncode == 0, probe.stderr[-3000:]
    found = json.loads(output.read_text())
    assert found["told"] == ["cuda:3 1"], "the address that Spark gave the task, and the executor's one core"
    assert found["encoded"] == 8
    profiles = {stage["profile"] for stage in found["stages"] if stage["python"]}
    assert len(profiles) == 1
    assert profiles != {0}
    assert {stage["profile"] for stage in found["stages"] if not stage["python"]} == {0}
