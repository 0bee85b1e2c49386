"""Patterns of raw files' paths, `sales/*.csv`: `*`, `?`, `[abc]`, `{a,b}`, and a backslash before a sign meant itself.

Hadoop's own matching cannot list a folder in which a name has a colon.
"""

from __future__ import annotations

import re
from functools import cache

HIDDEN = (".", "_")  # how the names begin that Hadoop and Spark leave alone, and the files that Macs and copies leave
SIGNS = frozenset("*?[{\\")


def alternatives(pattern: str) -> list[str]:
    """The pattern without braces: one for each choice among those of `{a,b}`."""
    depth, start = 0, 0
    for place, sign in enumerate(pattern):
        if sign not in "{}" or pattern[:place].endswith("\\"):
            continue
        depth += 1 if sign == "{" else -1
        if depth == 1 and sign == "{":
            start = place
        if depth == 0 and sign == "}":
            choices = _split_at_commas(pattern[start + 1 : place])
            return [one for choice in choices for one in alternatives(pattern[:start] + choice + pattern[place + 1 :])]
    return [pattern]


def _split_at_commas(text: str) -> list[str]:
    """The choices between two braces; commas within inner ones do not divide."""
    depth, parts = 0, [""]
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


@cache
def compiled(component: str, ignore_case: bool = False) -> re.Pattern[str]:
    """One part of a path between slashes, as a regular expression for the whole name."""
    found, rest = "", component
    while rest:
        sign, rest = rest[0], rest[1:]
        if sign == "\\" and rest:
            found, rest = found + re.escape(rest[0]), rest[1:]
        elif sign == "[" and "]" in rest[1:]:
            inner, _, rest = rest.partition("]")
            negated = inner.startswith(("^", "!"))
            inner = inner[negated:].replace("\\", "\\\\").replace("[", "\\[")
            found += f"[{'^' * negated}{inner}]"
        else:
            found += {"*": ".*", "?": "."}.get(sign, re.escape(sign))
    return re.compile(found, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def is_literal(component: str) -> bool:
    """Whether a part of a path is a name and no pattern."""
    return not SIGNS & set(component)


def is_hidden(name: str) -> bool:
    """Whether a name is one that is left alone: `._sales.csv`, `_SUCCESS`, a copy under way."""
    return name.startswith(HIDDEN) or name.endswith("._COPYING_")


def resembles(component: str, name: str) -> bool:
    """Whether a name would fit the pattern in other letters, or without its last suffix: `A.CSV`, `a.csv.txt`."""
    pattern = compiled(component, ignore_case=True)
    return any(pattern.fullmatch(each) for each in (name, name.rpartition(".")[0]))
