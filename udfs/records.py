"""One result is one record of a raw file, as it stood and as fields; damage is told, nothing is dropped."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

csv.field_size_limit(2**31 - 1)


@dataclass
class Record:
    """One line after the header: its number in the file (the header is 1), its text, its fields or why none."""

    row: int
    raw: str
    fields: list[str] | None
    problem: str | None


@dataclass
class FileReport:
    """How one file was found: counts, columns the deployment does not name, why it cannot be read (None if it can)."""

    record_count: int = 0
    unreadable_count: int = 0
    extra_columns: list[str] = field(default_factory=list)
    problem: str | None = None


def read_records(
    content: bytes, name: str, columns: Sequence[str], delimiter: str, encoding: str, report: FileReport
) -> Iterator[Record]:
    """The records of one delimited file with a header, plain or gzip (`.gz`), one line a record; fills `report`.

    Fields come in the order of `columns`, whatever the file's order; an empty file has no records. Where the header
    lacks a column or the file is cut short, `report.problem` says so, and the records up to there are still given.
    """
    stream = gzip.GzipFile(fileobj=io.BytesIO(content)) if name.endswith(".gz") else io.BytesIO(content)
    lines = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="\n")
    places: list[int] = []
    width = 0
    try:
        for number, line in enumerate(lines, start=1):
            text = line.removesuffix("\n").removesuffix("\r")
            if number == 1:
                header = [column.strip() for column in split(text.removeprefix("\ufeff"), delimiter)]
                report.problem = header_problem(header, columns)
                if report.problem:
                    return
                places, width = [header.index(column) for column in columns], len(header)
                report.extra_columns = [column for column in header if column not in set(columns)]
                continue
            record = _record(number, text, delimiter, places, width)
            report.record_count += 1
            report.unreadable_count += record.fields is None
            yield record
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        report.problem = f"damaged gzip after {report.record_count} records: {error}"


def _record(number: int, text: str, delimiter: str, places: Sequence[int], width: int) -> Record:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # What the encoding cannot read is kept as \xNN, so that the record can be stored and read again.
            kept = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
            return Record(number, kept, None, "bytes that are not text in the deployment's encoding")
    values = split(text, delimiter)
    if len(values) != width:
        what = "the line is blank" if not text.strip() else f"{len(values)} fields, the header has {width}"
        return Record(number, text, None, what)
    return Record(number, text, [values[place] for place in places], None)


def split(line: str, delimiter: str) -> list[str]:
    """The fields of one line; quotes as in RFC 4180, and a quoted field ends with its line."""
    if '"' not in line:
        return line.split(delimiter)
    # A carriage return inside a field would end the record for csv; it stays part of its field here.
    rows = list(csv.reader([line], delimiter=delimiter)) if "\r" not in line else [line.split(delimiter)]
    return rows[0] if rows else [""]


def header_problem(header: Sequence[str], columns: Sequence[str]) -> str | None:
    """Why a header does not fit the columns that the deployment names; None if it does."""
    lacking = [column for column in columns if column not in header]
    if lacking:
        return f"wrong header: lacks {', '.join(lacking)}; it has {', '.join(header)}"
    repeated = sorted({column for column in header if list(header).count(column) > 1})
    return f"wrong header: {', '.join(repeated)} named more than once" if repeated else None
