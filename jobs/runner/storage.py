"""Files below a lake or a landing folder by Hadoop's file systems: the same calls for a disk and an object store."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.runner import integrity


def escape_glob(uri: str) -> str:
    """A path in which no character means a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)


class Storage:
    """Small files and whole folders below one root."""

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
        """The path of the last file of a folder by name, of those that match; None where there is none."""
        path, system = self.at(folder)
        found = system.globStatus(self._jvm().org.apache.hadoop.fs.Path(f"{escape_glob(path.toString())}/{pattern}"))
        return found[len(found) - 1].getPath() if found else None  # sorted by name

    def content(self, path: Any) -> bytes:
        """A small file's bytes. integrity.NotWholeError where a local file differs from the checksum file beside it."""
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
        """Write a small text file (a report page), in place of what exists there."""
        path, system = self.at(name)
        stream = system.create(path, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def publish_folder(self, local: Path, folder: str) -> str:
        """Copy a local folder below the root, in place of what exists there; where it is now."""
        target, system = self.at(folder)
        system.delete(target, True)
        system.mkdirs(target.getParent())
        local_path = self._jvm().org.apache.hadoop.fs.Path(f"file://{local.resolve()}")
        system.copyFromLocalFile(False, True, local_path, target)
        return f"{self.root}/{folder}"

    def delete(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; no error where there is none."""
        path, system = self.at(name)
        system.delete(path, True)

    def unwritten(self, folder: str, days: int) -> list[tuple[Any, int]]:
        """What lies in a folder and was last written to over `days` days ago: its path, its number of files."""
        place, system = self.at(folder)
        youngest, found = (time.time() - days * 86_400) * 1000, []
        for status in system.listStatus(place) if system.exists(place) else ():
            written, below = [status.getModificationTime()], system.listFiles(status.getPath(), True)
            while below.hasNext():
                written.append(below.next().getModificationTime())
            if max(written) < youngest:
                found.append((status.getPath(), max(len(written) - 1, 1)))
        return found
