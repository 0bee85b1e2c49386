"""Head queries of a shop without a search log: its categories, its brands and the words of its titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pandas as pd

from udfs.search.words import by_character, normalised, query_key, words

MOST, FEWEST_ITEMS = 2_000, 3
# Words that join others: no query begins or ends with one. Of the languages of the shops at hand.
JOINING = frozenset(
    ["a", "an", "and", "as", "at", "by", "de", "der", "die", "das", "des", "for", "from", "in", "la", "le"]
)
JOINING |= frozenset(["les", "mit", "of", "on", "or", "per", "the", "to", "und", "von", "with"])


def head_queries(
    items: pd.DataFrame, most: int = MOST, fewest_items: int = FEWEST_ITEMS, language: str = "english"
) -> pd.DataFrame:
    """Head queries (query_key, query, items): of `fewest_items` items or more, the commonest first, then by query.

    items: title; category and brand where known. Of queries with the same key the commonest stays.
    """
    counts: Counter[str] = Counter()
    for column in ("category", "brand"):
        if column in items:
            counts.update(normalised(value) for value in items[column].dropna())
    for title, number in Counter(items["title"].dropna()).items():
        for query in of_title(title):
            counts[query] += number
    chosen: dict[str, tuple[str, int]] = {}
    for query, number in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        key = query_key(query, language)
        if number < fewest_items or len(chosen) == most:
            break
        if key and key not in chosen:
            chosen[key] = (query, number)
    rows = [(key, *named) for key, named in chosen.items()]
    return pd.DataFrame(rows, columns=["query_key", "query", "items"])


def of_title(title: str) -> Iterable[str]:
    """Words and pairs of words of a title, none that is a number or joins others at an end."""
    text = normalised(title)
    if by_character(text):
        return set(text.split())
    found = words(text)
    useful = [word.isalpha() and len(word) > 2 and word not in JOINING for word in found]
    pairs = {f"{a} {b}" for (a, good), (b, too) in pairwise(zip(found, useful, strict=True)) if good and too}
    return pairs | {word for word, good in zip(found, useful, strict=True) if good}
