"""Lexical matching: BM25F, BM25 over several weighted fields, times the share of the query that an item covers.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, section 3.6. bm25s, the fast
library of the field, has no fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """Weight of a term's occurrence in a field, and how much a long field discounts it (b of BM25, 0 to 1)."""

    weight: float
    length: float


# In the order of importance that catalogues have in common; no judgement was used to choose them.
FIELDS: Mapping[str, Field] = {
    "title": Field(2.0, 0.75),
    "text": Field(1.0, 0.75),
    "brand": Field(0.5, 0.0),
    "category": Field(0.5, 0.0),
    "keywords": Field(0.2, 0.75),
}
SATURATION = 1.2  # k1: the second occurrence of a term counts less than the first


@dataclass(frozen=True)
class Corpus:
    """Figures of all items that a score needs: their number, mean length of each field, and items with each term."""

    items: int
    lengths: Mapping[str, float]
    frequency: Mapping[str, int]

    def idf(self, term: str) -> float:
        """Weight of a term: the rarer, the more; 0 for one that no item has."""
        with_it = self.frequency.get(term, 0)
        return float(np.log1p((self.items - with_it + 0.5) / (with_it + 0.5))) if with_it else 0.0


def corpus_of(items: Sequence[Mapping[str, Sequence[str]]]) -> Corpus:
    """The figures of these items; an item is its terms by field."""
    lengths = {name: float(np.mean([len(item.get(name, ())) for item in items] or [0])) for name in FIELDS}
    frequency: Counter[str] = Counter()
    for item in items:
        frequency.update({term for name in FIELDS for term in item.get(name, ())})
    return Corpus(len(items), lengths, frequency)


class Index:
    """Items as sparse columns: `weights` [terms, items] of BM25F, `present` [terms, items] of idf."""

    def __init__(self, items: Iterable[Mapping[str, Sequence[str]]], corpus: Corpus, covering: bool = True) -> None:
        """Index items (terms by field) with the figures of the corpus, of which they may be a part.

        `covering`: whether the score counts the covered share of the query; plain BM25 does not.
        """
        self.covering = covering
        self.corpus = corpus
        self.place: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        count = 0
        for column, item in enumerate(items):
            count = column + 1
            for term, frequency in _weighted(item, corpus).items():
                rows.append(self.place.setdefault(term, len(self.place)))
                columns.append(column)
                values.append(frequency)
        saturated = np.asarray(values)
        saturated = saturated * (SATURATION + 1) / (SATURATION + saturated)
        idf = np.array([corpus.idf(term) for term in self.place])
        shape = (len(self.place), count)
        places = np.asarray(rows, np.int64)
        of_term = idf[places] if len(places) else np.zeros(0)
        self.weights = sp.csr_matrix((saturated * of_term, (rows, columns)), shape)
        self.present = sp.csr_matrix((of_term, (rows, columns)), shape)

    def scores(self, queries: Sequence[Sequence[str]]) -> sp.csr_matrix:
        """[queries, items]: BM25F times the share of the query's idf that the item has, 0 where no term is met."""
        return self.scores_and_covered(queries)[0]

    def scores_and_covered(self, queries: Sequence[Sequence[str]]) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """[queries, items]: BM25F times the covered share, and that share: of the query's idf, what the item has.

        The share is of all terms of the query that the corpus has, so that a further word of the query that an item
        lacks costs it. A term that a query repeats counts once.
        """
        distinct = [sorted(set(query)) for query in queries]
        wanted = np.array([sum(map(self.corpus.idf, query)) for query in distinct])
        pairs = [(row, self.place[term]) for row, query in enumerate(distinct) for term in query if term in self.place]
        rows, columns = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
        asked = sp.csr_matrix((np.ones(len(pairs)), (rows, columns)), (len(distinct), len(self.place)))
        matched, covered = (asked @ self.weights).tocsr(), (asked @ self.present).tocsr()
        share = (sp.diags_array(1 / np.maximum(wanted, 1e-9)) @ covered).tocsr()
        return sp.csr_matrix(matched.multiply(share) if self.covering else matched), sp.csr_matrix(share)


def _weighted(item: Mapping[str, Sequence[str]], corpus: Corpus) -> dict[str, float]:
    """Each term's occurrences in an item, weighted by field and by the field's length against the mean."""
    total: dict[str, float] = {}
    for name, field in FIELDS.items():
        terms = item.get(name, ())
        mean = corpus.lengths[name]
        discount = 1 - field.length + field.length * len(terms) / mean if mean else 1.0
        for term, occurrences in Counter(terms).items():
            total[term] = total.get(term, 0.0) + field.weight * occurrences / discount
    return total
