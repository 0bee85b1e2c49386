"""Damage that once crashed a night or changed a value in silence, each on its own."""

from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import functions as F

from jobs.ingest_logs import _file_batches
from jobs.transforms import mapping
from schemas import bronze, silver
from schemas.source import Source
from udfs import fast_records
from udfs.records import SHOWN, FileFormat, FileReport, Record, read_records

COLUMNS = ["id", "at"]
DAY = dt.date(2024, 3, 15)


def read(content: bytes, encoding: str = "utf-8", delimiter: str = ",") -> tuple[list[Record], FileReport]:
    report = FileReport()
    form = FileFormat(COLUMNS, delimiter, encoding)
    return list(read_records(content, "a.csv", form, report)), report


def fields_of(line: str) -> list[str] | str | None:
    (record,), _ = read(f"id,at\n{line}\n".encode())
    return record.fields or record.problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_read_whatever_is_declared_and_one_that_is_not_is_told(encoding):
    records, report = read("id,at\n1,é\n".encode(encoding))
    assert ([record.fields for record in records], report.problem) == ([["1", "é"]], None)
    _, report = read(b"id,at\n1,2\n", encoding)
    assert report.problem.startswith(("wrong header", "not text in the deployment's encoding after 0 records: UTF-"))


def test_an_extra_column_whose_name_is_no_text_is_told():
    records, report = read(b"id,at,pri\xe7o\n1,2,3\n")
    assert report.extra_columns == ["pri\\xe7o"]
    assert records[0].fields == ["1", "2"]


def test_the_header_of_a_binary_file_is_cut():
    _, report = read(b"PK\x03\x04" + b"\x80" * 1_000_000)
    assert len(report.problem) < 4 * SHOWN + 50


@pytest.mark.parametrize("line", [b"a\\xff" + b"\xff,2", b"\xff\\,\\\\", b"\xed\xa0\x80,\\xed"])
def test_the_bytes_of_a_record_that_is_no_text_can_be_told(line):
    (record,), _ = read(b"id,at\n" + line + b"\n")
    assert record.fields is None
    assert record.raw.encode().decode("unicode_escape").encode("latin-1") == line


def test_broken_utf_16_is_one_record_that_cannot_be_read():
    lines = ["id,at", "1,2", "\ud800,3", "\udc00", "4,5"]
    records, report = read("\n".join(lines).encode("utf-16", "surrogatepass") + b"6", "utf-16")
    assert [record.fields for record in records] == [["1", "2"], None, None, None]
    assert [record.raw for record in records[1:]] == ["\\x00\\xd8,3", "\\x00\\xdc", "4,5\\x36"]
    assert report.unreadable_count == 3


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('"a,b",c', ["a,b", "c"]),
        ('"a\rb,c",d', ["a\rb,c", "d"]),  # quotes hold beside a carriage return, too
        ("a\rb,c", ["a\rb", "c"]),
        ('a,"b', "a quote is not closed"),  # not a shorter value
        ('"a,b', "a quote is not closed"),
        ('"a"b,c', "text after a closing quote: a quote within quotes is written twice"),
        ('"a" ,b', ["a", "b"]),
        ('5" nail,b"', ['5" nail', 'b"']),
        ("a\0,b", "NUL characters"),
    ],
)
def test_quotes_returns_and_nuls(line, fields):
    assert fields_of(line) == fields


def test_a_header_with_an_unclosed_quote_is_told():
    _, report = read(b'id,"at\n1,2\n')
    assert report.problem == "wrong header: a quote is not closed"


@pytest.mark.parametrize("mark", ["", '"'])  # a quote: the careful reader
def test_long_records_come_in_small_batches(monkeypatch, mark):
    monkeypatch.setattr(fast_records, "CHARACTERS_PER_BATCH", 1_000)
    monkeypatch.setattr(fast_records, "BLOCK_BYTES", 1_100)
    first = f"{mark}{'x' * 400}{mark},1\n".encode()
    content = b"id,at\n" + first + b"2,3\n" * 200 + (b"y" * 2_000 + b",4\n") * 3
    file = {"run_date": DAY, "source": "events", "source_file": "a.csv", "bytes": 1, "sha256": "", "content": content}
    file |= {"modified_at": None}
    batches = list(_file_batches(file, FileFormat(COLUMNS)))
    assert [batch.num_rows for batch in batches][-4:] == [1, 1, 1, 1]
    assert max(batch["raw"].nbytes for batch in batches[:-4]) < 2_000
    assert [row for batch in batches for row in batch["source_row"].to_pylist()] == [*range(2, 206), None]
    assert batches[-1]["record_count"].to_pylist() == [204]


def canonical(rows, *records, **more):
    """The mapped columns of records of a log (columns id, at, raw) as dicts."""
    columns = [*COLUMNS, "raw"]
    source = Source(files="*", columns=columns, map={"occurred_at": "at", "event_id": "id", "user_id": "raw"}, **more)
    frame = rows(bronze.EVENTS, *({"fields": list(record), "raw": ",".join(record)} for record in records))
    found = mapping.canonical(frame, source, silver.EVENTS).withColumn("broken", F.col("broken.sentence"))
    return [row.asDict() for row in found.orderBy("source_row").collect()]


def test_a_time_without_a_date_is_no_moment_of_the_clocks_day(rows):
    moments = ["10:00:00", "10:00", "T10", "1:2:3.4Z", "12:00:00 Europe/Paris", "\x0110:00"]
    found = canonical(rows, *((moment, moment, "") for moment in moments))
    assert len(found) == len(moments)
    for row in found:
        assert row["occurred_at"] is None, row["event_id"]
        assert row["broken"] == ["occurred_at is no TIMESTAMP"], row["event_id"]


def test_what_shows_as_nothing_is_trimmed_and_alone_is_no_value(rows):
    blank = "\u00a0\t\u3000\u200b\ufeff\r"
    (row,) = canonical(rows, (f"{blank}a b{blank}", "\u00a02024-03-15 10:00:00\u2009", blank))
    assert (row["event_id"], row["user_id"], row["broken"]) == ("a b", None, [])
    assert row["occurred_at"] == dt.datetime(2024, 3, 15, 10)


def test_a_raw_column_may_be_named_like_one_of_the_tables(rows):
    (row,) = canonical(rows, ("1", "2024-03-15", "u1"), reject={"no u1": "log.raw = 'u1'"})
    assert (row["raw"], row["user_id"], row["broken"]) == ("1,2024-03-15,u1", "u1", ["no u1"])
