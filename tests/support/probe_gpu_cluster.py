"""Run by test_gpu_cluster.py as a driver of its own: encodes on a standalone cluster, and says which task had what.

The encoder is one that says where it runs; everything around it is jobs.transforms.vectors.encode and
conf/spark-gpu.conf.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from jobs.runner.session import properties
from jobs.transforms import vectors
from schemas.run import Model

REPO = Path(__file__).resolve().parents[2]
# What one small worker cannot give, or what is not there without Delta.
SMALLER = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "1g",
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "2",
    "spark.executorEnv.PYTHONPATH": str(REPO),
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.sql.adaptive.enabled": "false",  # which makes jobs of their own of the stages
}
LEFT_OUT = ("spark.jars.packages", "spark.sql.extensions", "spark.sql.catalog.spark_catalog")


def telling(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """In place of BERT: a text's vector is the device and the threads of the task that reads it."""

    def batches(arriving: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from jobs.transforms.devices import of_this_task

        device, threads = of_this_task()
        for batch in arriving:
            told = pa.array([f"{device} {threads}".encode()] * batch.num_rows)
            untold = pa.nulls(batch.num_rows, vectors.BATCH_TYPE)
            yield pa.RecordBatch.from_pydict({"text_key": batch.column("text_key"), "vector": told, "batch": untold})

    return batches


def stages(log: Path) -> list[dict[str, Any]]:
    """What the event log says of each finished stage: its profile, and whether rows go through Python in it."""
    events = [json.loads(line) for file in log.rglob("events_*") for line in file.open()]
    done = [event["Stage Info"] for event in events if event.get("Event") == "SparkListenerStageCompleted"]
    return [
        {
            "stage": info["Stage ID"],
            "profile": info["Resource Profile Id"],
            "python": any('"MapInArrow"' in rdd.get("Scope", "") for rdd in info["RDD Info"]),
        }
        for info in done
    ]


def main(master: str, log: str, output: str) -> None:
    """Write one JSON object: what each text's task had, and the stages."""
    conf = properties(str(REPO / "conf" / "spark-gpu.conf")) | SMALLER
    conf |= {"spark.master": master, "spark.eventLog.dir": f"file://{log}"}
    builder = SparkSession.builder.appName("probe")
    for key, value in conf.items():
        if key not in LEFT_OUT:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    vectors._encoder = telling
    vectors.TOKENS_PER_GPU_TASK = 5
    rows = [(f"i{number}", "tea " * number) for number in range(1, 9)]
    texts = spark.createDataFrame(rows, "item_id STRING, text STRING")
    known = spark.createDataFrame([], "text_key STRING, vector BINARY")
    found, account = vectors.encode(texts, known, Model("m1", "/nowhere/m1"))
    told = sorted({bytes(row.vector).decode() for row in found.collect()})
    encoded = account.collect()[0]["texts_encoded"]
    spark.stop()
    Path(output).write_text(json.dumps({"told": told, "encoded": encoded, "stages": stages(Path(log))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
