"""Cost of typing one word where another was meant: minus the logarithm of how likely that is."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

MOST_EDITS = 2
# Costs of one error. That a finger slips to a neighbouring key or that two letters change their order is likelier than
# another letter altogether (Kernighan, Church and Gale, 1990, table 2; Damerau, 1964).
OTHER, NEIGHBOUR, VOWEL, MISSING, ADDED, DOUBLED, TURNED = 6.5, 4.5, 4.5, 5.0, 5.5, 3.5, 4.0
AT_FIRST = 1.5  # more for an error in the first letter: there people err least
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiouy")


def neighbours() -> frozenset[tuple[str, str]]:
    """Pairs of letters whose keys touch on a QWERTY keyboard."""
    beside = {pair for row in _ROWS for pair in pairwise(row)}
    rows = pairwise(_ROWS)
    below = {(a, b) for row, under in rows for at, a in enumerate(row) for b in under[max(at - 1, 0) : at + 1]}
    return frozenset(beside | below | {(b, a) for a, b in beside | below})


_KEYS = neighbours()


@lru_cache(maxsize=100_000)
def cost(typed: str, meant: str) -> float:
    """The least cost of a sequence of errors that turns `meant` into `typed` (weighted Damerau-Levenshtein)."""
    before: list[float] = []
    row = [0.0]
    for at in range(len(typed)):
        row.append(row[-1] + _added(typed, at))
    for line, letter in enumerate(meant):
        last, before, row = before, row, [row[0] + _missing(meant, line)]
        for at, sign in enumerate(typed):
            best = before[at] + (0.0 if sign == letter else _other(sign, letter) + AT_FIRST * (line == 0 or at == 0))
            best = min(best, before[at + 1] + _missing(meant, line), row[at] + _added(typed, at))
            if line and at and sign == meant[line - 1] and typed[at - 1] == letter and sign != letter:
                best = min(best, last[at - 1] + TURNED + AT_FIRST * (at == 1))
            row.append(best)
    return row[-1]


def _other(typed: str, meant: str) -> float:
    if (typed, meant) in _KEYS:
        return NEIGHBOUR
    return VOWEL if typed in _VOWELS and meant in _VOWELS else OTHER


def _missing(meant: str, at: int) -> float:
    """A letter left out: of a double one oftener."""
    doubled = (at and meant[at - 1] == meant[at]) or meant[at + 1 : at + 2] == meant[at]
    return DOUBLED if doubled else MISSING + AT_FIRST * (at == 0)


def _added(typed: str, at: int) -> float:
    """A letter too many: the one before once more, or a neighbour on the keyboard, oftener."""
    if at and typed[at - 1] == typed[at]:
        return DOUBLED
    near = at and (typed[at - 1], typed[at]) in _KEYS
    return (ADDED if not near else NEIGHBOUR) + AT_FIRST * (at == 0)
