"""NDCG with graded gains, and the plain rankings that the shop's is compared with."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from udfs.search.judged import BM25, COSINE, FUSED, ndcg, plain_rankings

RATINGS = st.dictionaries(st.sampled_from("abcdefghijklm"), st.integers(0, 3), max_size=13)


def ranking(items: str, key: str = "k") -> pd.DataFrame:
    return pd.DataFrame({"query_key": key, "item_id": list(items), "rank": range(1, len(items) + 1)})


def by_hand(items: str, ratings: dict[str, int]) -> float:
    def gain(listed: list[int]) -> float:
        return sum((2**rating - 1) / math.log2(place + 2) for place, rating in enumerate(listed[:10]))

    best = gain(sorted(ratings.values(), reverse=True))
    return gain([ratings.get(item, 0) for item in items]) / best if best else math.nan


@given(st.permutations("abcdefghijklm").map("".join), RATINGS, st.integers(0, 13))
def test_ndcg_is_what_plain_python_computes(order: str, ratings: dict[str, int], length: int) -> None:
    judged = pd.DataFrame({"query": "q", "item_id": list(ratings), "rating": [float(r) for r in ratings.values()]})
    found = ndcg(ranking(order[:length]), judged, {"q": "k"})
    np.testing.assert_allclose(found, [by_hand(order[:length], ratings)], rtol=1e-12)


def test_a_query_without_a_list_has_nothing_and_one_without_a_relevant_item_is_left_out() -> None:
    judged = pd.DataFrame({"query": ["p", "q"], "item_id": ["a", "a"], "rating": [3.0, 0.0]})
    found = ndcg(ranking("a", "other"), judged, {"p": "k", "q": "other"})
    assert found[0] == 0
    assert np.isnan(found[1])


def test_plain_rankings_are_of_words_of_vectors_and_of_both() -> None:
    met = pd.DataFrame(
        {
            "query_key": "k",
            "item_id": list("abc"),
            "bm25": [2.0, 2.0, 0.0],
            "cosine": [0.1, np.nan, 0.9],
        }
    )
    found = {name: "".join(rows.sort_values("rank")["item_id"]) for name, rows in plain_rankings(met).items()}
    assert found == {BM25: "ab", COSINE: "ca", FUSED: "acb"}
