"""Files below a lake or landing folder through Hadoop's file systems: a disk or an object store alike."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.runner import integrity
from schemas.storage import is_object_store


def escape_glob(uri: str) -> str:
    """A path with the characters of glob patterns escaped."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)


class Storage:
    """Small files and complete folders below one root."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.root = root

    def at(self, name: str) -> tuple[Any, Any]:
        """A path below the root, or a URI, and the file system it is on, as Hadoop's objects."""
        uri = name if re.match("^[a-z0-9]+:/", name) else f"{self.root}/{name}"
        path = self._jvm().org.apache.hadoop.fs.Path(uri)
        return path, path.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())

    def _jvm(self) -> Any:
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        return jvm

    def newest(self, folder: str, pattern: str) -> Any:
        """The path of a folder's last matching file by name; None without one."""
        path, system = self.at(folder)
        matches = system.globStatus(self._jvm().org.apache.hadoop.fs.Path(f"{escape_glob(path.toString())}/{pattern}"))
        return matches[len(matches) - 1].getPath() if matches else None  # sorted by name

    def content(self, path: Any) -> bytes:
        """A small file's bytes. integrity.NotWholeError where a local file does not match its checksum file."""
        _, system = self.at(path.toString())
        stream = None
        try:
            stream = system.open(path)
            return bytes(stream.readAllBytes())
        except Exception as error:
            if "ChecksumException" in str(error):
                raise integrity.NotWholeError(f"is not what its checksum (.{path.getName()}.crc) says") from None
            raise
        finally:
            if stream is not None:
                stream.close()

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file (a report page), replacing an existing one."""
        path, system = self.at(name)
        stream = system.create(path, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def publish_folder(self, local: Path, folder: str) -> str:
        """Copy a local folder below the root, replacing an existing one; its new path."""
        target, system = self.at(folder)
        system.delete(target, True)
        system.mkdirs(target.getParent())
        source, here = self.at(f"file://{local.resolve()}")
        if is_object_store(self.root):  # whose own copyFromLocalFile needs libraries that Spark's hide
            conf = self.spark.sparkContext._jsc.hadoopConfiguration()
            self._jvm().org.apache.hadoop.fs.FileUtil.copy(here, source, system, target, False, True, conf)
        else:
            system.copyFromLocalFile(False, True, source, target)
        return f"{self.root}/{folder}"

    def delete(self, name: str) -> None:
        """Remove a file, or a folder with its contents, if it exists."""
        path, system = self.at(name)
        system.delete(path, True)

    def unwritten(self, folder: str, days: int) -> list[tuple[Any, int]]:
        """Entries of a folder last written to over `days` days ago: (path, number of files)."""
        place, system = self.at(folder)
        youngest, entries = (time.time() - days * 86_400) * 1000, []
        for status in system.listStatus(place) if system.exists(place) else ():
            written, below = [status.getModificationTime()], system.listFiles(status.getPath(), True)
            while below.hasNext():
                written.append(below.next().getModificationTime())
            if max(written) < youngest:
                entries.append((status.getPath(), max(len(written) - 1, 1)))
        return entries
