"""Clauses of a review: what the encoder reads as one text, and what carries one sentiment."""

from __future__ import annotations

import re

MOST_WORDS = 40  # of a clause: a text without a full stop is cut here
MOST_CLAUSES = 200  # of a review, its title among them
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\s*\n+\s*")
# A sentence that turns: "lovely fabric, but it runs small" says two things.
_TURN = re.compile(r"\s*;\s+|,?\s+(?=(?:but|although|though|however|yet|except|unfortunately)\b)", re.IGNORECASE)
_WORD = re.compile(r"\S+")


def clauses(title: str | None, text: str | None) -> list[str]:
    """The clauses of a review in order, its title first; each of at most MOST_WORDS words, MOST_CLAUSES at most."""
    found: list[str] = []
    for part in (title, text):
        for sentence in _END.split(part or ""):
            for clause in _TURN.split(sentence):
                words = _WORD.findall(clause)
                found += [" ".join(words[at : at + MOST_WORDS]) for at in range(0, len(words), MOST_WORDS)]
    return found[:MOST_CLAUSES]
