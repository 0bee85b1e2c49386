"""Index of a shop's items: the exact best by words and by vectors for each query, and how each was met."""

from __future__ import annotations

from dataclasses import dataclass

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
FEWEST_POPULAR = 10  # rows that a query has at least, in a shop of so many items
EXACT, CORRECTED, RELAXED, SEMANTIC, POPULAR = "exact", "corrected", "relaxed", "semantic", "popular"
MATCHED = ("query", "item_id", "match", "bm25", "cosine", "covered", "popularity", "score", "rank")


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
        Candidates are the exact best `top_k` by BM25F and the exact best by cosine; a query that meets nothing gets the
        most popular items of the category that it names, or of all.
        """
        parts = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            block = queries.iloc[start : start + QUERIES_AT_A_TIME]
            rows = None if vectors is None else np.asarray(vectors[start : start + len(block)], np.float32)
            parts += self._match(block, rows, dense_weight, top_k, kept)
        if not parts:
            return pd.DataFrame({name: [] for name in MATCHED})
        return pd.concat(parts, ignore_index=True)[list(MATCHED)]

    def _match(
        self, block: pd.DataFrame, vectors: Floats | None, dense_weight: float, top_k: int, kept: int
    ) -> list[pd.DataFrame]:
        """One frame a query."""
        asked = block["query"].fillna("").tolist()
        corrected = block["corrected_query"].fillna(block["query"]).tolist() if "corrected_query" in block else asked
        wanted = [terms(normalised(query), self.language) for query in corrected]
        lexical_scores, covered = self.words.scores_and_covered(wanted)
        use_vectors = vectors is not None and self.vectors.shape[1] > 0
        near = vectors @ self.vectors.T if use_vectors and vectors is not None else None
        frames = []
        for row, query in enumerate(asked):
            bounds = slice(lexical_scores.indptr[row], lexical_scores.indptr[row + 1])
            texts, bm25 = lexical_scores.indices[bounds], lexical_scores.data[bounds]
            share = np.asarray(covered[row, texts].todense()).ravel() if len(texts) else bm25
            semantic = near[row] if near is not None and wanted[row] and not is_code(query) else None
            union = self._candidates(texts, bm25, semantic, top_k)
            words_of = np.zeros(len(union)), np.zeros(len(union))
            met = np.searchsorted(union, texts[np.isin(texts, union)])
            for target, source in zip(words_of, (bm25, share), strict=True):
                target[met] = source[np.isin(texts, union)]
            cosine = np.full(len(union), np.nan) if near is None else near[row, union].astype(float)
            correct = normalised(corrected[row]) != normalised(query)
            frame = self._rows(union, words_of[0], words_of[1], cosine, dense_weight, kept)
            full = all(term in self.words.place for term in wanted[row])
            frame["match"] = np.select(
                [(frame["covered"] >= ALL_TERMS) & full, frame["bm25"] > 0],
                [CORRECTED if correct else EXACT, RELAXED],
                SEMANTIC,
            )
            frames.append(self._with_popular(frame, wanted[row], kept).assign(query=query))
        return frames

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

    def _rows(
        self, texts: Places, bm25: Doubles, covered: Doubles, cosine: Doubles, dense_weight: float, kept: int
    ) -> pd.DataFrame:
        """Items of these texts, ranked by the fused score, then popularity, then id; the first `kept`."""
        score = fused(bm25, cosine, dense_weight)
        order = np.lexsort((texts, -score))
        texts, chosen = texts[order][:kept], order[:kept]
        counts = self.first[texts + 1] - self.first[texts]
        repeated = np.repeat(np.arange(len(texts)), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        items = self.by_text[self.first[texts][repeated] + offset]
        values = {"bm25": bm25, "covered": covered, "cosine": cosine, "score": score}
        columns = {name: value[chosen][repeated] for name, value in values.items()}
        order = np.lexsort((items, -columns["score"]))[:kept]
        return self._frame(items[order], {name: value[order] for name, value in columns.items()})

    def _frame(self, items: Places, columns: dict[str, Doubles]) -> pd.DataFrame:
        named = {"item_id": self.items[items], "popularity": self.popularity[items], **columns}
        return pd.DataFrame(named).assign(rank=np.arange(1, len(items) + 1))

    def _with_popular(self, frame: pd.DataFrame, wanted: list[str], kept: int) -> pd.DataFrame:
        """The rows, and where they are few the most popular items of the category that the query names, or of all."""
        missing = min(FEWEST_POPULAR, kept) - len(frame)
        if missing <= 0:
            return frame
        of_category = self._named(wanted, self.category)
        places = np.flatnonzero(of_category) if of_category.any() else np.arange(len(self.first) - 1)
        ranges = [self.by_text[self.first[place] : self.first[place + 1]] for place in places[: 2 * kept]]
        items = np.sort(np.concatenate([places[:0], *ranges]))
        items = items[~np.isin(self.items[items], frame["item_id"].to_numpy(object))][:missing].astype(np.int64)
        nothing = np.zeros(len(items))
        lowest = float(frame["score"].min()) if len(frame) else 0.0
        columns = {"bm25": nothing, "covered": nothing, "cosine": nothing * np.nan, "score": nothing + lowest - 1}
        more = self._frame(items, columns).assign(match=POPULAR)
        both = pd.concat([frame, more], ignore_index=True) if len(frame) else more
        return both.assign(rank=np.arange(1, len(both) + 1))

    def _named(self, wanted: list[str], values: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """[texts]: whether all words of its category (or brand) are in the query."""
        names, code = np.unique(values.astype(str), return_inverse=True)
        inside = [bool(name) and set(terms(name, self.language)) <= set(wanted) for name in names]
        return np.asarray(inside, bool)[code]


def _column(items: pd.DataFrame, name: str) -> npt.NDArray[np.object_]:
    """[items] texts, "" where there is none."""
    return items[name].fillna("").astype(str).to_numpy(object) if name in items else np.full(len(items), "", object)


def fused(bm25: Doubles, cosine: Doubles, dense_weight: float) -> Doubles:
    """Score of a query's candidates: BM25F as a share of the best one's, plus the weighted cosine where known."""
    best = bm25.max() if len(bm25) else 0.0
    by_words = bm25 / best if best > 0 else bm25
    return np.asarray(by_words + dense_weight * np.nan_to_num(cosine), float)
