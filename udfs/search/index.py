"""Index of a shop's items: the exact best by words and by vectors for each query, and how each was met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.interactions import Floats
from udfs.search import lexical
from udfs.search.words import is_code, normalised, terms

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

TOP_K = 200  # of each of both lists
KEPT = 100  # rows of a query
QUERIES_AT_A_TIME = 128  # times texts, in float32: 128 x 92,000 are 45 MiB
ALL_TERMS = 0.9  # share of the query's idf from which an item has all that matters of it
DENSE_WEIGHT = 0.5  # of the cosine beside the lexical score; a shop learns its own (dense_weight.py)
EXACT, CORRECTED, RELAXED, SEMANTIC = "exact", "corrected", "relaxed", "semantic"
MATCHED = ("query", "item_id", "match", "bm25", "cosine", "covered", "popularity", "score", "rank")


class _Rows(NamedTuple):
    """Rows of one query: places of items, [rows, 4] of bm25, covered, cosine and score, and how each was met."""

    items: Places
    values: Doubles
    match: npt.NDArray[np.object_]


@dataclass(frozen=True)
class SearchIndex:
    """Items in the order of popularity and id; those that share their texts are one column of `words`.

    items: [items] ids; popularity: [items]; by_text: places of items, text after text; first: [texts + 1] where those
    of each text begin; vectors: float32 [texts, dims], dims 0 without; category, brand: [texts], "" where unknown.
    """

    items: npt.NDArray[np.object_]
    popularity: Doubles
    words: lexical.Index
    by_text: Places
    first: Places
    vectors: Floats
    category: npt.NDArray[np.object_]
    brand: npt.NDArray[np.object_]
    language: str

    @classmethod
    def fit(
        cls, items: pd.DataFrame, vectors: npt.NDArray[np.floating] | None = None, language: str = "english"
    ) -> SearchIndex:
        """Index of items (item_id, title; text, category, brand, keywords, popularity where known).

        vectors: unit rows [items, dims], zeros where an item has none. Only items that may be shown belong here.
        Memory: about 1 KB a distinct text, and 4 bytes a dimension of it.
        """
        known = items.reset_index(drop=True)
        popularity = known["popularity"].fillna(0).to_numpy(float) if "popularity" in known else np.zeros(len(known))
        order = np.lexsort((known["item_id"].to_numpy(str), -popularity))
        known = known.iloc[order]
        fields = {name: _column(known, name) for name in lexical.FIELDS}
        joined = pd.Series(list(zip(*fields.values(), strict=True)), dtype=object)
        text_of, texts = pd.factorize(joined)
        by_text = np.argsort(text_of, kind="stable")
        first = np.searchsorted(text_of[by_text], np.arange(len(texts) + 1))
        documents = [{name: terms(value, language) for name, value in zip(fields, text, strict=True)} for text in texts]
        leading = by_text[first[:-1]]
        return cls(
            items=known["item_id"].to_numpy(object),
            popularity=popularity[order],
            words=lexical.Index(documents, lexical.corpus_of(documents)),
            by_text=by_text,
            first=first,
            vectors=np.zeros((len(texts), 0), np.float32)
            if vectors is None
            else np.asarray(vectors[order[leading]], np.float32),
            category=fields["category"][leading],
            brand=fields["brand"][leading],
            language=language,
        )

    def items_of(self, text: int) -> list[str]:
        """Ids of the items that share a text, the most popular first."""
        return list(self.items[self.by_text[self.first[text] : self.first[text + 1]]])

    def match(
        self,
        queries: pd.DataFrame,
        vectors: npt.NDArray[np.floating] | None = None,
        dense_weight: float = DENSE_WEIGHT,
        top_k: int = TOP_K,
        kept: int = KEPT,
    ) -> pd.DataFrame:
        """MATCHED: at most `kept` items of each query, ranked by the fused score of words and vectors.

        queries: query; corrected_query where there is one. vectors: unit rows [queries, dims] of what is matched.
        Candidates are the exact best `top_k` by BM25F and the exact best by cosine; a query may have none.
        """
        parts = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            block = queries.iloc[start : start + QUERIES_AT_A_TIME]
            rows = None if vectors is None else np.asarray(vectors[start : start + len(block)], np.float32)
            parts.append(self._match(block, rows, dense_weight, top_k, kept))
        if not parts:
            return pd.DataFrame({name: [] for name in MATCHED})
        return pd.concat(parts, ignore_index=True)

    def _match(
        self, block: pd.DataFrame, vectors: Floats | None, dense_weight: float, top_k: int, kept: int
    ) -> pd.DataFrame:
        """MATCHED of a block of queries."""
        asked = block["query"].fillna("").tolist()
        corrected = block["corrected_query"].fillna(block["query"]).tolist() if "corrected_query" in block else asked
        wanted = [terms(normalised(query), self.language) for query in corrected]
        by_words, covered = self.words.scores_and_covered(wanted)
        by_words.sort_indices()
        covered.sort_indices()
        near = vectors @ self.vectors.T if vectors is not None and self.vectors.shape[1] else None
        found = []
        for row, query in enumerate(asked):
            texts, bm25 = (
                part[by_words.indptr[row] : by_words.indptr[row + 1]] for part in (by_words.indices, by_words.data)
            )
            shares = covered.indptr[row], covered.indptr[row + 1]
            share = covered.data[slice(*shares)][np.searchsorted(covered.indices[slice(*shares)], texts)]
            semantic = near[row] if near is not None and wanted[row] and not is_code(query) else None
            union = self._candidates(texts, bm25, semantic, top_k)
            values = np.zeros((len(union), 4))
            met = np.searchsorted(texts, union).clip(max=max(len(texts) - 1, 0))
            has = texts[met] == union if len(texts) else np.zeros(len(union), bool)
            values[has, 0], values[has, 1] = bm25[met[has]], share[met[has]]
            values[:, 2] = np.nan if near is None else near[row, union]
            values[:, 3] = fused(values[:, 0], values[:, 2], dense_weight)
            rows = self._rows(union, values, kept)
            complete = all(term in self.words.place for term in wanted[row])
            exact = CORRECTED if normalised(corrected[row]) != normalised(query) else EXACT
            match = np.where(
                complete & (rows.values[:, 1] >= ALL_TERMS), exact, np.where(rows.values[:, 0] > 0, RELAXED, SEMANTIC)
            )
            found.append(rows._replace(match=match.astype(object)))
        return self._frame(block["query"].to_numpy(object), found)

    def _candidates(self, texts: Places, bm25: Doubles, semantic: Floats | None, top_k: int) -> Places:
        """Texts in ascending order: the best by words and by vectors, of equal ones the more popular."""
        by_words = texts[np.lexsort((texts, -bm25))[:top_k]]
        if semantic is None:
            return np.sort(by_words).astype(np.int64)
        count = min(top_k, len(semantic))
        by_vectors = np.flatnonzero(semantic >= np.partition(semantic, -count)[-count])
        by_vectors = by_vectors[semantic[by_vectors] > 0]
        by_vectors = by_vectors[np.argsort(-semantic[by_vectors], kind="stable")[:top_k]]
        return np.union1d(by_words, by_vectors).astype(np.int64)

    def _rows(self, texts: Places, values: Doubles, kept: int) -> _Rows:
        """Items of these texts, ranked by the fused score, then popularity, then id; the first `kept`."""
        order = np.lexsort((texts, -values[:, 3]))[:kept]
        texts = texts[order]
        counts = self.first[texts + 1] - self.first[texts]
        repeated = np.repeat(np.arange(len(texts)), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        items = self.by_text[self.first[texts][repeated] + offset]
        values = values[order][repeated]
        order = np.lexsort((items, -values[:, 3]))[:kept]
        return _Rows(items[order], values[order], np.full(len(order), "", object))

    def _frame(self, queries: npt.NDArray[np.object_], found: list[_Rows]) -> pd.DataFrame:
        """MATCHED of the rows of each query."""
        items = np.concatenate([rows.items for rows in found])
        values = np.concatenate([rows.values for rows in found])
        match = np.concatenate([rows.match for rows in found])
        counts = [len(rows.items) for rows in found]
        columns = {name: values[:, place] for place, name in enumerate(("bm25", "covered", "cosine", "score"))}
        rank = np.concatenate([np.arange(1, count + 1) for count in counts])
        named = {"query": np.repeat(queries, counts), "item_id": self.items[items], "match": match, "rank": rank}
        return pd.DataFrame(named | columns | {"popularity": self.popularity[items]})[list(MATCHED)]


def _column(items: pd.DataFrame, name: str) -> npt.NDArray[np.object_]:
    """[items] texts, "" where there is none."""
    return items[name].fillna("").astype(str).to_numpy(object) if name in items else np.full(len(items), "", object)


def fused(bm25: Doubles, cosine: Doubles, dense_weight: float) -> Doubles:
    """Score of a query's candidates: BM25F as a share of the best one's, plus the weighted cosine where known."""
    best = bm25.max() if len(bm25) else 0.0
    by_words = bm25 / best if best > 0 else bm25
    return np.asarray(by_words + dense_weight * np.nan_to_num(cosine), float)
