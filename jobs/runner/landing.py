"""Raw files of a deployment: which there are, and their bytes as frames."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runner.storage import escape_glob
from schemas import bronze
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.source import Source


@dataclass(frozen=True)
class RawFile:
    """One raw file of a source: its day, its path below landing, its URI, its size in bytes, when it was written."""

    source: str
    day: dt.date
    name: str
    uri: str
    size: int
    modified_at: dt.datetime


class Landing:
    """The raw files below a deployment's landing folder."""

    def __init__(self, spark: SparkSession, deployment: Deployment) -> None:
        self.spark = spark
        self.deployment = deployment
        self.folder = deployment.landing

    def files(self, name: str) -> list[RawFile]:
        """Every raw file of a source, by day and name. ConfError where a name has no date."""
        source: Source = self.deployment.sources[name]
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        root = jvm.org.apache.hadoop.fs.Path(self.folder)
        system = root.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())
        base = system.makeQualified(root).toString().rstrip("/")
        found = []
        for status in system.globStatus(jvm.org.apache.hadoop.fs.Path(root, source.files)) or []:
            uri = status.getPath().toString()
            path = uri.removeprefix(base + "/")
            match = re.search(source.day, path)
            try:
                day = dt.date.fromisoformat(match.group(1) if match else "")
            except ValueError:
                raise ConfError(
                    f"{path}: no date (YYYY-MM-DD) in the file's name where "
                    f"sources.{name}.day = {source.day!r} looks for it"
                ) from None
            written = dt.datetime.fromtimestamp(status.getModificationTime() / 1000, dt.UTC)
            found.append(RawFile(name, day, path, uri, int(status.getLen()), written))
        return sorted(found, key=lambda file: (file.day, file.name))

    def read(self, name: str, days: Sequence[dt.date]) -> DataFrame:
        """One row a raw file of these days: run_date, source, source_file, bytes, modified_at, sha256, content.

        `name` is a kind of file, or `records`: every kind but those with a table of their own.
        """
        others = [kind for kind in self.deployment.kinds if kind not in bronze.KINDS]
        sources = self.deployment.of_kind(*(others if name == "records" else [name]))
        return self.contents([file for source in sources for file in self.files(source) if file.day in set(days)])

    def contents(self, files: Sequence[RawFile]) -> DataFrame:
        """One row a raw file, as read_files has it."""
        names = self.spark.createDataFrame(
            [(file.uri, file.day, file.source, file.name, file.size, file.modified_at) for file in files],
            "uri STRING, run_date DATE, source STRING, source_file STRING, bytes BIGINT, modified_at TIMESTAMP",
        )
        empty = "path STRING, length BIGINT, content BINARY"
        found = (
            self.spark.read.format("binaryFile").load([escape_glob(file.uri) for file in files])
            if files
            else self.spark.createDataFrame([], empty)
        )
        # binaryFile may spell a local URI file:/ or file:///: only the path tells files apart. It skips empty files.
        bare = r"^file:/+"
        joined = names.withColumn("bare", F.regexp_replace("uri", bare, "/")).join(
            found.select("content", F.regexp_replace("path", bare, "/").alias("bare")), "bare", "left"
        )
        content = F.when(F.col("bytes") == 0, F.lit(b"")).otherwise(F.col("content"))
        return joined.select(
            PARTITION,
            "source",
            "source_file",
            "bytes",
            "modified_at",
            F.sha2(content, 256).alias("sha256"),
            content.alias("content"),
        )
