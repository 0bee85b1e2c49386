"""Spelling correction of queries: a noisy channel over the words of the catalogue and of the log.

Kernighan, Church and Gale, "A Spelling Correction Program Based on a Noisy Channel Model", 1990: the intended word is
the one that is likely here and likely to be typed like this. Candidates by SymSpell (Garbe, 2012).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from symspellpy import SymSpell, Verbosity  # type: ignore[import-untyped]

from udfs.search.edits import MOST_EDITS, cost
from udfs.search.word_model import WordModel
from udfs.search.words import by_character, is_code, normalised, normalised_text, stems, words

Places = npt.NDArray[np.int32]

SHORTEST = 4  # letters of a word that is corrected; shorter ones are near to too many others
TWO_EDITS = 6  # letters from which two edits are thought of
CANDIDATES = 12
FORMS = ("s", "ed", "ing")  # endings of other forms of a word of the shop
CONTEXT = 0.8  # weight of how often a word is met with the query's other words, against how often anywhere
UNKNOWN = 0.12  # share of unknown words that are no error, but words that the shop does not have
MOST_TEXTS = 400_000  # whose words are remembered by text; of more, the first


@dataclass(frozen=True)
class Correction:
    """The query that was meant, what was done (none, spelling, split, join), and the probability that it is right."""

    query: str
    kind: str
    p: float


class _Choice(NamedTuple):
    """Words instead of `width` words of the query, what was done, and the logarithm of its likelihood."""

    words: tuple[str, ...]
    kind: str
    likelihood: float
    width: int = 1


class Speller:
    """The words of a shop: how many texts have each, which texts, and which words follow each other."""

    def __init__(
        self, counts: Mapping[str, int], texts_of: Mapping[str, Places], pairs: Mapping[tuple[str, str], int]
    ) -> None:
        """`counts`: texts (and users who searched for it) of each word; the rest of the words are unknown."""
        self.counts, self.texts_of, self.pairs = counts, texts_of, pairs
        self.total = sum(counts.values()) or 1
        self.stems = frozenset(stems(list(counts)))
        self.spelt_like = WordModel(counts)
        self.symbols = SymSpell(max_dictionary_edit_distance=MOST_EDITS, prefix_length=7)
        for word, count in counts.items():
            if len(word) >= SHORTEST - 1 and word.isalpha():
                self.symbols.create_dictionary_entry(word, count)

    @classmethod
    def fit(cls, texts: Iterable[str], queries: Mapping[str, int] | None = None, brands: Iterable[str] = ()) -> Speller:
        """Speller of a shop's distinct texts of items, its queries (users who searched each) and its brands' names."""
        counts: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            found = words(normalised_text(text))
            counts.update(set(found))
            pairs.update(set(pairwise(found)))
            if place < MOST_TEXTS:
                for word in set(found):
                    places[word].append(place)
        counts.update(word for brand in brands for word in words(normalised(brand)))
        # A query's words are spelt as people spell: only what several users spelt so, and no rare neighbour of a word.
        counts.update(_trusted(queries or {}, counts))
        return cls(counts, {word: np.asarray(found, np.int32) for word, found in places.items()}, pairs)

    def correct(self, query: str) -> Correction:
        """What was meant by a query. A word of the catalogue, one with a digit and a brand's name stay."""
        text = normalised(query)
        typed = words(text)
        if not typed or by_character(text) or is_code(text):
            return Correction(text, "none", 1.0)
        meant: list[str] = []
        kinds: list[str] = []
        p = 1.0
        at = 0
        while at < len(typed):
            best, share = self._best(typed, at)
            meant += best.words
            kinds += [best.kind] * (best.kind != "none")
            p *= share
            at += best.width
        return Correction(" ".join(meant) if kinds else text, kinds[0] if kinds else "none", p)

    def _best(self, typed: Sequence[str], at: int) -> tuple[_Choice, float]:
        """The likeliest of the words meant by the word at a place, and its share of the likelihood of all."""
        choices = [*self._kept(typed, at), *self._joined(typed, at)]
        if not self._stays(typed[at]):
            others = self._texts_of_others(typed, at)
            choices += [*self._respelt(typed[at], others), *self._split(typed[at])]
        best = max(choices, key=lambda choice: choice.likelihood)
        return best, 1 / sum(exp(max(choice.likelihood - best.likelihood, -50.0)) for choice in choices)

    def _stays(self, word: str) -> bool:
        """Whether it is too short to correct, has a digit, or is a word of the shop or a form of one."""
        if len(word) < SHORTEST or word in self.counts or not word.isalpha():
            return True
        return word.endswith(FORMS) and stems([word])[0] in self.stems

    def _kept(self, typed: Sequence[str], at: int) -> list[_Choice]:
        """The word as it is: of the shop, or one that the shop does not know and that is none the less right."""
        word = typed[at]
        if self._stays(word):
            return [_Choice((word,), "none", log(max(self.counts.get(word, 0), 0.5) / self.total))]
        return [_Choice((word,), "none", log(UNKNOWN) + self.spelt_like.likelihood(word))]

    def _respelt(self, word: str, others: Places | None) -> list[_Choice]:
        """Words of the shop within two edits, likelier the oftener they are met with the query's other words."""
        edits = MOST_EDITS if len(word) >= TWO_EDITS else 1
        found = self.symbols.lookup(word, Verbosity.ALL, max_edit_distance=edits)[: 4 * CANDIDATES]
        choices = []
        for candidate in found:
            share = self.counts[candidate.term] / self.total
            if others is not None and len(others):
                together = np.intersect1d(self.texts_of.get(candidate.term, others[:0]), others, assume_unique=True)
                share = CONTEXT * len(together) / len(others) + (1 - CONTEXT) * share
            choices.append(_Choice((candidate.term,), "spelling", log(share) - cost(word, candidate.term)))
        return sorted(choices, key=lambda choice: -choice.likelihood)[:CANDIDATES]

    def _split(self, word: str) -> list[_Choice]:
        """Two words of the shop that stand side by side in a text, written as one."""
        choices = []
        for cut in range(2, len(word) - 1):
            first, second = word[:cut], word[cut:]
            if together := self.pairs.get((first, second), 0):
                choices.append(_Choice((first, second), "split", log(together / self.total) - SPACE_LEFT_OUT))
        return choices

    def _joined(self, typed: Sequence[str], at: int) -> list[_Choice]:
        """A word and the next one as one word, which the shop has, while it never has the two side by side."""
        if at + 1 == len(typed) or (typed[at], typed[at + 1]) in self.pairs:
            return []
        whole = typed[at] + typed[at + 1]
        known = self._stays(typed[at]) and self._stays(typed[at + 1])
        if self.counts.get(whole, 0) < (FEWEST_JOINED if known else 1) or not whole.isalpha():
            return []
        # The likelihood of two words is compared with that of one: the second one's is added to those of the rest.
        second = max(choice.likelihood for choice in self._kept(typed, at + 1))
        return [_Choice((whole,), "join", log(self.counts[whole] / self.total) - SPACE_TOO_MANY - second, 2)]

    def _texts_of_others(self, typed: Sequence[str], at: int) -> Places | None:
        """The texts that have all other known words of the query; of the rarest alone where none has all."""
        lists = [self.texts_of[word] for place, word in enumerate(typed) if place != at and word in self.texts_of]
        if not lists:
            return None
        lists.sort(key=len)
        shared = lists[0]
        for places in lists[1:]:
            both = np.intersect1d(shared, places, assume_unique=True)
            shared = both if len(both) else shared
        return shared


SPACE_LEFT_OUT, SPACE_TOO_MANY = 3.5, 3.5  # costs, as those of edits
FEWEST_JOINED = 3  # texts with the joined word, where both parts are words of the shop too
FEWEST_USERS = 5


def _trusted(queries: Mapping[str, int], counts: Mapping[str, int]) -> Counter[str]:
    """Words of queries by users: of the catalogue's all, of others what at least FEWEST_USERS searched for."""
    users: Counter[str] = Counter()
    for query, count in queries.items():
        users.update(dict.fromkeys(words(normalised(query)), count))
    return Counter({word: count for word, count in users.items() if word in counts or count >= FEWEST_USERS})
