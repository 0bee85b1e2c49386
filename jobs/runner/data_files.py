"""Parquet files of a table, and the statistics of their footers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from jobs.runner import object_store
from schemas.contract import PARTITION
from schemas.errors import DataError
from schemas.storage import is_object_store

STATISTICS = (pa.types.is_integer, pa.types.is_date, pa.types.is_string, pa.types.is_floating)
LONGEST_TEXT = 200  # characters of a text whose minimum and maximum the log repeats


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table: its path below the table's folder, rows, bytes, first and last run_date.

    `stats`: its statistics as the log records them (JSON); empty where the file was read from the log.
    """

    path: str
    rows: int
    size: int
    first: dt.date
    last: dt.date
    stats: str = ""

    def is_within(self, days: Iterable[dt.date]) -> bool:
        """Whether every run_date that the file may hold is among these days."""
        span = (self.last - self.first).days + 1
        return span <= 20_000 and {self.first + dt.timedelta(days=n) for n in range(span)} <= set(days)

    def may_hold(self, days: Iterable[dt.date]) -> bool:
        """Whether the file may hold rows of any of these days."""
        return any(self.first <= day <= self.last for day in days)


def written_files(uri: str, folder: str, personal: Collection[str] = ()) -> list[DataFile]:
    """The Parquet files below `folder` of a table, with the statistics of their footers; none without a row.

    personal: columns without minimum and maximum.
    """
    system, root = file_system(uri)
    base = f"{root.rstrip('/')}/"
    selector = pa_fs.FileSelector(f"{base}{folder}", recursive=True, allow_not_found=True)
    files = []
    for info in system.get_file_info(selector):
        if info.is_file and info.base_name.endswith(".parquet"):
            with system.open_input_file(info.path) as file:
                files.append(described(info.path.removeprefix(base), info.size, pq.read_metadata(file), personal))
    return sorted((file for file in files if file.rows), key=lambda file: file.path)


def described(path: str, size: int, footer: pq.FileMetaData, personal: Collection[str] = ()) -> DataFile:
    """A file with the rows, minima, maxima and nulls that its footer records, as a table's log has them.

    personal: columns of which the log gets the nulls alone.
    """
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    kinds = {field.name: field.type for field in footer.schema.to_arrow_schema()}
    for place in range(footer.num_columns):
        name = footer.schema.column(place).path
        if name not in kinds or not any(fits(kinds[name]) for fits in STATISTICS):
            continue
        parts = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
        if any(part is None or not part.has_null_count for part in parts):
            continue
        nulls[name] = sum(part.null_count for part in parts)
        ends = [(part.min, part.max) for part in parts if part.has_min_max]
        filled = [part for part in parts if part.num_values]
        if name not in personal and ends and len(ends) >= len(filled) and not _too_long(ends):
            low[name], high[name] = min(end[0] for end in ends), max(end[1] for end in ends)
    stats = {"numRecords": footer.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    first, last = low.get(PARTITION, dt.date.min), high.get(PARTITION, dt.date.max)
    return DataFile(path, footer.num_rows, size, first, last, json.dumps(stats, default=str))


def _too_long(ends: Sequence[tuple[Any, Any]]) -> bool:
    return any(isinstance(value, str) and len(value) > LONGEST_TEXT for end in ends for value in end)


def days_in(uri: str, file: DataFile) -> set[dt.date]:
    """The run_dates of a file's rows; the file is opened only where its statistics do not determine them."""
    if file.first == file.last:
        return {file.first}
    system, root = file_system(uri)
    with system.open_input_file(f"{root.rstrip('/')}/{file.path}") as opened:
        days = pq.read_table(opened, columns=[PARTITION]).column(PARTITION)
    return {day for day in pc.unique(days).to_pylist() if day is not None}


def rows_of(uri: str, files: Sequence[DataFile]) -> list[dict[str, Any]]:
    """The rows of some files of a small table, on the driver."""
    system, root = file_system(uri)
    rows: list[dict[str, Any]] = []
    for file in files:
        with system.open_input_file(f"{root.rstrip('/')}/{file.path}") as opened:
            rows += pq.read_table(opened).to_pylist()
    return rows


def check_files(uri: str, files: Sequence[DataFile]) -> None:
    """DataError where a file that the log names is gone: upkeep has removed it."""
    system, root = file_system(uri)
    for info in system.get_file_info([f"{root.rstrip('/')}/{file.path}" for file in files]):
        if not info.is_file:
            raise DataError(f"its file {info.base_name} has been removed")


def file_system(uri: str) -> tuple[pa_fs.FileSystem, str]:
    """The file system of a URI or local path, and the path there."""
    if "://" not in uri:
        return pa_fs.LocalFileSystem(), uri
    if uri.startswith("file://"):
        return pa_fs.LocalFileSystem(), uri.removeprefix("file://")
    if is_object_store(uri):
        return object_store.file_system(uri)
    system, path = pa_fs.FileSystem.from_uri(uri)
    return system, path
