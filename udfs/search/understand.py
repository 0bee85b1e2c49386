"""What a query asks for: its brand, its category, and how many items have all of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from udfs.search.index import CORRECTED, EXACT, SearchIndex
from udfs.search.words import is_code, normalised, terms

LOOKED_AT = 20  # best items whose category is the query's where it names none
AGREED = 0.5  # share of their weight that the category needs


def understand(index: SearchIndex, queries: pd.DataFrame, matched: pd.DataFrame) -> pd.DataFrame:
    """query, category, brand (None where none is meant), is_code, result_count: a row a query, in the queries' order.

    queries: query, and corrected_query where there is one; matched: `SearchIndex.match` of them. result_count: of the
    matched items those that have all terms, at most as many as were matched.
    """
    names = {"category": index.category, "brand": index.brand}
    stems = {
        kind: {name: set(terms(str(name), index.language)) for name in np.unique(values.astype(str)) if name}
        for kind, values in names.items()
    }
    text_of = {item: text for text in range(len(index.first) - 1) for item in index.items_of(text)}
    groups = dict(iter(matched.groupby("query", sort=False)))
    rows = []
    asked = queries["corrected_query"].fillna(queries["query"]) if "corrected_query" in queries else queries["query"]
    for query, meant in zip(queries["query"], asked, strict=True):
        wanted = set(terms(normalised(meant or ""), index.language))
        found = groups.get(query)
        best = found.head(LOOKED_AT) if found is not None else None
        category = _named(wanted, stems["category"])
        if category is None and best is not None and len(best):
            category = _agreed([str(index.category[text_of[item]]) for item in best["item_id"]])
        count = 0 if found is None else int(found["match"].isin((EXACT, CORRECTED)).sum())
        rows.append((query, category, _named(wanted, stems["brand"]), is_code(query or ""), count))
    return pd.DataFrame(rows, columns=["query", "category", "brand", "is_code", "result_count"])


def _named(wanted: set[str], stems: dict[str, set[str]]) -> str | None:
    """The longest name whose words are all in the query; of equal ones the first."""
    inside = [(-len(words), name) for name, words in stems.items() if words and words <= wanted]
    return min(inside)[1] if inside else None


def _agreed(categories: list[str]) -> str | None:
    """The category of the best items, the first ones counting most, where at least half of the weight agrees."""
    weight: dict[str, float] = {}
    for place, category in enumerate(categories):
        weight[category] = weight.get(category, 0.0) + 1 / np.log2(place + 2)
    best = max(weight, key=lambda name: (weight[name], name))
    return best if best and weight[best] >= AGREED * sum(weight.values()) else None
