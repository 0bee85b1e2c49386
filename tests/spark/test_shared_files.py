"""Files computed in a task arrive complete on the machines of all tasks, and go when the run ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from jobs.runner import shared_files
from schemas.run import PIECES


def test_pieces_in_any_order_become_files_that_tasks_read(spark: SparkSession) -> None:
    content = {"one.npy": bytes(range(256)) * 5, "two.npy": b"x"}
    pieces = [
        (name, at, bytearray(data[at : at + 100])) for name, data in content.items() for at in range(0, 1280, 100)
    ]
    some = [piece for piece in pieces if piece[2]]
    frame = spark.createDataFrame(some[::-1], PIECES).repartition(3)
    endings: list[Callable[[bool], None]] = []
    name = shared_files.share(frame, endings.append)

    def sizes(_: object) -> list[tuple[str, int]]:
        return [(path.name, path.stat().st_size) for path in sorted(Path(SparkFiles.get(name)).iterdir())]

    seen = spark.sparkContext.parallelize([0, 1], 2).flatMap(sizes).collect()
    assert seen == [("one.npy", 1280), ("two.npy", 1)] * 2
    folder = Path(SparkFiles.get(name))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    for end in endings:
        end(True)
    assert not folder.exists()
