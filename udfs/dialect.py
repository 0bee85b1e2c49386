"""How the fields of a record are quoted: RFC 4180, with an escape sign if the deployment has one."""

from __future__ import annotations

import csv
import re

csv.field_size_limit(2**31 - 1)
UNCLOSED = "a quote is not closed"
NOT_DOUBLED = "text after a closing quote: a quote within quotes is written twice"


class Dialect:
    """A delimiter and, within quotes, an escape sign before a quote or itself ("" for none)."""

    def __init__(self, delimiter: str, escape: str = "") -> None:
        self.delimiter = delimiter
        self.escape = escape
        sign = re.escape(escape)
        pair = f'""|{sign}.' if escape else '""'
        plain = f'[^"{sign}]*+'
        self._inside = re.compile(f"{plain}(?:(?:{pair}){plain})*+", re.DOTALL)
        self._escaped = re.compile(f'""|{sign}(["{sign}])' if escape else '""()')
        self._texts: list[str] = []  # one record at a time, for csv to take
        self._reader = csv.reader(iter(self._texts.pop, None), delimiter=delimiter, strict=True)

    def split(self, text: str) -> list[str] | str:
        """The fields of a record; UNCLOSED where one in quotes goes on, NOT_DOUBLED where a quote ends too early.

        White space around a closing quote is ignored. A quote that does not begin a field is an ordinary character.
        """
        if '"' not in text:
            return text.split(self.delimiter)
        if "\r" in text or "\n" in text or "\0" in text or (self.escape and self.escape in text):
            return self._split_quoted(text)  # csv would end the record at a line end outside quotes
        self._texts.append(text)
        try:
            return next(self._reader)
        except (csv.Error, IndexError):  # text after a closing quote, or none closes: csv asks for another line
            return self._split_quoted(text)

    def _split_quoted(self, text: str) -> list[str] | str:
        fields, start = [], 0
        while True:
            if text.startswith('"', start):
                match = self._inside.match(text, start + 1)
                assert match is not None  # it matches the empty text too
                end = match.end()
                if not text.startswith('"', end):
                    return UNCLOSED
                cut = text.find(self.delimiter, end + 1)
                if text[end + 1 : cut if cut >= 0 else len(text)].strip():
                    return NOT_DOUBLED
                fields.append(self._escaped.sub(lambda pair: pair[1] or '"', match[0]))
            else:
                cut = text.find(self.delimiter, start)
                fields.append(text[start:] if cut < 0 else text[start:cut])
            if cut < 0:
                return fields
            start = cut + 1

    def closes(self, line: str) -> bool:
        """Whether a field in quotes that a line before has opened ends on this one."""
        match = self._inside.match(line)
        return match is not None and line.startswith('"', match.end())
