"""A raw file of a tiny shop into its records, in plain Python: what is documented, and nothing of what it judges."""

from __future__ import annotations

import codecs
import datetime as dt
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

EVENT_COLUMNS = ("line_id", "customer", "sku", "units", "amount", "till", "at")
ITEM_COLUMNS = ("sku", "name", "kind")
NOT_TEXT = "unreadable: bytes that are not text in the deployment's encoding"
AFTER_QUOTE: list[str] = ["text after a closing quote"]  # itself, not its equal
# Nothing to see: Unicode's property White_Space, the zero-width space and the byte order mark.
BLANK = {*map(chr, (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F))}
BLANK |= {"\u3000", "\u200b", "\ufeff"}


@dataclass
class Record:
    """One record after the header: where it stood, its bytes, and what becomes of it (`reasons` empty: kept)."""

    file: str
    row: int
    day: dt.date
    content: bytes
    raw: str
    reasons: list[str]
    fields: dict[str, str | None] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        return bool(self.fields)


def plain_encoding(content: bytes, encoding: str) -> tuple[str, bytes]:
    """An encoding that writes no byte order mark, and the content without one."""
    if encoding == "utf-16":
        big = content.startswith(codecs.BOM_UTF16_BE)
        return ("utf-16-be" if big else "utf-16-le"), content[2:]
    return encoding, content.removeprefix(codecs.BOM_UTF8) if encoding == "utf-8" else content


def lines(content: bytes, encoding: str) -> list[bytes]:
    """The lines of a file, each with its end: a line feed, with or without one carriage return before it."""
    feed = "\n".encode(encoding)
    step, start, found = len(feed), 0, []
    if step == 1:
        found = [line + feed for line in content.split(feed)]
        found[-1] = found[-1].removesuffix(feed)
    else:
        for place in range(0, len(content), step):
            if content[place : place + step] == feed:
                found.append(content[start : place + step])
                start = place + step
        found.append(content[start:])
    return found if found[-1] else found[:-1]


def without_end(line: bytes, encoding: str) -> bytes:
    return line.removesuffix("\n".encode(encoding)).removesuffix("\r".encode(encoding))


def lines_of_record(found: list[bytes], place: int, delimiter: str, encoding: str) -> int:
    """How many lines the record that begins at a place takes: one where its quotes are not closed as they must be."""
    size, count = 0, 0
    while place + count < len(found) and count < 1_000 and (not count or size < 1_000_000):
        line = found[place + count]
        count, size = count + 1, size + len(line) // len("a".encode(encoding))
        if count > 1 and '"'.encode(encoding) not in line:
            continue
        text = shown(without_end(b"".join(found[place : place + count]), encoding), encoding)[0]
        values = fields(text.lstrip("\ufeff"), delimiter)
        if values is not None:
            return count if values is not AFTER_QUOTE else 1
    return 1


def shown(line: bytes, encoding: str) -> tuple[str, bool]:
    """The text of a line, and whether it is text at all; if not, its bad bytes are \\xNN and a backslash is two."""
    try:
        return line.decode(encoding), True
    except UnicodeDecodeError:
        pass
    parts, place, step = [], 0, len("a".encode(encoding))
    while place < len(line):
        for size in (1, 2, 3, 4):
            try:
                character = line[place : place + size].decode(encoding)
            except UnicodeDecodeError:
                continue
            if len(character) == 1:
                parts.append("\\\\" if character == "\\" else character)
                break
        else:
            size = step
            parts += [f"\\x{byte:02x}" for byte in line[place : place + size]]
        place += size
    return "".join(parts), False


def bytes_of(record: Record, raw: str, encoding: str) -> bytes:
    """The bytes of a record, from its stored text alone."""
    if record.reasons[:1] != [NOT_TEXT]:
        return raw.encode(encoding)
    tokens = re.findall(r"\\\\|\\x[0-9a-f]{2}|[^\\]", raw, re.DOTALL)
    assert "".join(tokens) == raw, raw
    return b"".join(
        bytes([int(token[2:], 16)]) if token.startswith("\\x") else token[-1].encode(encoding) for token in tokens
    )


def fields(text: str, delimiter: str) -> list[str] | None:
    """RFC 4180; None where a quote is never closed, AFTER_QUOTE where more than white space follows a closing one."""
    found, value, quoted, closed, place = [], [], False, False, 0
    fresh = True  # at the start of a field, where alone a quote opens one
    while place < len(text):
        character = text[place]
        if quoted and character == '"':
            if text[place + 1 : place + 2] == '"':
                value.append('"')
                place += 1
            else:
                quoted, closed = False, True
        elif quoted:
            value.append(character)
        elif character == delimiter:
            found.append("".join(value))
            value, fresh, closed = [], True, False
            place += 1
            continue
        elif closed:
            if not character.isspace():
                return AFTER_QUOTE
        elif character == '"' and fresh:
            quoted = True
        else:
            value.append(character)
        fresh = False
        place += 1
    return None if quoted else [*found, "".join(value)]


def trimmed(value: str) -> str | None:
    """Without what shows as nothing at either end; None where nothing is left."""
    start, end = 0, len(value)
    while start < end and value[start] in BLANK:
        start += 1
    while end > start and value[end - 1] in BLANK:
        end -= 1
    return value[start:end] or None


def records(
    name: str, day: dt.date, content: bytes, columns: tuple[str, ...], delimiter: str, encoding: str
) -> Iterator[Record]:
    """Every record of a file, unreadable ones with their reason; empty lines are none."""
    plain, content = plain_encoding(content, encoding)
    found = lines(content, plain)
    header = shown(without_end(found[0], plain), plain)[0].lstrip("\ufeff")
    place = 1
    while place < len(found):
        count = lines_of_record(found, place, delimiter, plain)
        line = without_end(b"".join(found[place : place + count]), plain)
        raw, sound = shown(line, plain)
        record = Record(name, day=day, row=place + 1, content=line, raw=raw, reasons=[])
        text = raw.lstrip("\ufeff")
        values = fields(text, delimiter)
        place += count
        if not sound:
            record.reasons = [NOT_TEXT]
        elif "\0" in raw:
            record.reasons = ["unreadable: NUL characters"]
        elif text == header:
            record.reasons = ["unreadable: the header again"]
        elif values is None:
            record.reasons = ["unreadable: a quote is not closed"]
        elif values is AFTER_QUOTE:
            record.reasons = ["unreadable: text after a closing quote: a quote within quotes is written twice"]
        elif not any(values) or (len(values) != len(columns) and not text.strip()):
            continue
        elif len(values) != len(columns):
            record.reasons = [f"unreadable: {len(values)} fields, the header has {len(columns)}"]
        else:
            texts = (unicodedata.normalize("NFC", value) for value in values)
            record.fields = {column: trimmed(value) for column, value in zip(columns, texts, strict=True)}
        yield record
