"""Format of a raw file: plain or gzip, its encoding and its line ends; an error if its bytes are no text.

A byte order mark, or the NULs of UTF-16 without one, take precedence over the encoding that the deployment declares.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from typing import Any

GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 8_192  # of a gzip file at a time: of a damaged one, a piece with an error in it is lost
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a spreadsheet (.xls)",
    b"%PDF-": "a PDF",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\x1f\x9d": "compressed by compress (.Z)",
    b"\x00\x05\x16\x07": "what a Mac keeps beside a file",
    **{b"BZh%d1AY&SY" % level: "compressed by bzip2" for level in range(1, 10)},
}
# A carriage return that ends a line by itself, before any line feed; text in quotes is left out first.
QUOTED = re.compile(r'"[^"]*(?:"|\Z)')
RETURNS_ALONE = re.compile(r"[^\r\n]*\r(?!\r*(?:\n|\Z))")


class NotTextError(Exception):
    """The bytes are no delimited text; the message says what they are and what to do."""


class _Hashed(io.RawIOBase):
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        piece = self.stream.read1(len(view))
        self.digest.update(piece)
        view[: len(piece)] = piece
        return len(piece)


@dataclass(frozen=True)
class RawText:
    """A raw file that is text: its bytes without compression, its encoding, and what ends a line (`newline` of open).

    "\\n", or "" where lines end in carriage returns alone: then each of the three ends one.
    """

    stream: io.BufferedReader | io.BytesIO
    encoding: str
    newline: str
    hashed: _Hashed | None = None

    def content_sha256(self) -> str | None:
        """Hash of the uncompressed content of a gzip file that has been read to its end; None for a plain file."""
        return self.hashed.digest.hexdigest() if self.hashed else None


def opened(content: bytes, name: str, encoding: str) -> RawText:
    """A raw file's text. NotTextError where it is none, one of GZIP_ERRORS where its first bytes are damaged."""
    hashed, head = None, content[:PIECE_BYTES]
    stream: io.BufferedReader | io.BytesIO = io.BytesIO(content)
    if is_gzip(content, name):
        hashed = _Hashed(gzip.GzipFile(fileobj=io.BytesIO(content)))
        stream = io.BufferedReader(hashed, PIECE_BYTES)
        head = stream.peek(PIECE_BYTES)
    for signature, what in NOT_TEXT.items():
        if head.startswith(signature):
            raise NotTextError(f"{what}, not delimited text: export it as CSV, plain or compressed by gzip")
    encoding = _encoding_of(head, encoding)
    text = QUOTED.sub("", head.decode(encoding, "replace"))
    newline = "" if RETURNS_ALONE.match(text) else "\n"
    return RawText(stream, encoding, newline, hashed)


def _encoding_of(head: bytes, declared: str) -> str:
    """The encoding that a file's first bytes show; the declared one where they show none."""
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    sample = head[:16]  # the first letters of a header, which have such NULs in most languages of the West
    first, second = set(sample[::2]), set(sample[1::2])
    if len(sample) >= 4 and {0} in (first, second) and first != second:
        return "utf-16-be" if first == {0} else "utf-16-le"
    return declared


def is_gzip(content: bytes, name: str) -> bool:
    """Whether a file is compressed: by its name, so that a damaged one is reported as such, or by its first bytes."""
    return name.endswith(".gz") or content.startswith(GZIP_MAGIC)


def content_sha256(content: bytes, name: str) -> str:
    """Hash of a file's uncompressed content; of its bytes, where the compression is damaged."""
    if is_gzip(content, name):
        with contextlib.suppress(*GZIP_ERRORS), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()
