"""Raw files of a deployment: their list, and their bytes as frames."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runner import file_patterns
from jobs.runner.storage import Storage, escape_glob
from schemas import bronze
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.errors import ConfError, DataError
from udfs.raw_files import content_sha256

MOST_BYTES = 2_000_000_000  # of a raw file as stored: Spark holds it as one value of less than 2 GiB


@dataclass(frozen=True)
class RawFile:
    """One raw file of a source: its day, its path below landing, its URI, its size in bytes, when it was written."""

    source: str
    day: dt.date
    name: str
    uri: str
    size: int
    modified_at: dt.datetime


@dataclass
class _Walk:
    """Search for a pattern: files that match, and why others beside them do not, by path below landing."""

    path: Any  # Hadoop's class
    system: Any
    base: str
    pattern: str
    matching: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)

    def go(self, folder: Any, parts: Sequence[str]) -> None:
        """Search a folder for matches of the first part of the pattern, and those for the other parts."""
        part, below = parts[0], parts[1:]
        if below and file_patterns.is_literal(part):
            self.go(self.path(f"{folder.toString()}/{part}"), below)
            return
        for status, uri in self._listed(folder):
            name = uri.rpartition("/")[2]
            if file_patterns.is_hidden(name):
                continue
            fits, path = bool(file_patterns.compiled(part).fullmatch(name)), uri.removeprefix(self.base)
            if below:
                if fits and status.isDirectory():
                    self.go(status.getPath(), below)
            elif not fits:
                if file_patterns.resembles(part, name) and not status.isDirectory():
                    self.beside[path] = f"files = {self.pattern!r} does not match it"
            elif status.isDirectory():
                self.beside[path] = "it is a folder"
            else:
                self.matching[path] = status

    def _listed(self, folder: Any) -> Iterator[tuple[Any, str]]:
        for status in self.system.listStatus(folder) if self.system.exists(folder) else ():
            yield status, status.getPath().toString()


class Landing:
    """The raw files below a deployment's landing folder."""

    def __init__(self, spark: SparkSession, deployment: Deployment, most_bytes: int = MOST_BYTES) -> None:
        self.spark = spark
        self.deployment = deployment
        self.folder = deployment.landing
        self.most_bytes = most_bytes

    def files(self, name: str) -> list[RawFile]:
        """Every raw file of a source, by day and name. ConfError where a name has no date."""
        return self.found([name])[0]

    def found(self, names: Sequence[str]) -> tuple[list[RawFile], dict[str, str]]:
        """Every raw file of these sources, by source, day and name; and unmatched files that may be meant for one.

        The latter by path, with the reason: a folder, or a name such as `A.CSV` beside `*.csv`. Names that begin with
        `.` or `_` are ignored. ConfError where a name has no date.
        """
        files: list[RawFile] = []
        beside: dict[str, str] = {}
        for name in names:
            walk = self._walked(self.deployment.sources[name].files)
            own = [self._raw_file(name, path, status) for path, status in walk.matching.items()]
            files += sorted(own, key=lambda file: (file.day, file.name))
            beside |= walk.beside
        taken = {file.name for file in files}
        return files, {path: why for path, why in sorted(beside.items()) if path not in taken}

    def _walked(self, pattern: str) -> _Walk:
        """The files that a pattern finds below the landing folder."""
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        path = jvm.org.apache.hadoop.fs.Path
        system = path(self.folder).getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())
        root = system.makeQualified(path(self.folder))
        walk = _Walk(path, system, root.toString().rstrip("/") + "/", pattern)
        for alternative in file_patterns.alternatives(pattern):
            if parts := [part for part in alternative.split("/") if part not in ("", ".")]:
                walk.go(root, parts)
        return walk

    def _raw_file(self, source: str, path: str, status: Any) -> RawFile:
        declared = self.deployment.sources[source]
        pattern = declared.day
        match = re.search(pattern, path)
        try:
            day = dt.date.fromisoformat(match.group(1) if match else "") + dt.timedelta(days=declared.day_offset)
        except (ValueError, OverflowError):
            raise ConfError(
                f"{path}: no date (YYYY-MM-DD) in the file's name where sources.{source}.day = {pattern!r} looks for it"
            ) from None
        uri, written = (
            status.getPath().toString(),
            dt.datetime.fromtimestamp(status.getModificationTime() / 1000, dt.UTC),
        )
        return RawFile(source, day, path, uri, int(status.getLen()), written)

    def read(self, name: str, days: Sequence[dt.date]) -> DataFrame:
        """One row per raw file of these days: run_date, source, source_file, bytes, modified_at, sha256, content.

        `name` is a kind of file, or `records`: every kind but those with a table of their own.
        """
        others = [kind for kind in self.deployment.kinds if kind not in bronze.KINDS]
        sources = self.deployment.of_kind(*(others if name == "records" else [name]))
        return self.contents([file for source in sources for file in self.files(source) if file.day in set(days)])

    def contents(self, files: Sequence[RawFile]) -> DataFrame:
        """One row per raw file, with the columns of `read`; content is null for a file that has gone since."""
        for file in files:
            if file.size > self.most_bytes:
                raise DataError(
                    f"{file.name} has {file.size:,} bytes, and a raw file may have {self.most_bytes:,}: compress it "
                    "with gzip, or split it into several files of its day, each with the header"
                )
        names = self.spark.createDataFrame(
            [(file.uri, file.day, file.source, file.name, file.size, file.modified_at) for file in files],
            "uri STRING, run_date DATE, source STRING, source_file STRING, bytes BIGINT, modified_at TIMESTAMP",
        )
        # Hadoop looks up a local file's checksum, which fails where its name has a colon: the driver reads these files.
        here = [file for file in files if file.uri.startswith("file:") and ":" in file.name.rpartition("/")[2]]
        spark_uris, parts = [file.uri for file in files if file not in here], []
        # Without globbing, a file that has gone since is no error; only with it, signs of a pattern can be escaped.
        plain = [uri for uri in spark_uris if escape_glob(uri) == uri]
        patterns = [escape_glob(uri) for uri in spark_uris if escape_glob(uri) != uri and self._exists(uri)]
        for uris, globbing in ((plain, "false"), (patterns, "true")):
            if uris:
                read = self.spark.read.format("binaryFile").option("__globPaths__", globbing).load(uris)
                parts.append(read.select("path", "content"))
        if here or not parts:
            parts.append(self.spark.createDataFrame(_read_here(here), "path STRING, content BINARY"))
        frame = reduce(DataFrame.unionByName, parts)
        # binaryFile may spell a local URI file:/ or file:///: only the path tells files apart. It skips empty files.
        bare = r"^file:/+"
        joined = names.withColumn("bare", F.regexp_replace("uri", bare, "/")).join(
            frame.select("content", F.regexp_replace("path", bare, "/").alias("bare")), "bare", "left"
        )
        content = F.when(F.col("bytes") == 0, F.lit(b"")).otherwise(F.col("content"))
        return joined.select(
            PARTITION,
            "source",
            "source_file",
            "bytes",
            "modified_at",
            F.coalesce(F.sha2(content, 256), F.lit("")).alias("sha256"),
            content.alias("content"),
        )

    def _exists(self, uri: str) -> bool:
        path, system = Storage(self.spark, self.folder).at(uri)
        return bool(system.exists(path))

    def hashes(self, files: Sequence[RawFile]) -> dict[tuple[str, str], tuple[str, str]]:
        """Hashes of each file's bytes and of its uncompressed content, by source and path."""
        contents = self.contents(files).select("source", "source_file", "sha256", "content") if files else None
        rows = contents.mapInArrow(_hashed, HASHED).collect() if contents else ()
        return {(row.source, row.source_file): (row.sha256, row.content_sha256) for row in rows}


def _read_here(files: Sequence[RawFile]) -> list[tuple[str, bytearray]]:
    """The URI and bytes of each local file that still exists."""
    paths = {file.uri: Path("/" + file.uri.removeprefix("file:").lstrip("/")) for file in files}
    return [(uri, bytearray(path.read_bytes())) for uri, path in paths.items() if path.is_file()]


HASHED = "source STRING, source_file STRING, sha256 STRING, content_sha256 STRING"


def _hashed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for file in (batch.slice(place, 1).to_pylist()[0] for place in range(batch.num_rows)):
            digest = content_sha256(file.pop("content") or b"", file["source_file"])
            yield pa.RecordBatch.from_pylist([{**file, "content_sha256": digest}])
