"""Records of a raw file, each as its text and as its fields; damage is reported, no record is dropped.

The careful reader: one line at a time, whatever the file holds. udfs/fast_records.py reads sound blocks columnwise and
leaves the others to it.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

csv.field_size_limit(2**31 - 1)
GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
UNCLOSED = "a quote is not closed on its line"
SHOWN = 300  # characters of a header that does not fit: the first line of a binary file may be all of it


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    """A stand-in for each byte that is not text, U+DC00 to U+DCFF, in any encoding; surrogateescape knows 128 up."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


MARK_BYTES = "nightshelf_mark_bytes"
codecs.register_error(MARK_BYTES, _mark_bytes)


@dataclass
class Record:
    """One line after the header: its number in the file (the header is 1), its text, its fields or why it has none."""

    row: int
    raw: str
    fields: list[str] | None
    problem: str | None


@dataclass(frozen=True)
class Layout:
    """Where the deployment's columns are in a file: their places among its `width` columns."""

    places: list[int]
    width: int


@dataclass
class FileReport:
    """Counts of one file, columns that the deployment does not name, why it cannot be read (None if it can)."""

    record_count: int = 0
    unreadable_count: int = 0
    extra_columns: list[str] = field(default_factory=list)
    problem: str | None = None


def read_records(
    content: bytes, name: str, columns: Sequence[str], delimiter: str, encoding: str, report: FileReport
) -> Iterator[Record]:
    """The records of one delimited file with a header, plain or gzip (`.gz`), one line a record; fills `report`.

    Fields come in the order of `columns`, whatever the file's order; an empty file has no records. Where the header
    lacks a column or the file is cut short or in another encoding, `report.problem` says so, and the records up to
    there are still given.
    """
    lines = io.TextIOWrapper(opened(content, name), encoding=encoding, errors=MARK_BYTES, newline="\n")
    try:
        header = next(lines, None)
        if header is None:
            return
        layout = read_header(header, columns, delimiter, report)
        if layout is not None:
            yield from read_lines(lines, 2, delimiter, layout, report)
    except GZIP_ERRORS as error:
        report.problem = damaged_gzip(report, error)
    except UnicodeError as error:  # the encoding cannot even begin, such as UTF-16 without its byte order mark
        report.problem = f"not text in the deployment's encoding after {report.record_count} records: {error}"


def opened(content: bytes, name: str) -> gzip.GzipFile | io.BytesIO:
    """A raw file's bytes as a stream, without the compression that its name declares."""
    return gzip.GzipFile(fileobj=io.BytesIO(content)) if name.endswith(".gz") else io.BytesIO(content)


def damaged_gzip(report: FileReport, error: Exception) -> str:
    """The problem of a file whose compression ends in one of GZIP_ERRORS."""
    return f"damaged gzip after {report.record_count} records: {error}"


def read_header(line: str, columns: Sequence[str], delimiter: str, report: FileReport) -> Layout | None:
    """Layout of the records below this header; None where it lacks a column, as `report.problem` then says."""
    names = split(_storable(_without_line_end(line).removeprefix("\ufeff")), delimiter)
    header = [column.strip() for column in names or ()]
    report.problem = header_problem(header, columns) if names else f"wrong header: {UNCLOSED}"
    if report.problem:
        return None
    report.extra_columns = [column for column in header if column not in set(columns)]
    return Layout([header.index(column) for column in columns], len(header))


def read_lines(
    lines: Iterable[str], first_row: int, delimiter: str, layout: Layout, report: FileReport
) -> Iterator[Record]:
    """One record per line, the first of them with the number `first_row`; counts them in `report`."""
    for number, line in enumerate(lines, start=first_row):
        record = _record(number, _without_line_end(line), delimiter, layout)
        report.record_count += 1
        report.unreadable_count += record.fields is None
        yield record


def _without_line_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _record(number: int, text: str, delimiter: str, layout: Layout) -> Record:
    kept = text if text.isascii() else _storable(text)
    if kept is not text:
        return Record(number, kept, None, "bytes that are not text in the deployment's encoding")
    if "\0" in text:  # what a crashed writer leaves; not every reader of a table gets past one
        return Record(number, text, None, "NUL characters")
    values = split(text, delimiter)
    if values is None:
        return Record(number, text, None, UNCLOSED)
    if len(values) != layout.width:
        what = "the line is blank" if not text.strip() else f"{len(values)} fields, the header has {layout.width}"
        return Record(number, text, None, what)
    return Record(number, text, [values[place] for place in layout.places], None)


def _storable(text: str) -> str:
    """The text itself; where bytes of it are not text, these as \\xNN and its own backslashes doubled.

    So it can be stored, and every byte be recovered.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        doubled = text.replace("\\", "\\\\")
        shown = re.sub(r"[\udc00-\udcff]", lambda mark: f"\\x{ord(mark[0]) - 0xDC00:02x}", doubled)
        return shown.encode(errors="backslashreplace").decode()
    return text


def split(line: str, delimiter: str) -> list[str] | None:
    """The fields of one line, quotes as in RFC 4180; None where a quoted field does not end on the line."""
    if '"' not in line:
        return line.split(delimiter)
    # A carriage return outside quotes would end the record for csv: a NUL, which no record has, stands in for it.
    # An unclosed quote makes csv ask for another line.
    rows = csv.reader([line.replace("\r", "\0"), ""], delimiter=delimiter)
    fields = [value.replace("\0", "\r") for value in next(rows)]
    return fields if rows.line_num == 1 else None


def header_problem(header: Sequence[str], columns: Sequence[str]) -> str | None:
    """Why a header does not fit the columns that the deployment names; None if it does."""
    lacking = [column for column in columns if column not in header]
    if lacking:
        return f"wrong header: lacks {', '.join(lacking)}; it has {_printable(', '.join(header))}"
    repeated = sorted({column for column in header if list(header).count(column) > 1})
    return f"wrong header: {_printable(', '.join(repeated))} named more than once" if repeated else None


def _printable(text: str) -> str:
    """At most SHOWN characters, for a message; what would not print, such as NUL, as \\x00."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown} ..."
