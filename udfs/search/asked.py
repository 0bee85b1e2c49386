"""What queries ask for: the items that have all of a query's words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from udfs.search.words import normalised, terms

FIELDS = ("title", "text", "category", "brand")


def asked_for(items: pd.DataFrame, queries: Sequence[str], language: str = "english") -> sp.csr_matrix:
    """[queries, items]: 1 where the FIELDS of an item have all words of a query; a query without words has none."""
    wanted = [sorted(set(terms(normalised(query), language))) for query in queries]
    known = {term for query in wanted for term in query}
    joined = items[list(FIELDS)].fillna("").agg(" ".join, axis=1) if len(items) else pd.Series([], dtype=str)
    code, texts = pd.factorize(joined)
    having: dict[str, set[int]] = {term: set() for term in known}
    for number, text in enumerate(texts):
        for term in set(terms(text, language)) & known:
            having[term].add(number)
    found = [sorted(set.intersection(*(having[term] for term in query))) if query else [] for query in wanted]
    rows = np.repeat(np.arange(len(found)), [len(each) for each in found])
    columns = np.array([number for each in found for number in each], np.int64)
    of_text = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(queries), len(texts)))
    item = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))), (len(texts), len(code)))
    return sp.csr_matrix(of_text @ item)
