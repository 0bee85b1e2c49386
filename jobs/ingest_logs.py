"""Raw files into bronze: every record as it stood, with its file and line, and every file with its hash."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.ledger import LOGS
from schemas import bronze
from schemas.deployment import Source
from schemas.run import RunContext
from udfs.records import FileReport, read_records

PARSED = (
    "run_date DATE, source STRING, source_file STRING, bytes BIGINT, modified_at TIMESTAMP, sha256 STRING, "
    "source_row BIGINT, raw STRING, fields ARRAY<STRING>, problem STRING, "
    "record_count BIGINT, unreadable_count BIGINT, extra_columns ARRAY<STRING>, columns ARRAY<STRING>"
)
LOG_KINDS = {log.kind for log in LOGS.values()}
ROWS_PER_BATCH = 20_000
PLACE = "struct(run_date, source_file)"  # the order of files
Layout = tuple[list[str], str, str]  # columns, delimiter, encoding
CHARACTERS_PER_BATCH = 16_000_000  # an Arrow column holds 2 GB of text, and a damaged record may be a megabyte


def ingest_logs(
    events_files: DataFrame,
    items_files: DataFrame,
    records_files: DataFrame,
    bronze_files: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """Bronze rows of the raw files that are still to be read: bronze.events, .items, .records (all else), .files.

    A file of a log (events, ad_events, promotions) with the bytes of another is listed with that file's name and its
    records are left out: it has come twice. (A catalogue may well be the same on two days; the later one says that it
    still holds.) A file with a wrong header or cut short shows as a problem in bronze.files, whose contract then stops
    the night; a line that cannot be split into fields is kept with its problem and rejected when it is cleaned.
    """
    events, items, others = (
        parse(files, run.deployment.sources).persist() for files in (events_files, items_files, records_files)
    )
    logs = list(run.deployment.of_kind(*LOG_KINDS))
    parsed = reports(events).unionByName(reports(items)).unionByName(reports(others))
    copies = F.broadcast(copies_among(parsed.where(F.col("source").isin(logs)), bronze_files))  # a row a copy
    return {
        "bronze.events": records(events, copies).select(*bronze.EVENTS.column_names),
        "bronze.items": records(items).select(*bronze.ITEMS.column_names),
        "bronze.records": records(others, copies).select(*bronze.RECORDS.column_names),
        "bronze.files": parsed.drop("duplicate_of")
        .join(copies, ["source", "source_file"], "left")
        .select(*bronze.FILES.column_names),
    }


def copies_among(listed: DataFrame, bronze_files: DataFrame) -> DataFrame:
    """source, source_file, duplicate_of: files with the bytes of one of their kind, in bronze or earlier here.

    Of the files that are read now the first by day and name is no copy of another; nor is any of an empty file.
    """
    own_days, same = listed.select("run_date").distinct(), ["source", "sha256"]
    elsewhere = bronze_files.where("duplicate_of IS NULL").join(own_days, "run_date", "left_anti")
    first_elsewhere = elsewhere.groupBy(*same).agg(F.min_by("source_file", F.expr(PLACE)).alias("before"))
    first_here = listed.groupBy(*same).agg(F.min_by("source_file", F.expr(PLACE)).alias("here"))
    original = F.coalesce("before", "here")
    known = listed.where("bytes > 0").join(first_elsewhere, same, "left").join(first_here, same, "inner")
    copies = known.where(original != F.col("source_file"))
    return copies.select("source", "source_file", original.alias("duplicate_of"))


def parse(files: DataFrame, sources: Mapping[str, Source]) -> DataFrame:
    """The records of each file and, after them, one row (source_row null) that reports on the file.

    A file is read by the version of its source that holds on its day.
    """
    layouts = {
        kind: [(since, (as_of.columns, as_of.delimiter, as_of.encoding)) for since, as_of in source.versions()]
        for kind, source in sources.items()
    }
    return files.mapInArrow(_parser(layouts), PARSED)


def records(parsed: DataFrame, copies: DataFrame | None = None) -> DataFrame:
    """Bronze rows: the records alone, without those of files that are copies."""
    of_files = parsed.where("source_row IS NOT NULL")
    return of_files if copies is None else of_files.join(copies, ["source", "source_file"], "left_anti")


def reports(parsed: DataFrame) -> DataFrame:
    """Rows of bronze.files: the reports alone."""
    return parsed.where("source_row IS NULL").select(
        "run_date",
        "source",
        "source_file",
        "bytes",
        "sha256",
        "record_count",
        "unreadable_count",
        F.coalesce("extra_columns", F.array().cast("array<string>")).alias("extra_columns"),
        "columns",
        "problem",
        "modified_at",
        F.lit(None).cast("string").alias("duplicate_of"),
    )


def _parser(
    layouts: Mapping[str, Sequence[tuple[dt.date, Layout]]],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def parse_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch.to_pylist():
                versions = layouts[file["source"]]
                yield from _file_batches(file, [layout for since, layout in versions if since <= file["run_date"]][-1])

    return parse_batches


def _file_batches(file: dict[str, object], layout: Layout) -> Iterator[pa.RecordBatch]:
    """One file's records in batches of ROWS_PER_BATCH or fewer long ones, its report as the last row."""
    report, content, name = FileReport(), file["content"], file["source_file"]
    assert isinstance(content, bytes)
    assert isinstance(name, str)
    same = {key: file[key] for key in ("run_date", "source", "source_file", "bytes", "modified_at", "sha256")}
    numbers: list[int | None] = []
    raws: list[str | None] = []
    fields: list[list[str] | None] = []
    problems: list[str | None] = []

    def batch(finished: FileReport | None = None) -> pa.RecordBatch:
        rows = len(numbers)

        def at_the_end(value: object) -> list[object]:
            return [None] * (rows - 1) + [value] if finished and rows else [None] * rows

        arrays = {
            "run_date": pa.array([same["run_date"]] * rows, pa.date32()),
            "source": pa.array([same["source"]] * rows, pa.string()),
            "source_file": pa.array([same["source_file"]] * rows, pa.string()),
            "bytes": pa.array([same["bytes"]] * rows, pa.int64()),
            "modified_at": pa.array([same["modified_at"]] * rows, pa.timestamp("us", "UTC")),
            "sha256": pa.array([same["sha256"]] * rows, pa.string()),
            "source_row": pa.array(numbers, pa.int64()),
            "raw": pa.array(raws, pa.string()),
            "fields": pa.array(fields, pa.list_(pa.string())),
            "problem": pa.array(problems, pa.string()),
            "record_count": pa.array(at_the_end(finished and finished.record_count), pa.int64()),
            "unreadable_count": pa.array(at_the_end(finished and finished.unreadable_count), pa.int64()),
            "extra_columns": pa.array(at_the_end(finished and finished.extra_columns), pa.list_(pa.string())),
            "columns": pa.array(at_the_end(finished and layout[0]), pa.list_(pa.string())),
        }
        for column in (numbers, raws, fields, problems):
            column.clear()
        return pa.RecordBatch.from_pydict(arrays)

    characters = 0
    for record in read_records(content, name, *layout, report):
        numbers.append(record.row)
        raws.append(record.raw)
        fields.append(record.fields)
        problems.append(record.problem)
        characters += len(record.raw)
        if len(numbers) == ROWS_PER_BATCH or characters >= CHARACTERS_PER_BATCH:
            yield batch()
            characters = 0
    numbers.append(None)
    raws.append(None)
    fields.append(None)
    problems.append(report.problem)
    yield batch(report)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("ingest_logs")
