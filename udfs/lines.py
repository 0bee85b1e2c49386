"""Lines of a raw file, several of which may be one record."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


def without_line_end(line: str) -> str:
    """A line without its line feed, and a carriage return before that."""
    return line.removesuffix("\n").removesuffix("\r")


class MoreLinesError(Exception):
    """The lines at hand end within a record, and the file goes on."""


class Lines:
    """The lines of a file, or of a part of it that begins with line `number`; a record takes one or several.

    Where the part is not the file's end, asking for a line that is not there raises MoreLinesError; `taken` then has
    the lines of the record that is not complete.
    """

    def __init__(self, source: Iterable[str], number: int = 1, is_end: bool = True) -> None:
        self.number = number  # of the first line of `taken`
        self.taken: list[str] = []
        self._source = iter(source)
        self._ahead: deque[str] = deque()
        self._is_end = is_end

    def start(self) -> str | None:
        """The first line of the next record; None at the file's end."""
        self.number += len(self.taken)
        self.taken = []
        return self.more()

    def more(self) -> str | None:
        """One more line of this record; None at the file's end."""
        line = self._ahead.popleft() if self._ahead else next(self._source, None)
        if line is not None:
            self.taken.append(line)
        elif not self._is_end:
            raise MoreLinesError
        return line

    def keep(self, count: int) -> None:
        """Leave all but the record's first lines to the next ones."""
        self._ahead.extendleft(reversed(self.taken[count:]))
        del self.taken[count:]

    def text(self) -> str:
        """The lines taken, without the last one's end."""
        return without_line_end("".join(self.taken))
