"""Patterns of raw files' paths, `sales/*.csv`: `*`, `?`, `[abc]`, `{a,b}`; a backslash escapes a sign.

Hadoop's own matching cannot list a folder in which a name has a colon.
"""

from __future__ import annotations

import re
from functools import cache

HIDDEN = (".", "_")  # prefixes of names that Hadoop and Spark ignore; of files that Macs and copies leave
SIGNS = frozenset("*?[{\\")


def alternatives(pattern: str) -> list[str]:
    """The patterns without braces that are equivalent to a pattern: one for each choice of `{a,b}`."""
    depth, start = 0, 0
    for place, sign in enumerate(pattern):
        if sign not in "{}" or pattern[:place].endswith("\\"):
            continue
        depth += 1 if sign == "{" else -1
        if depth == 1 and sign == "{":
            start = place
        if depth == 0 and sign == "}":
            choices = _split_at_commas(pattern[start + 1 : place])
            return [
                result for choice in choices for result in alternatives(pattern[:start] + choice + pattern[place + 1 :])
            ]
    return [pattern]


def _split_at_commas(text: str) -> list[str]:
    """The choices within braces; commas within inner braces do not separate."""
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
    """Regular expression for a complete name from one component of a pattern (between slashes)."""
    expression, remaining = "", component
    while remaining:
        sign, remaining = remaining[0], remaining[1:]
        if sign == "\\" and remaining:
            expression, remaining = expression + re.escape(remaining[0]), remaining[1:]
        elif sign == "[" and "]" in remaining[1:]:
            inner, _, remaining = remaining.partition("]")
            negated = inner.startswith(("^", "!"))
            inner = inner[negated:].replace("\\", "\\\\").replace("[", "\\[")
            expression += f"[{'^' * negated}{inner}]"
        else:
            expression += {"*": ".*", "?": "."}.get(sign, re.escape(sign))
    return re.compile(expression, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def is_literal(component: str) -> bool:
    """Whether a component is a name, not a pattern."""
    return not SIGNS & set(component)


def is_hidden(name: str) -> bool:
    """Whether a name is ignored: `._sales.csv`, `_SUCCESS`, a copy in progress."""
    return name.startswith(HIDDEN) or name.endswith("._COPYING_")


def resembles(component: str, name: str) -> bool:
    """Whether a name matches in another case or without its last suffix: `A.CSV`, `a.csv.txt`."""
    pattern = compiled(component, ignore_case=True)
    return any(pattern.fullmatch(each) for each in (name, name.rpartition(".")[0]))
