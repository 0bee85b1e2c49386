"""What an encoding task asks for, by the session's properties; the script that tells Spark of GPUs; the two confs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runner.session import properties
from jobs.transforms import devices
from jobs.transforms.devices import Share, share
from tests.support.tiny_shop import REPO

CONF = REPO / "conf"
CLUSTER = {"spark.master": "spark://master:7077", "spark.executor.cores": "8"}
ONE_GPU = {"spark.executor.resource.gpu.amount": "1"}


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"spark.master": "local[2,3]"}, Share(1, 0)),
        ({"spark.master": "local", "spark.task.cpus": "2"}, Share(2, 0)),
        (CLUSTER, Share(1, 0)),
        (CLUSTER | {"spark.task.cpus": "4"}, Share(4, 0)),
        (CLUSTER | ONE_GPU, Share(8, 1)),
        (CLUSTER | {"spark.executor.resource.gpu.amount": "2"}, Share(4, 1)),
        ({"spark.master": "yarn"} | ONE_GPU, Share(1, 1)),
        ({"spark.master": "local[*]", "spark.executor.cores": "8"} | ONE_GPU, Share(1, 0)),  # it would wait for ever
        ({"spark.master": "local", "spark.executor.cores": "8"} | ONE_GPU, Share(1, 0)),
    ],
)
def test_a_task_has_a_whole_gpu_and_the_cores_that_go_with_it(conf: dict[str, str], expected: Share) -> None:
    assert share(conf) == expected


def test_the_gpu_conf_gives_an_encoding_task_an_executor() -> None:
    assert share(properties(str(CONF / "spark-gpu.conf"))) == Share(8, 1)
    assert share(properties(str(CONF / "spark-local.conf"))) == Share(1, 0)


def test_what_is_not_about_size_is_the_same_on_a_cluster() -> None:
    local, gpu = (properties(str(CONF / f"spark-{name}.conf")) for name in ("local", "gpu"))
    own = {
        "spark.master",
        "spark.sql.shuffle.partitions",
        "spark.databricks.delta.snapshotPartitions",
        "spark.sql.execution.arrow.maxRecordsPerBatch",
        # of a machine with two cores
        "spark.sql.files.openCostInBytes",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism",
        "spark.ui.enabled",
        "spark.driver.extraJavaOptions",
    }
    assert {key: gpu.get(key) for key in local.keys() - own} == {key: local[key] for key in local.keys() - own}


def test_the_profile_asks_tasks_and_not_executors(spark: SparkSession) -> None:
    assert devices.profile(Share(8, 0)) is None
    asked = devices.profile(Share(8, 1))
    assert asked is not None
    assert {name: need.amount for name, need in asked.taskResources.items()} == {"cpus": 8, "gpu": 1}
    assert asked.executorResources == {}


def test_a_task_without_a_gpu_is_told_so(spark: SparkSession) -> None:
    def tell(batches):
        import pyarrow as pa

        from jobs.transforms.devices import of_this_task

        for _ in batches:
            device, threads = of_this_task()
            yield pa.RecordBatch.from_pydict({"device": [device], "threads": [threads]})

    found = spark.range(1, numPartitions=1).mapInArrow(tell, "device STRING, threads BIGINT").collect()
    assert [tuple(row) for row in found] == [("cpu", 1)]


def find_gpus(tmp_path: Path, nvidia_smi: str) -> subprocess.CompletedProcess[str]:
    """The script's answer where nvidia-smi is this shell script."""
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [CONF / "find-gpus.sh"], env={"PATH": path}, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize(("listed", "addresses"), [("0", ["0"]), (r"0\n1\n10", ["0", "1", "10"])])
def test_the_script_says_what_nvidia_smi_lists(tmp_path: Path, listed: str, addresses: list[str]) -> None:
    asked = '[ "$*" = "--query-gpu=index --format=csv,noheader" ] || exit 9'
    found = find_gpus(tmp_path, f"{asked}\nprintf '{listed}\\n'")
    assert json.loads(found.stdout) == {"name": "gpu", "addresses": addresses}
    assert found.returncode == 0


def test_the_script_fails_where_nvidia_smi_does(tmp_path: Path) -> None:
    broken = find_gpus(tmp_path, 'echo "no driver"; exit 6')
    assert (broken.returncode, broken.stdout) == (6, "")
    nothing = find_gpus(tmp_path, "exit 0")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "nvidia-smi lists no GPU" in nothing.stderr


def test_the_script_that_the_conf_names_is_there_and_runs() -> None:
    named = Path(properties(str(CONF / "spark-gpu.conf"))["spark.executor.resource.gpu.discoveryScript"])
    assert os.access(CONF / named.name, os.X_OK)
