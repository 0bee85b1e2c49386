"""Records of a raw file, each as its text and as its fields; damage is reported, no record is dropped.

The careful reader: one line at a time, whatever the file holds. udfs/fast_records.py reads sound blocks columnwise and
leaves the others to it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from udfs.dialect import UNCLOSED, Dialect
from udfs.lines import Lines, without_line_end
from udfs.raw_files import GZIP_ERRORS, NotTextError, opened

LIKE_A_VALUE = re.compile(r"@|\d{4}")  # an address, a date, a number of a customer
SHOWN = 300  # characters of a header that does not fit: the first line of a binary file may be all of it
# A record of several lines has at most so many and so many characters: an unclosed quote swallows no file.
RECORD_LINES = 1_000
RECORD_CHARACTERS = 1_000_000
HEADER_AGAIN = "the header again"  # files were joined
HEADER_SOUGHT_LINES = 20  # below a line that is no header, to name the line that is one
MARK = "\ufeff"
SEPARATOR = re.compile(r'"?sep=([^"\r\n\0])"?', re.IGNORECASE)  # a spreadsheet's first line


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    """A stand-in for each byte that is not text, U+DC00 to U+DCFF, in any encoding; surrogateescape knows 128 up."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


MARK_BYTES = "nightshelf_mark_bytes"
codecs.register_error(MARK_BYTES, _mark_bytes)


@dataclass(frozen=True)
class FileFormat:
    """Format of a source's files, as the deployment declares it."""

    columns: Sequence[str]
    delimiter: str = ","
    encoding: str = "utf-8"
    escape: str = ""  # a sign before a quote within quotes, beside the doubled quote
    skip_lines: int = 0  # before the header
    fill_short_lines: bool = False  # a line may end before its last, empty cells
    header: bool = True  # false: the first line is a record, and has all columns in order


@dataclass
class Record:
    """One record: the number of its first line in the file, its text, its fields or why it has none."""

    row: int
    raw: str
    fields: list[str] | None
    problem: str | None


@dataclass(frozen=True)
class Layout:
    """Where the deployment's columns are in a file: their places among its `width` columns, below these `headers`.

    `headers`: the header's own text and its names with delimiters between; a line that equals one repeats the header.
    """

    places: list[int]
    width: int
    dialect: Dialect
    headers: frozenset[str] = frozenset()
    fill_short_lines: bool = False

    @cached_property
    def header_bytes(self) -> list[bytes]:
        """The headers in UTF-8."""
        return [header.encode("utf-8", "surrogatepass") for header in sorted(self.headers)]


@dataclass
class FileReport:
    """Counts of one file, columns that the deployment does not name, why it cannot be read (None if it can).

    `skipped_count`: lines without any value, which are no records. `content_sha256`: the hash of the uncompressed
    content of a gzip file that has been read to its end.
    """

    record_count: int = 0
    unreadable_count: int = 0
    skipped_count: int = 0
    extra_columns: list[str] = field(default_factory=list)
    problem: str | None = None
    content_sha256: str | None = None


def read_records(content: bytes, name: str, form: FileFormat, report: FileReport) -> Iterator[Record]:
    """The records of one delimited file with a header, plain or gzip; fills `report`.

    Fields come in the order of the format's columns, whatever the file's order, and in normal form C; an empty file has
    no records. Where the header lacks a column, or the file is cut short, in another encoding or no text at all,
    `report.problem` says so, and the records up to there are still given.
    """
    with problems(report):
        raw = opened(content, name, form.encoding)
        text = io.TextIOWrapper(raw.stream, encoding=raw.encoding, errors=MARK_BYTES, newline=raw.newline)
        lines = Lines(text)
        layout = read_header(lines, form, report)
        if layout is not None:
            yield from read_lines(lines, layout, report)
        if report.problem is None:
            report.content_sha256 = raw.content_sha256()


@contextlib.contextmanager
def problems(report: FileReport) -> Iterator[None]:
    """An error that ends the reading of a file becomes the problem of its report."""
    try:
        yield
    except NotTextError as error:
        report.problem = str(error)
    except GZIP_ERRORS as error:
        report.problem = f"damaged gzip after {report.record_count} records: {error}"
    except UnicodeError as error:  # the encoding cannot even begin, such as UTF-16 without its byte order mark
        report.problem = f"not text in the deployment's encoding after {report.record_count} records: {error}"


def read_header(lines: Lines, form: FileFormat, report: FileReport) -> Layout | None:
    """Layout of the records below the header; None where it lacks a column, as `report.problem` then says.

    Before it are `skip_lines` lines, empty ones, and a spreadsheet's `sep=;`, which names the delimiter. A file of
    empty lines has no header, no records and no problem. Without a header no line is read.
    """
    if not form.header:
        width = len(form.columns)
        return Layout(
            list(range(width)), width, Dialect(form.delimiter, form.escape), frozenset(), form.fill_short_lines
        )
    delimiter, has_header = form.delimiter, False
    while (line := lines.start()) is not None:
        text = without_line_end(line).lstrip(MARK)
        if declared := SEPARATOR.fullmatch(text):
            delimiter = declared[1]
        elif lines.number > form.skip_lines and text.strip():
            has_header = True
            break
    if not has_header:
        if 1 < lines.number <= form.skip_lines + 1:
            report.problem = f"wrong header: none, the file has no line after the {form.skip_lines} of skip_lines"
        return None
    dialect = Dialect(delimiter, form.escape)
    text, values = _joined(lines, dialect)
    names = [composed(_storable(name).strip()) for name in values] if isinstance(values, list) else []
    if problem := header_problem(names, form.columns) if names else f"wrong header: {values}":
        report.problem = problem + _hint(lines, form, dialect)
        return None
    known = set(form.columns)
    report.extra_columns = [
        name or f"(column {place})" for place, name in enumerate(names, start=1) if name not in known
    ]
    headers = frozenset((text, delimiter.join(names)))
    return Layout([names.index(column) for column in form.columns], len(names), dialect, headers, form.fill_short_lines)


