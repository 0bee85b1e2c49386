"""Files that every task of a job reads: written on the driver's disk and shipped to the executors once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import DataFrame


def share(pieces: DataFrame, at_end: Callable[[Callable[[bool], None]], None]) -> str:
    """Write pieces of files (schemas.run.PIECES) into a folder, and return its name for SparkFiles.get on any machine.

    The driver holds one partition of the pieces at a time, and a copy of the files on its disk until the run ends.
    """
    outer = Path(tempfile.mkdtemp(prefix="nightshelf-"))
    at_end(lambda _committed: shutil.rmtree(outer, ignore_errors=True))
    folder = outer / outer.name
    folder.mkdir()
    for piece in pieces.repartition("file", "offset").toLocalIterator():
        path = folder / piece.file
        path.touch()
        with path.open("r+b") as file:
            file.seek(piece.offset)
            file.write(piece.content)
    context = pieces.sparkSession.sparkContext
    if on_one_machine(context):
        return str(folder)  # SparkFiles.get leaves an absolute path as it is
    add_archive(context, folder, folder.name, outer)
    return folder.name


def on_one_machine(context: SparkContext) -> bool:
    """Whether executors see the driver's disk."""
    return (context.master or "local").startswith("local")


def add_archive(context: SparkContext, folder: Path, name: str, place: Path) -> None:
    """Ship a folder of the driver's disk to the executors of a cluster, which accept archives but no folders.

    place: where the archive is written; executors fetch it as long as the driver lives.
    """
    archive = shutil.make_archive(str(place / name), "tar", folder)
    context.addArchive(f"{archive}#{name}")
