"""Records of a raw file as Arrow batches: sound blocks split columnwise, all others by the careful reader.

A block is a run of complete lines. It is sound when it is text in its encoding and in normal form C, has no quote, NUL,
byte order mark or lone carriage return, no line that is empty or the header again, and each of its lines has as many
separators as the header. Its rows equal those of records.read_records, which reads every other block; a record that
continues in the next block is read together with that block. No type and no null is inferred.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.lines import Lines, MoreLinesError
from udfs.raw_files import GZIP_ERRORS, PIECE_BYTES, opened
from udfs.records import (
    MARK_BYTES,
    FileFormat,
    FileReport,
    Layout,
    Record,
    problems,
    read_header,
    read_lines,
    read_records,
)

SCHEMA = pa.schema(
    [("source_row", pa.int64()), ("raw", pa.string()), ("fields", pa.list_(pa.string())), ("problem", pa.string())]
)
ROWS_PER_BATCH = 20_000
CHARACTERS_PER_BATCH = 16_000_000  # an Arrow column holds 2 GB of text, and a damaged record may be a megabyte
BLOCK_BYTES = 1_000_000  # from half to twice this is as fast, more is slower
ONE_BYTE_ENCODINGS = ("iso8859-", "cp125", "koi8-")  # each byte is a character by itself, the first 128 are ASCII
LINE_FEED, CARRIAGE_RETURN = 10, 13
MAY_DECOMPOSE = 0xCC  # what U+0300 begins with in UTF-8: every text of characters before it is in normal form C
NOT_SOUND = (b'"', b"\0", "\ufeff".encode())

Integers = npt.NDArray[np.int64]


def read_batches(content: bytes, name: str, form: FileFormat, report: FileReport) -> Iterator[pa.RecordBatch]:
    """The records of one delimited file as batches of SCHEMA: those of read_records, whose arguments these are.

    A batch has ROWS_PER_BATCH records or fewer long ones; in memory are the file's bytes and a few blocks.
    """
    with problems(report):
        raw = opened(content, name, form.encoding)
        encoding = _of_blocks(raw.encoding) if raw.newline else None
        if encoding is None:
            yield from as_batches(read_records(content, name, form, report))
            return
        reading = _Reading(form, encoding, report)
        for block in _blocks(raw.stream):
            yield from reading.batches(block)
            if report.problem:
                return
        yield from reading.batches(b"", is_end=True)
        if report.problem is None:
            report.content_sha256 = raw.content_sha256()


@dataclass
class _Reading:
    """State of reading one file: its header, its next line, the bytes of a record that continues in the next block."""

    form: FileFormat
    encoding: str
    report: FileReport
    layout: Layout | None = None
    number: int = 1
    rest: bytes = b""

    def batches(self, block: bytes, is_end: bool = False) -> Iterator[pa.RecordBatch]:
        """The records of the next block and of the bytes left by the previous one; counts them."""
        body, self.rest = self.rest + block, b""
        if self.layout is None:
            body = self._below_header(body, is_end)
        if not body or self.layout is None:
            return
        split = _split_columnwise(body, self.encoding, self.layout, self.number)
        if split is None:
            yield from as_batches(self._carefully(body, self.layout, is_end))
            return
        self.number += split.num_rows
        self.report.record_count += split.num_rows
        for start in range(0, split.num_rows, ROWS_PER_BATCH):
            yield split.slice(start, ROWS_PER_BATCH)

    def _below_header(self, body: bytes, is_end: bool) -> bytes:
        """The bytes below the header; none, and `body` left in `rest`, where the header continues in the next block."""
        lines = self._lines(body, is_end)
        try:
            self.layout = read_header(lines, self.form, self.report)
        except MoreLinesError:
            self.rest = body
            return b""
        self.number = lines.number + len(lines.taken)
        place = 0
        for _ in range(self.number - 1):
            place = body.find(b"\n", place) + 1 or len(body)
        return body[place:]

    def _carefully(self, body: bytes, layout: Layout, is_end: bool) -> Iterator[Record]:
        """The records by the careful reader; one that may continue in the next block is left to that block."""
        lines = self._lines(body, is_end)
        try:
            yield from read_lines(lines, layout, self.report)
        except MoreLinesError:
            self.rest = _last_lines(body, len(lines.taken))
        self.number = lines.number

    def _lines(self, body: bytes, is_end: bool) -> Lines:
        return Lines(io.StringIO(body.decode(self.encoding, MARK_BYTES), newline="\n"), self.number, is_end)


def _last_lines(body: bytes, count: int) -> bytes:
    """The last lines of some bytes."""
    place = len(body)
    for _ in range(count):
        place = body.rfind(b"\n", 0, place - 1) + 1
    return body[place:]


def _of_blocks(encoding: str) -> str | None:
    """The encoding of a block after the header; None where a file cannot be cut at its line feeds' bytes."""
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        return "utf-8"
    return name if name == "ascii" or name.startswith(ONE_BYTE_ENCODINGS) else None


