"""Raw files into bronze: every record as it stood, with its file and line, and every file with its hash."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import erased_lines, file_names
from jobs.transforms.ledger import LOGS
from schemas import bronze
from schemas.deployment import Deployment
from schemas.run import RunContext
from schemas.source import Source
from udfs import fast_records
from udfs.fast_records import read_batches
from udfs.keyed_hash import KeySource
from udfs.records import FileFormat, FileReport

ARROW = pa.schema(
    [
        ("run_date", pa.date32()),
        ("source", pa.string()),
        ("source_file", pa.string()),
        ("bytes", pa.int64()),
        ("modified_at", pa.timestamp("us", "UTC")),
        ("sha256", pa.string()),
        *fast_records.SCHEMA,
        ("record_count", pa.int64()),
        ("unreadable_count", pa.int64()),
        ("skipped_count", pa.int64()),
        ("extra_columns", pa.list_(pa.string())),
        ("columns", pa.list_(pa.string())),
        ("content_sha256", pa.string()),
    ]
)
DDL = {
    pa.date32(): "DATE",
    pa.string(): "STRING",
    pa.int64(): "BIGINT",
    pa.timestamp("us", "UTC"): "TIMESTAMP",
    pa.list_(pa.string()): "ARRAY<STRING>",
}
PARSED = ", ".join(f"{column.name} {DDL[column.type]}" for column in ARROW)
LOG_KINDS = {log.kind for log in LOGS.values()}
OF_REPORT = ("problem", "record_count", "unreadable_count", "skipped_count", "extra_columns")


def ingest_logs(
    events_files: DataFrame,
    items_files: DataFrame,
    records_files: DataFrame,
    bronze_files: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """Bronze rows of the raw files that are still to be read: bronze.events, .items, .records (all else), .files.

    A file of a log (events, ad_events, promotions) with the content of another is listed with that file's name and its
    records are left out: it is a copy. (A catalogue may be the same on two days; the later file confirms it.) A file
    with a wrong header or cut short has a problem in bronze.files, whose contract then stops the run; a line that
    cannot be split into fields is stored with its problem and rejected when it is cleaned. Lines of erased users are
    left out, and not counted.
    """
    events, items, others = (
        parse(files, run.deployment.sources).persist() for files in (events_files, items_files, records_files)
    )
    if hashes := run.erased():
        events, items, others = without_erased((events, items, others), run.deployment, hashes)
    logs = run.deployment.of_kind(*LOG_KINDS)
    parsed = reports(events).unionByName(reports(items)).unionByName(reports(others))
    of_logs = parsed.where(F.col("source").isin(list(logs)))
    copies = F.broadcast(copies_among(of_logs, bronze_files, logs))  # a row a copy
    return {
        "bronze.events": records(events, copies).select(*bronze.EVENTS.column_names),
        "bronze.items": records(items).select(*bronze.ITEMS.column_names),
        "bronze.records": records(others, copies).select(*bronze.RECORDS.column_names),
        "bronze.files": parsed.drop("duplicate_of")
        .join(copies, ["source", "source_file"], "left")
        .select(*bronze.FILES.column_names),
    }


def without_erased(parsed: Sequence[DataFrame], deployment: Deployment, hashes: frozenset[str]) -> list[DataFrame]:
    """The parsed events, items and other records without the lines of erased users."""
    conf = deployment.privacy.erasure
    key = KeySource(conf.key_env, conf.key_file) if conf else KeySource()
    logs = {f"bronze.{name}": records(rows) for name, rows in zip(("events", "items", "records"), parsed, strict=True)}
    lines = erased_lines.erased_lines(logs, deployment, hashes, key).persist()
    return [erased_lines.without(rows, lines) for rows in parsed]


def copies_among(listed: DataFrame, bronze_files: DataFrame, sources: Mapping[str, Source]) -> DataFrame:
    """source, source_file, duplicate_of: files with the content of one of their source, in bronze or earlier here.

    Content is the same where the bytes are, or what they hold without compression, and what `from_name` takes of the
    files' names. Of the files that are read now the first by day and name is no copy of another; nor is any of an
    empty file.
    """
    own_days, same = listed.select("run_date").distinct(), ["source", "content"]
    elsewhere = bronze_files.where("duplicate_of IS NULL").join(own_days, "run_date", "left_anti")
    hashes = F.array_distinct(F.array("sha256", F.coalesce("content_sha256", "sha256")))
    named = file_names.of_sources(sources)
    contents = F.transform(hashes, lambda digest: F.concat_ws("\0", digest, named))

    def by_content(files: DataFrame) -> DataFrame:
        return files.select("run_date", "source", "source_file", F.explode(contents).alias("content"))

    here = by_content(listed.where("bytes > 0"))
    originals = by_content(elsewhere).unionByName(here)
    first = originals.join(own_days.withColumn("read_now", F.lit(True)), "run_date", "left").groupBy(*same)
    place = F.struct(F.coalesce("read_now", F.lit(False)), "run_date", "source_file")  # what is in bronze comes first
    known = here.join(first.agg(F.min_by("source_file", place).alias("original")), same, "inner")
    of_each = known.groupBy("source", "source_file").agg(F.min("original").alias("duplicate_of"))
    return of_each.where("duplicate_of <> source_file")


def parse(files: DataFrame, sources: Mapping[str, Source]) -> DataFrame:
    """The records of each file and, after them, one row (source_row null) that reports on the file.

    A file is read by the version of its source that holds on its day.
    """
    formats = {
        kind: [(since, format_of(as_of)) for since, as_of in source.versions()] for kind, source in sources.items()
    }
    return files.mapInArrow(_parser(formats), PARSED)


def format_of(source: Source) -> FileFormat:
    """How the files of one version of a source are written."""
    return FileFormat(
        source.columns,
        source.delimiter,
        source.encoding,
        source.escape,
        source.skip_lines,
        fill_short_lines=source.short_lines == "fill",
        header=source.header,
    )


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
        "skipped_count",
        "content_sha256",
    )


def _parser(
    formats: Mapping[str, Sequence[tuple[dt.date, FileFormat]]],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def parse_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in range(batch.num_rows):  # one file's content at a time as a Python object
                (file,) = batch.slice(place, 1).to_pylist()
                versions = formats[file["source"]]
                yield from _file_batches(file, [form for since, form in versions if since <= file["run_date"]][-1])

    return parse_batches


def _file_batches(file: Mapping[str, Any], form: FileFormat) -> Iterator[pa.RecordBatch]:
    """One file's records in batches of ARROW, then one row with its report.

    A record's row has the columns that bronze stores; bytes, modified_at and sha256 of its file are in the report.
    """
    report = FileReport()
    of_records = {name: file[name] for name in ("run_date", "source", "source_file")}
    if file["content"] is None:
        report.problem = "it was listed and could not be read: moved, or changed, while the run began"
    else:
        for records in read_batches(file["content"], file["source_file"], form, report):
            yield _filled(of_records, records)
    described = {name: file[name] for name in ("bytes", "modified_at", "sha256")}
    reported = {name: getattr(report, name) for name in OF_REPORT}
    content_sha256 = report.content_sha256 or file["sha256"]  # of a plain file its own
    row = of_records | described | reported | {"columns": list(form.columns), "content_sha256": content_sha256}
    yield pa.RecordBatch.from_pylist([row], schema=ARROW)


def _filled(values: Mapping[str, object], records: pa.RecordBatch) -> pa.RecordBatch:
    """The records as a batch of ARROW: `values` in each row, null in the columns that neither has."""
    rows = records.num_rows
    columns = {name: pa.repeat(pa.scalar(value, ARROW.field(name).type), rows) for name, value in values.items()}
    columns |= {name: records[name] for name in records.schema.names}
    in_order = [columns.get(column.name, pa.nulls(rows, column.type)) for column in ARROW]
    return pa.record_batch(in_order, schema=ARROW)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("ingest_logs")
