"""Weight of the cosine beside the lexical score, learned from masked titles: no query of a log, no judgement.

What people call a thing is in its title. Items without their titles are looked for by words of the titles; the weight
is one that finds the items that had them as well as any. Of weights that chance may have put in another order, the one
nearest to that of a shop that has learned none (the rule of one standard error: Breiman et al., 1984).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.search import gains, lexical
from udfs.search.head_queries import of_title
from udfs.search.index import DENSE_WEIGHT, fused
from udfs.search.words import normalised_text, stems, terms, words

ITEMS, QUERIES, FEWEST = 2_000, 400, 20
COMMONEST = 0.05  # share of the items beyond which a query says too little
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)

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


def masked_titles(items: pd.DataFrame, language: str = "english", seed: int = 0) -> MaskedTitles:
    """Those of items (title, text), different in one of both; items with nothing left beside the title are left out."""
    draw = np.random.default_rng(seed)
    known = items[["title", "text"]].fillna("")
    drawn = draw.permutation(np.flatnonzero(~known.duplicated()))[: 2 * ITEMS]
    titles, texts = (known[name].to_numpy(object)[drawn].tolist() for name in ("title", "text"))
    masked = [masked_text(*row, language) for row in zip(titles, texts, strict=True)]
    useful = [at for at, text in enumerate(masked) if text][:ITEMS]
    chosen = drawn[useful]
    found: dict[str, list[int]] = {}
    for place, at in enumerate(useful):
        for query in sorted(of_title(titles[at])):
            found.setdefault(query, []).append(place)
    most = max(2, COMMONEST * len(chosen))
    fitting = sorted(query for query, having in found.items() if 2 <= len(having) <= most)
    queries = [fitting[at] for at in draw.permutation(len(fitting))[:QUERIES]]
    relevant = np.zeros((len(queries), len(chosen)), bool)
    for row, query in enumerate(queries):
        relevant[row, found[query]] = True
    return MaskedTitles(chosen, [masked[at] for at in useful], queries, relevant)


def masked_text(title: str, text: str, language: str = "english") -> str:
    """The text without the title; where it has the title's words in another order, without these. "" for nothing."""
    named, rest = normalised_text(title), normalised_text(text)
    if named and named in rest:
        left = rest.replace(named, " ", 1)
        return left if words(left) else ""
    of_title = set(terms(title, language))
    return " ".join(word for word in words(rest) if stems([word], language)[0] not in of_title)


def dense_weight(
    masked: MaskedTitles,
    texts: npt.NDArray[np.floating],
    queries: npt.NDArray[np.floating],
    others: pd.DataFrame | None = None,
    language: str = "english",
) -> float:
    """A weight of GRID by its NDCG@10 over the queries, each item that had the words worth 1.

    texts, queries: unit vectors of `masked.texts` and `masked.queries`. others: brand, category, keywords of all items.
    """
    if len(masked.queries) < FEWEST:
        return DENSE_WEIGHT
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
    values = np.array([_ndcg(by_words, by_meaning, weight, masked.relevant) for weight in GRID])
    lost = values[values.mean(axis=1).argmax()] - values
    as_good = lost.mean(axis=1) <= lost.std(axis=1) / np.sqrt(lost.shape[1])
    return min((weight for weight, good in zip(GRID, as_good, strict=True) if good), key=_from_usual)


def _from_usual(weight: float) -> float:
    return abs(weight - DENSE_WEIGHT)


def _ndcg(by_words: Doubles, by_meaning: Doubles, weight: float, relevant: npt.NDArray[np.bool_]) -> Doubles:
    """[queries]: NDCG@10 of the fused score."""
    scores = np.array([fused(*pair, weight) for pair in zip(by_words, by_meaning, strict=True)])
    order = np.argsort(-scores, axis=1, kind="stable")[:, : gains.K]
    number, rank = np.indices(order.shape)
    gain = np.take_along_axis(relevant, order, axis=1).astype(float)
    ideal = gains.best_of_ones(relevant.sum(axis=1))
    return gains.ndcg(number.ravel(), rank.ravel() + 1, gain.ravel(), ideal)
