"""Aspects of items: what reviews of a category speak of, found without labels, and which of them a clause names.

A term is a word or two that reviews use as a noun, frequent in a category. Terms whose vectors are near are one aspect,
named by its most central term; a deployment may fix aspects by seed words. The noun test replaces a tagger: after an
article or a possessive, with at most one word between, and before a word that ends a noun phrase.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage

MOST_TERMS = 80  # of a category
LEAST_SHARE, LEAST_REVIEWS = 0.01, 10  # of a category's reviews that a term, or an aspect, is in
LEAST_NOUN = 0.2  # share of a term's places where it is used as a noun
NEAR, NEAR_SEED = 0.5, 0.6  # cosine within an aspect; to a fixed aspect's seeds
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|[.,!?;:()]")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_BEFORE: Final = _set("the a an this that these those my its their his her our your no any some")
_AFTER: Final = _set(
    "is was are were isn't wasn't of in on at and or but for with to that which i it so because as has had "
    "looks feels looked felt seems runs fits . , ! ? ; : ( )"
)
_STOP: Final = _BEFORE | _set(
    "i it you we they he she me him them is was are were be been am do does did have has had not very really so too "
    "also just only even still one two first way lot bit thing things time times day days week year years something "
    "anything everything nothing other others reason reviewer reviewers review reviews item items product products "
    "all what who when where how here there now then than will would can could should if as with on in of to and or "
    "but for from by at up out off over under more most much many some few same such own into about after before "
    "again once because while until however though although mom mother husband daughter friend friends photo photos "
    "picture pictures couple person people store online retailer website model occasion night summer winter fall "
    "spring fan problem issue idea"
)


@dataclass(frozen=True)
class Lexicon:
    """terms: aspect -> its terms, of one or two words; categories: category -> the aspects that its reviews name."""

    terms: dict[str, list[str]]
    categories: dict[str, list[str]]

    def matcher(self, category: str | None) -> Callable[[str], list[str]]:
        """What a clause of a review in the category names, in alphabetical order; every aspect for an unknown one."""
        known = self.categories.get(category or "", list(self.terms))
        of_term = {term: aspect for aspect in known for term in self.terms[aspect]}
        longest = max((len(term.split()) for term in of_term), default=0)

        def named(clause: str) -> list[str]:
            words = tokens(clause)
            found: set[str] = set()
            at = 0
            while at < len(words):
                for length in range(min(longest, len(words) - at), 0, -1):
                    aspect = of_term.get(" ".join(words[at : at + length]))
                    if aspect:
                        found.add(aspect)
                        at += length - 1
                        break
                at += 1
            return sorted(found)

        return named


def tokens(text: str) -> list[str]:
    """Words and signs in lower case."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def learn(
    texts: Sequence[str],
    categories: Sequence[str],
    fixed: Mapping[str, Sequence[str]],
    encode: Callable[[list[str]], npt.NDArray[np.float32]],
) -> Lexicon:
    """The aspects of reviews (texts, each of a category). fixed: the deployment's own; encode: gives unit vectors."""
    counts = _counted(texts, categories)
    taken = {" ".join(tokens(seed)) for seeds in fixed.values() for seed in seeds}
    per_category = {category: _terms(category, counts, taken) for category in sorted(counts.reviews)}
    weight: Counter[str] = Counter()
    for category, found in per_category.items():
        weight.update({term: counts.documents[category][term] for term in found})
    terms = {name: [" ".join(tokens(seed)) for seed in seeds] for name, seeds in fixed.items()}
    free = sorted(weight)
    for name, members in _clusters(free, weight, terms, encode).items():
        terms[name] = terms.get(name, []) + members
    listed: dict[str, list[str]] = {}
    for category, total in counts.reviews.items():
        least = max(LEAST_REVIEWS, LEAST_SHARE * total)
        documents = counts.documents[category]
        listed[category] = sorted(
            name for name, members in terms.items() if name in fixed or sum(documents[t] for t in members) >= least
        )
    used = {name for names in listed.values() for name in names}
    return Lexicon({name: terms[name] for name in sorted(used)}, listed)


