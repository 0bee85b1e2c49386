"""Records of a raw file as Arrow batches: sound blocks split columnwise, all others by the careful reader.

A block is a run of complete lines. It is sound when it is text in its encoding, has no quote, NUL, byte order mark or
lone carriage return, and each of its lines has as many separators as the header. Its rows are those of
records.read_records, which reads every other block: no type and no null is inferred.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records import (
    GZIP_ERRORS,
    MARK_BYTES,
    FileReport,
    Layout,
    Record,
    damaged_gzip,
    opened,
    read_header,
    read_lines,
    read_records,
)

SCHEMA = pa.schema(
    [("source_row", pa.int64()), ("raw", pa.string()), ("fields", pa.list_(pa.string())), ("problem", pa.string())]
)
ROWS_PER_BATCH = 20_000
CHARACTERS_PER_BATCH = 16_000_000  # an Arrow column holds 2 GB of text, and a damaged record may be a megabyte
BLOCK_BYTES = 1_000_000  # from half to twice as many are as fast, more are slower
# Bytes of a gzip file at a time, as io.TextIOWrapper reads it: of a damaged file, a piece with an error in it is lost.
GZIP_BYTES = 8_192
ONE_BYTE_ENCODINGS = ("iso8859-", "cp125", "koi8-")  # each byte is a character by itself, the first 128 are ASCII
LINE_FEED, CARRIAGE_RETURN = 10, 13
NOT_SOUND = (b'"', b"\0", "\ufeff".encode())

Integers = npt.NDArray[np.int64]


def read_batches(
    content: bytes, name: str, columns: Sequence[str], delimiter: str, encoding: str, report: FileReport
) -> Iterator[pa.RecordBatch]:
    """The records of one delimited file as batches of SCHEMA: those of read_records, whose arguments these are.

    A batch has ROWS_PER_BATCH records or fewer long ones; in memory are the file's bytes and a few blocks.
    """
    block_encoding = _of_blocks(encoding)
    if block_encoding is None or not delimiter.isascii() or delimiter in '"\0\r\n':
        yield from as_batches(read_records(content, name, columns, delimiter, encoding, report))
        return
    layout: Layout | None = None
    try:
        for block in _blocks(opened(content, name)):
            body = block
            if layout is None:
                header, line_end, body = block.partition(b"\n")
                layout = read_header((header + line_end).decode(encoding, MARK_BYTES), columns, delimiter, report)
                if layout is None:
                    return
            if body:
                yield from _batches_of(body, delimiter, block_encoding, layout, report)
    except GZIP_ERRORS as error:
        report.problem = damaged_gzip(report, error)


def _of_blocks(encoding: str) -> str | None:
    """The encoding of a block after the header; None where a file cannot be cut at its line feeds' bytes."""
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        return "utf-8"
    return name if name == "ascii" or name.startswith(ONE_BYTE_ENCODINGS) else None


def _blocks(stream: gzip.GzipFile | io.BytesIO) -> Iterator[bytes]:
    """Runs of complete lines of about BLOCK_BYTES, or of one longer line; the last may lack its line end.

    Where the stream ends in an error, the complete lines before it come first, as line by line.
    """
    pieces: list[bytes] = []
    size, piece_bytes = 0, GZIP_BYTES if isinstance(stream, gzip.GzipFile) else BLOCK_BYTES
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
        rest = b"".join(pieces)
        if complete := rest[: rest.rfind(b"\n") + 1]:
            yield complete
        raise
    if rest := b"".join(pieces):
        yield rest


def _batches_of(
    block: bytes, delimiter: str, encoding: str, layout: Layout, report: FileReport
) -> Iterator[pa.RecordBatch]:
    """The records of one block, the next ones of the file; counts them in `report`."""
    first_row = report.record_count + 2
    split = _split_columnwise(block, delimiter, encoding, layout, first_row)
    if split is None:
        lines = io.TextIOWrapper(io.BytesIO(block), encoding=encoding, errors=MARK_BYTES, newline="\n")
        yield from as_batches(read_lines(lines, first_row, delimiter, layout, report))
        return
    report.record_count += split.num_rows
    for start in range(0, split.num_rows, ROWS_PER_BATCH):
        yield split.slice(start, ROWS_PER_BATCH)


def _split_columnwise(
    block: bytes, delimiter: str, encoding: str, layout: Layout, first_row: int
) -> pa.RecordBatch | None:
    """All records of a sound block, without a Python object for any of them; None where the block is not sound."""
    text = _as_utf8(block, encoding) if len(block) <= CHARACTERS_PER_BATCH else None
    if text is None or any(sign in text for sign in NOT_SOUND):
        return None
    if not text.endswith(b"\n"):
        text += b"\n"
    returns = text.count(b"\r")
    if returns != text.count(b"\r\n"):
        return None
    characters = np.frombuffer(text, np.uint8)
    is_line_end = characters == LINE_FEED
    field_ends = np.flatnonzero(is_line_end | (characters == ord(delimiter)))
    if len(field_ends) % layout.width or not _lines_are_as_wide(is_line_end[field_ends].reshape(-1, layout.width)):
        return None
    line_ends = field_ends[layout.width - 1 :: layout.width]
    rows, places = len(line_ends), layout.places
    after_returns = characters[line_ends - 1] == CARRIAGE_RETURN if returns else np.zeros(rows, bool)
    raw_lengths = np.diff(line_ends, prepend=-1) - 1 - after_returns
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
    """Whether of the separators and line ends [lines, width] the last of each row and no other is a line end."""
    return bool(is_line_end[:, -1].all()) and not is_line_end[:, :-1].any()


def _strings(joined: bytes, lengths: Integers) -> pa.StringArray:
    """Texts of these lengths in bytes, which follow each other in `joined`."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(joined))


def as_batches(records: Iterable[Record]) -> Iterator[pa.RecordBatch]:
    """What the careful reader gives, as batches of ROWS_PER_BATCH or fewer long records."""
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
