"""A standalone cluster of one worker that takes itself to have GPU number 3: who gets it. No GPU is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import QUICK, SECONDS, standalone
from tests.support.tiny_shop import REPO


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The URL of a master with one worker: one core, 2 GB, and the GPU that a made-up nvidia-smi lists."""
    fake = tmp_path / "bin" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 3\n")
    fake.chmod(0o755)
    script = REPO / "conf" / "find-gpus.sh"
    found = {
        "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}",
        "SPARK_WORKER_OPTS": "-Dspark.worker.resource.gpu.amount=1 "
        f"-Dspark.worker.resource.gpu.discoveryScript={script}",
    }
    with standalone(tmp_path, 1, found) as url:
        yield url


def test_encoding_gets_the_gpu_and_no_other_stage_asks_for_it(master: str, tmp_path: Path) -> None:
    log, output = tmp_path / "events", tmp_path / "found.json"
    log.mkdir()
    command = [sys.executable, "-m", "tests.support.probe_gpu_cluster", master, str(log), str(output)]
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
