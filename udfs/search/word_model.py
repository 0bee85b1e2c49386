"""Likelihood of a word by its letters: what an unknown word that is no error looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import log

EDGE = "^"
SMOOTHING = 0.5
LETTERS = 30


class WordModel:
    """Letters by the two before them, from the words of a shop; each word counts the logarithm of its texts."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts`: texts of each word."""
        self.three: Counter[str] = Counter()
        self.two: Counter[str] = Counter()
        for word in counts:
            if word.isalpha():
                framed = EDGE * 2 + word + EDGE
                self.three.update(framed[at : at + 3] for at in range(len(framed) - 2))
        for triple, count in self.three.items():
            self.two[triple[:2]] += count
        self.pair: Counter[str] = Counter()
        for triple, count in self.three.items():
            self.pair[triple[1:]] += count
        self.one: Counter[str] = Counter()
        for pair, count in self.pair.items():
            self.one[pair[0]] += count

    def likelihood(self, word: str) -> float:
        """Its logarithm: of all words that could be, this one."""
        framed = EDGE * 2 + word + EDGE
        total = 0.0
        for at in range(len(framed) - 2):
            triple = framed[at : at + 3]
            pair = (self.pair[triple[1:]] + SMOOTHING) / (self.one[triple[1]] + SMOOTHING * LETTERS)
            total += log((self.three[triple] + LETTERS * pair) / (self.two[triple[:2]] + LETTERS))
        return total