def _hint(lines: Lines, form: FileFormat, dialect: Dialect) -> str:
    """If one of the next lines has every column: the setting that makes it the header."""
    for _ in range(HEADER_SOUGHT_LINES):
        if (line := lines.start()) is None:
            break
        names = dialect.split(without_line_end(line).lstrip(MARK))
        if isinstance(names, list) and set(form.columns) <= {composed(name.strip()) for name in names}:
            return f"; line {lines.number} has them: skip_lines = {lines.number - 1} reads it as the header"
    return ""


def read_lines(lines: Lines, layout: Layout, report: FileReport) -> Iterator[Record]:
    """The records of the lines that follow; counts them and the skipped lines in `report`."""
    while (line := lines.start()) is not None:
        record = _record(lines, line, layout)
        if record is None:
            report.skipped_count += 1
            continue
        report.record_count += 1
        report.unreadable_count += record.fields is None
        yield record


def _record(lines: Lines, line: str, layout: Layout) -> Record | None:
    """The record that begins with this line; None where it is empty."""
    raw = without_line_end(line)
    text = raw.lstrip(MARK)
    values = layout.dialect.split(text)
    if values == UNCLOSED:
        raw, values = _joined(lines, layout.dialect)
        text = raw.lstrip(MARK)
    number, stored = lines.number, raw if raw.isascii() else _storable(raw)
    if stored is not raw:
        return Record(number, stored, None, "bytes that are not text in the deployment's encoding")
    if "\0" in raw:  # what a crashed writer leaves; not every reader of a table gets past one
        return Record(number, raw, None, "NUL characters")
    if text in layout.headers or isinstance(values, str):
        return Record(number, raw, None, values if isinstance(values, str) else HEADER_AGAIN)
    if len(values) < layout.width and layout.fill_short_lines and text.strip():
        values += [""] * (layout.width - len(values))
    if not any(values) or (len(values) != layout.width and not text.strip()):
        return None
    if len(values) != layout.width:
        return Record(number, raw, None, f"{len(values)} fields, the header has {layout.width}")
    fields = [values[place] for place in layout.places]
    return Record(number, raw, fields if raw.isascii() else [composed(field) for field in fields], None)


def composed(text: str) -> str:
    """The text in normal form C, in which texts are compared: an accent is part of its letter, however it was typed."""
    return unicodedata.normalize("NFC", text)


def _joined(lines: Lines, dialect: Dialect) -> tuple[str, list[str] | str]:
    """A record's text and fields, with the lines on which its quotes continue.

    Where they are not closed, or not as they must be, within RECORD_LINES and RECORD_CHARACTERS: the first line alone,
    and the problem. Reading resumes on the line after it.
    """
    raw = lines.text()
    first = dialect.split(raw.lstrip(MARK))
    if first != UNCLOSED:
        return raw, first
    size = len(raw)
    while len(lines.taken) < RECORD_LINES and size < RECORD_CHARACTERS and (line := lines.more()) is not None:
        size += len(line)
        if dialect.closes(line):
            joined = lines.text()
            values = dialect.split(joined.lstrip(MARK))
            if isinstance(values, list):
                return joined, values
            if values != UNCLOSED:
                break
    lines.keep(1)
    return raw, UNCLOSED


def _storable(text: str) -> str:
    """The text itself; where bytes of it are not text, these as \\xNN and its own backslashes doubled.

    So it can be stored, and every byte recovered.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        doubled = text.replace("\\", "\\\\")
        shown = re.sub(r"[\udc00-\udcff]", lambda mark: f"\\x{ord(mark[0]) - 0xDC00:02x}", doubled)
        return shown.encode(errors="backslashreplace").decode()
    return text


def header_problem(header: Sequence[str], columns: Sequence[str]) -> str | None:
    """Why a header does not fit the columns that the deployment names; None if it does.

    A first line that may be a record, of a file without a header, is not shown: the message is stored and sent.
    """
    lacking = [column for column in columns if column not in header]
    if len(lacking) == len(columns) and any(LIKE_A_VALUE.search(name) for name in header):
        return f"wrong header: lacks {', '.join(lacking)}; its first line names none of them and may be a record"
    if lacking:
        return f"wrong header: lacks {', '.join(lacking)}; it has {_printable(', '.join(header))}"
    repeated = sorted({column for column in header if column and list(header).count(column) > 1})
    return f"wrong header: {_printable(', '.join(repeated))} named more than once" if repeated else None


def _printable(text: str) -> str:
    """At most SHOWN characters, for a message; what would not print, such as NUL, as \\x00."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown} ..."
