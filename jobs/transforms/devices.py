"""What one encoding task gets of the hardware: its cores, and where executors have GPUs one of them to itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark import TaskContext
from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests

GPU = "gpu"  # what Spark's properties call it: spark.executor.resource.gpu.amount


@dataclass(frozen=True)
class Share:
    """Resources of one task: cores, each with a thread, and whole GPUs (0 or 1)."""

    cpus: int
    gpus: int


def share(conf: Mapping[str, str]) -> Share:
    """An encoding task's share of an executor, from the session's properties.

    With GPUs: one of them and the cores that fall to it. Without: what any task gets, spark.task.cpus. A local master
    hands out no GPU, whatever its properties say, and a stage that requests one hangs.
    """
    cpus = int(conf.get("spark.task.cpus", "1"))
    gpus = int(conf.get(f"spark.executor.resource.{GPU}.amount", "0"))
    is_local = conf.get("spark.master", "").partition("[")[0] == "local"
    if is_local or not gpus:
        return Share(cpus, gpus=0)
    cores = int(conf.get("spark.executor.cores", "1"))
    return Share(max(cpus, cores // gpus), gpus=1)


def profile(needs: Share) -> ResourceProfile | None:
    """For mapInArrow: what the tasks of that one stage need; None where it is what every task gets.

    It requests nothing of executors, so that without dynamic allocation the existing ones are used.
    """
    if not needs.gpus:
        return None
    return ResourceProfileBuilder().require(TaskResourceRequests().cpus(needs.cpus).resource(GPU, needs.gpus)).build


def of_this_task() -> tuple[str, int]:
    """Inside a task: torch's name of the device that Spark gave it ("cpu", "cuda:1"), and its threads."""
    context = TaskContext.get()
    assert context is not None, "only a task has a share"
    gpus = context.resources().get(GPU)
    return (f"cuda:{gpus.addresses[0]}" if gpus else "cpu"), context.cpus()