@dataclass(frozen=True)
class _Counts:
    """By category: reviews, reviews with a term, and of all categories a term's places and those as a noun."""

    reviews: Counter[str]
    documents: dict[str, Counter[str]]
    places: Counter[str]
    as_noun: Counter[str]


def _counted(texts: Sequence[str], categories: Sequence[str]) -> _Counts:
    counts = _Counts(Counter(), {}, Counter(), Counter())
    for text, category in zip(texts, categories, strict=True):
        words = ["", "", *tokens(text), "."]
        own: set[str] = set()
        for at in range(2, len(words) - 1):
            for length in (1, 2):
                span = words[at : at + length]
                if len(span) < length or not all(map(_may_be, span)):
                    continue
                term = " ".join(span)
                own.add(term)
                counts.places[term] += 1
                introduced = words[at - 1] in _BEFORE or words[at - 2] in _BEFORE
                counts.as_noun[term] += introduced and words[min(at + length, len(words) - 1)] in _AFTER
        counts.reviews[category] += 1
        counts.documents.setdefault(category, Counter()).update(own)
    return counts


def _may_be(word: str) -> bool:
    return len(word) > 2 and word[0].isalpha() and "'" not in word and word not in _STOP


def _terms(category: str, counts: _Counts, taken: set[str]) -> list[str]:
    """The terms of a category: nouns in enough reviews, those first that are frequent here against the others."""
    documents, total = counts.documents[category], counts.reviews[category]
    least = max(LEAST_REVIEWS, LEAST_SHARE * total)
    of_name = {form for word in tokens(category) for form in (word, word.removesuffix("s"), word.removesuffix("es"))}
    elsewhere: Counter[str] = Counter()
    for name, others in counts.documents.items():
        if name != category:
            elsewhere.update(others)
    rest = max(sum(counts.reviews.values()) - total, 1)

    def worth(term: str) -> float:
        share, other = documents[term] / total, (elsewhere[term] + 1) / (rest + 1)
        return float(share * (1 + max(0.0, np.log(share / other))))

    fit = [
        term
        for term, count in documents.items()
        if count >= least
        and counts.as_noun[term] >= LEAST_NOUN * counts.places[term]
        and term not in taken
        and not of_name & {form for word in term.split() for form in (word, word.removesuffix("s"))}
    ]
    return sorted(fit, key=lambda term: (-worth(term), term))[:MOST_TERMS]


def _clusters(
    free: list[str],
    weight: Counter[str],
    fixed: Mapping[str, list[str]],
    encode: Callable[[list[str]], npt.NDArray[np.float32]],
) -> dict[str, list[str]]:
    """Terms by aspect: those near a fixed one's seeds go to it, the others by average linkage of their cosines."""
    if not free:
        return {}
    vectors = encode(free).astype(np.float64)
    found: dict[str, list[str]] = {}
    left = list(range(len(free)))
    if fixed:
        names = list(fixed)
        centres = np.stack([encode(fixed[name]).mean(axis=0) for name in names])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        near = vectors @ centres.T
        for row in range(len(free)):
            if near[row].max() >= NEAR_SEED:
                found.setdefault(names[int(near[row].argmax())], []).append(free[row])
        left = [row for row in left if near[row].max() < NEAR_SEED]
    if not left:
        return found
    labels = np.ones(len(left), int)
    if len(left) > 1:
        labels = fcluster(linkage(vectors[left], "average", "cosine"), 1 - NEAR, "distance")
    for label in sorted(set(labels.tolist())):
        members = [left[place] for place in np.flatnonzero(labels == label)]
        share = np.array([weight[free[row]] for row in members], float)
        centre = share @ vectors[members]
        # The most central term, a frequent one rather than a rare one.
        name = free[max(members, key=lambda row: (float(vectors[row] @ centre) * weight[free[row]] ** 0.5, free[row]))]
        found.setdefault(name, []).extend(free[row] for row in members)
    return found