def _blocks(stream: io.BufferedReader | io.BytesIO) -> Iterator[bytes]:
    """Runs of complete lines of about BLOCK_BYTES, or of one longer line; the last may lack its line end.

    Where the stream ends in an error, the complete lines before it come first, as line by line.
    """
    pieces: list[bytes] = []
    size, piece_bytes = 0, BLOCK_BYTES if isinstance(stream, io.BytesIO) else PIECE_BYTES
    try:
        while piece := stream.read1(piece_bytes):
            size += len(piece)
            cut = piece.rfind(b"\n") + 1 if size >= BLOCK_BYTES else 0
            if cut:
                yield b"".join([*pieces, piece[:cut]])
                pieces, size = [piece[cut:]], len(piece) - cut
            else:
                pieces.append(piece)
    except GZIP_ERRORS:
        remainder = b"".join(pieces)
        if complete := remainder[: remainder.rfind(b"\n") + 1]:
            yield complete
        raise
    if remainder := b"".join(pieces):
        yield remainder


def _split_columnwise(block: bytes, encoding: str, layout: Layout, first_row: int) -> pa.RecordBatch | None:
    """All records of a sound block, without a Python object for any of them; None where the block is not sound."""
    delimiter = layout.dialect.delimiter
    text = _as_utf8(block, encoding) if len(block) <= CHARACTERS_PER_BATCH and delimiter.isascii() else None
    if text is None or any(sign in text for sign in NOT_SOUND):
        return None
    if not text.endswith(b"\n"):
        text += b"\n"
    returns = text.count(b"\r")
    if returns != text.count(b"\r\n") or any(_has_line(text, header) for header in layout.header_bytes):
        return None
    characters = np.frombuffer(text, np.uint8)
    if characters.max(initial=0) >= MAY_DECOMPOSE and not unicodedata.is_normalized("NFC", text.decode()):
        return None
    is_line_end = characters == LINE_FEED
    field_ends = np.flatnonzero(is_line_end | (characters == ord(delimiter)))
    if len(field_ends) % layout.width or not _lines_are_as_wide(is_line_end[field_ends].reshape(-1, layout.width)):
        return None
    line_ends = field_ends[layout.width - 1 :: layout.width]
    rows, places = len(line_ends), layout.places
    after_returns = characters[line_ends - 1] == CARRIAGE_RETURN if returns else np.zeros(rows, bool)
    raw_lengths = np.diff(line_ends, prepend=-1) - 1 - after_returns
    if (raw_lengths == layout.width - 1).any():  # separators alone: no record
        return None
    lengths = np.diff(field_ends, prepend=-1) - 1
    lengths[layout.width - 1 :: layout.width] -= after_returns
    values = _strings(text.translate(None, f"\r\n{delimiter}".encode()), lengths)
    if places != list(range(layout.width)):
        in_order = np.arange(rows)[:, None] * layout.width + np.array(places, np.int64)
        values = values.take(pa.array(in_order.ravel()))
    return pa.record_batch(
        [
            pa.array(np.arange(first_row, first_row + rows)),
            _strings(text.translate(None, b"\r\n"), raw_lengths),
            pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * np.int32(len(places)), values),
            pa.nulls(rows, pa.string()),
        ],
        schema=SCHEMA,
    )


def _has_line(text: bytes, line: bytes) -> bool:
    """Whether one of the lines of a text is this one."""
    place = text.find(line)
    while place >= 0:
        end = place + len(line)
        if (place == 0 or text[place - 1] == LINE_FEED) and text[end : end + 2].removeprefix(b"\r")[:1] == b"\n":
            return True
        place = text.find(line, end)
    return False


def _as_utf8(block: bytes, encoding: str) -> bytes | None:
    """The block in UTF-8; None where it is not text in its encoding."""
    if block.isascii():
        return block
    try:
        text = block.decode(encoding)
    except UnicodeDecodeError:
        return None
    return block if encoding == "utf-8" else text.encode()


def _lines_are_as_wide(is_line_end: npt.NDArray[np.bool_]) -> bool:
    """Whether in each row of the separators and line ends [lines, width] only the last one is a line end."""
    return bool(is_line_end[:, -1].all()) and not is_line_end[:, :-1].any()


def _strings(joined: bytes, lengths: Integers) -> pa.StringArray:
    """Texts of these lengths in bytes, which follow each other in `joined`."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(joined))


def as_batches(records: Iterable[Record]) -> Iterator[pa.RecordBatch]:
    """The records of the careful reader, as batches of ROWS_PER_BATCH or fewer long records."""
    held: list[Record] = []
    characters = 0
    for record in records:
        held.append(record)
        characters += len(record.raw)
        if len(held) == ROWS_PER_BATCH or characters >= CHARACTERS_PER_BATCH:
            yield _batch(held)
            held, characters = [], 0
    if held:
        yield _batch(held)


def _batch(records: Sequence[Record]) -> pa.RecordBatch:
    return pa.record_batch(
        [
            pa.array([record.row for record in records], pa.int64()),
            pa.array([record.raw for record in records], pa.string()),
            pa.array([record.fields for record in records], pa.list_(pa.string())),
            pa.array([record.problem for record in records], pa.string()),
        ],
        schema=SCHEMA,
    )
