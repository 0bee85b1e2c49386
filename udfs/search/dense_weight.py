"""Weight of the cosine beside the lexical score, learned from masked titles: no query of a log, no judgement.

What people call a thing is in its title. Items without their titles are looked for by words of the titles; the weight
is that which finds best the items that had them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.search import lexical
from udfs.search.head_queries import of_title
from udfs.search.index import fused
from udfs.search.words import terms

ITEMS, QUERIES, FEWEST = 2_000, 400, 20
COMMONEST = 0.05  # share of the items beyond which a query says too little
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
USUAL = 0.4  # where there is too little to learn from

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaskedTitles:
    """A sample of items without titles, words of their titles as queries, and [queries, items] which had them.

    items: places in the catalogue; texts: what is left, for the encoder.
    """

    items: npt.NDArray[np.int64]
    texts: list[str]
    queries: list[str]
    relevant: npt.NDArray[np.bool_]


def masked_titles(items: pd.DataFrame, seed: int = 0) -> MaskedTitles:
    """Those of items (title, text); items whose text is their title, or missing, have nothing left and are left out."""
    draw = np.random.default_rng(seed)
    left = items["text"].fillna("") if "text" in items else pd.Series("", items.index)
    useful = np.flatnonzero((left.str.len() > 0) & (left.str.lower() != items["title"].fillna("").str.lower()))
    chosen = np.sort(draw.permutation(useful)[:ITEMS])
    found: dict[str, list[int]] = {}
    for place, title in enumerate(items["title"].fillna("").to_numpy()[chosen]):
        for query in sorted(of_title(title)):
            found.setdefault(query, []).append(place)
    fitting = sorted(query for query, places in found.items() if 2 <= len(places) <= max(2, COMMONEST * len(chosen)))
    queries = [fitting[at] for at in draw.permutation(len(fitting))[:QUERIES]]
    relevant = np.zeros((len(queries), len(chosen)), bool)
    for row, query in enumerate(queries):
        relevant[row, found[query]] = True
    return MaskedTitles(chosen, left.to_numpy(object)[chosen].tolist(), queries, relevant)


def dense_weight(
    masked: MaskedTitles,
    texts: npt.NDArray[np.floating],
    queries: npt.NDArray[np.floating],
    others: pd.DataFrame | None = None,
    language: str = "english",
) -> float:
    """The weight of GRID with the best NDCG@10 over the queries that a left text meets by a word or by meaning.

    texts, queries: unit vectors of `masked.texts` and `masked.queries`. others: brand, category, keywords of all items.
    """
    if len(masked.queries) < FEWEST:
        return USUAL
    fields = [name for name in ("brand", "category", "keywords") if others is not None and name in others]
    rest = [others[name].fillna("").to_numpy(object)[masked.items] for name in fields] if others is not None else []
    documents = [
        {"text": terms(text, language)}
        | {name: terms(str(values[at]), language) for name, values in zip(fields, rest, strict=True)}
        for at, text in enumerate(masked.texts)
    ]
    index = lexical.Index(documents, lexical.corpus_of(documents))
    by_words = index.scores([terms(query, language) for query in masked.queries]).toarray()
    by_meaning = np.asarray(queries, float) @ np.asarray(texts, float).T
    return max(GRID, key=lambda weight: _ndcg(by_words, by_meaning, weight, masked.relevant))


def _ndcg(by_words: Doubles, by_meaning: Doubles, weight: float, relevant: npt.NDArray[np.bool_]) -> float:
    """Mean NDCG@10 of the fused score; each item that had the words is worth 1."""
    discount = 1 / np.log2(np.arange(10) + 2)
    total = 0.0
    for words, meaning, right in zip(by_words, by_meaning, relevant, strict=True):
        order = np.argsort(-fused(words, meaning, weight), kind="stable")[:10]
        total += float((right[order] * discount).sum() / discount[: right.sum()].sum())
    return total / len(relevant)
