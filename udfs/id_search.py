"""Search for ids in bytes and in columns of text.

An id of LONG bytes or more is found wherever it is; a shorter one only as a value of its own, for "17" is in any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LONG = 8  # bytes
CHUNK = 32_000_000  # bytes that are searched at once
WORD = re.compile(rb"[0-9A-Za-z]")

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ids:
    """Ids to search for."""

    ids: frozenset[str]
    long: dict[int, list[bytes]] = field(init=False, default_factory=dict)  # by their first eight bytes

    def __post_init__(self) -> None:
        for each in self.ids:
            if len(encoded := each.encode()) >= LONG:
                self.long.setdefault(int(np.frombuffer(encoded[:LONG], "<u8")[0]), []).append(encoded)

    @cached_property
    def short(self) -> frozenset[str]:
        """The ids of fewer bytes than LONG."""
        return frozenset(each for each in self.ids if len(each.encode()) < LONG)

    @cached_property
    def _firsts(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
        """The first eight bytes of each long id, sorted, and which first two bytes there are."""
        firsts = np.array(sorted(self.long), np.uint64)
        begins = np.zeros(65_536, bool)
        begins[(firsts & np.uint64(0xFFFF)).astype(np.int64)] = True
        return firsts, begins

    def in_bytes(self, content: bytes | memoryview, ends: Places | None = None) -> Iterator[tuple[str, bool]]:
        """(id, whether it is a word of its own) of each occurrence of a long id.

        A word of its own has no letter or digit next to it, of the same cell where the cells' `ends` (with 0) are
        given.
        """
        if not self.long:
            return
        longest = max(len(each) for ids in self.long.values() for each in ids)
        view = memoryview(content)
        for start in range(0, len(view), CHUNK):
            part = bytes(view[start : start + CHUNK + longest])
            for place in self._candidates(part):
                if place >= CHUNK:
                    continue  # in the next chunk
                for each in self.long[int.from_bytes(part[place : place + LONG], "little")]:
                    if part.startswith(each, place):
                        yield each.decode(), _is_word(view, start + place, start + place + len(each), ends)

    def _candidates(self, part: bytes) -> list[int]:
        """Where eight bytes are the first of a long id."""
        firsts, begins = self._firsts
        found: list[int] = []
        for offset in range(LONG):
            count = (len(part) - offset) // LONG
            if count <= 0:
                continue
            words = np.frombuffer(part, "<u8", count, offset)
            near = np.flatnonzero(begins[(words & np.uint64(0xFFFF)).astype(np.int64)])
            places = near[np.isin(words[near], firsts)]
            found += (places * LONG + offset).tolist()
        return sorted(found)

    def in_cells(self, cells: pa.Array | pa.ChunkedArray) -> set[str]:
        """The ids that are a cell's complete text."""
        distinct = pc.unique(cells)
        return set(distinct.filter(pc.is_in(distinct, pa.array(sorted(self.ids), distinct.type))).to_pylist())

    def words_of_cells(self, cells: pa.Array) -> set[str]:
        """The long ids that are a word of some cell's text."""
        large = pc.cast(pc.drop_null(cells), pa.large_string())
        if not len(large) or not self.long:
            return set()
        _, offsets, values = large.buffers()
        ends = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
        content = memoryview(values if values is not None else b"")[: int(ends[-1])]
        return {each for each, is_word in self.in_bytes(content, ends) if is_word}

    def short_words(self, text: str) -> set[str]:
        """The short ids between delimiters in a text."""
        return set(self.short) & set(re.split(r"[\s,;:|\"'<>()=\[\]{}]+", text)) if self.short else set()

    def in_text(self, text: str) -> set[str]:
        """The ids that are words of a text."""
        return {each for each, is_word in self.in_bytes(text.encode()) if is_word} | self.short_words(text)


def _is_word(content: memoryview, start: int, end: int, ends: Places | None) -> bool:
    before, after = bytes(content[max(start - 1, 0) : start]), bytes(content[end : end + 1])
    if ends is not None:
        cell = int(np.searchsorted(ends, start, "right")) - 1
        before = before if start > ends[cell] else b""
        after = after if end < ends[cell + 1] else b""
    return not WORD.fullmatch(before) and not WORD.fullmatch(after)


def numbered(ids: Iterable[str], of: dict[str, int]) -> str:
    """Ids by their lines in the file that they were given in: a report may be kept, and must not name them."""
    lines = sorted(of[each] for each in ids)
    return ", ".join(map(str, lines[:5])) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
