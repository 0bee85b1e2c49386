"""Search index: the exact best of both lists, what a query that meets nothing gets, and odd queries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from udfs.search import index as search
from udfs.search.head_queries import head_queries
from udfs.search.index import SearchIndex
from udfs.search.lexical import SATURATION, Index, corpus_of
from udfs.search.understand import understand
from udfs.search.words import is_code, normalised, query_key

ITEMS = pd.DataFrame(
    [
        ("a", "Wireless headphones black", "Sony", "headphones", 5),
        ("b", "Headphone case", None, "cases", 1),
        ("c", "Hard disk 500 GB", "Seagate", "disks", 2),
        ("d", "Wireless mouse", "HP", "mice", 3),
        ("e", "Wireless mouse", "HP", "mice", 9),  # the text of d, more popular
    ],
    columns=["item_id", "title", "brand", "category", "popularity"],
)


def matched(query: str, corrected: str | None = None, **settings: object) -> pd.DataFrame:
    asked = pd.DataFrame({"query": [query], "corrected_query": [corrected]})
    return SearchIndex.fit(ITEMS).match(asked, **settings)  # type: ignore[arg-type]


def best(query: str, corrected: str | None = None) -> list[tuple[str, str]]:
    rows = matched(query, corrected)
    return list(zip(rows["item_id"], rows["match"], strict=True))[:2]


def test_a_query_that_items_have_all_of_is_exact_and_its_twin_follows_by_popularity() -> None:
    assert best("wireless mice mouse") == [("e", "exact"), ("d", "exact")]


def test_a_corrected_query_says_so() -> None:
    assert best("hedphones", "headphones")[0][1] == "corrected"


def test_a_query_with_a_word_nobody_has_is_relaxed() -> None:
    assert best("crimson mouse") == [("e", "relaxed"), ("d", "relaxed")]


def test_a_query_that_no_title_has_meets_the_category_it_names() -> None:
    assert best("xyz") == []
    without_titles = ITEMS.assign(title=["t1", "t2", "t3", "t4", "t5"], brand=None)
    rows = SearchIndex.fit(without_titles).match(pd.DataFrame({"query": ["disks"]}))
    assert rows["item_id"][0] == "c"


def test_a_query_without_words_of_the_shop_is_semantic_where_there_are_vectors() -> None:
    index = SearchIndex.fit(ITEMS, np.eye(5, 8, dtype=np.float16))
    queries = pd.DataFrame({"query": ["phono", "zz-123"]})
    rows = index.match(queries, np.eye(5, 8, dtype=np.float32)[[2, 2]])
    assert rows[rows["query"] == "phono"].iloc[0][["item_id", "match"]].tolist() == ["c", "semantic"]
    assert not (rows["query"] == "zz-123").any(), "a code has no meaning to be near to"


@pytest.mark.parametrize(
    "query", ["", "😀🎧", "'; DROP TABLE items; --", "x" * 1000, "kabel " * 200, "50 %_\\", "\x00"]
)
def test_odd_queries_meet_nothing(query: str) -> None:
    assert not len(matched(query))


def test_scripts_without_stemmers_are_met_by_pairs_of_characters() -> None:
    items = pd.DataFrame(
        {"item_id": ["1", "2", "3"], "title": ["無線イヤホン", "беспроводные наушники", "κινητό τηλέφωνο"]}
    )
    index = SearchIndex.fit(items)
    rows = index.match(pd.DataFrame({"query": ["イヤホン", "наушник", "τηλέφωνα"]}))
    assert rows[rows["rank"] == 1]["item_id"].tolist() == ["1", "2", "3"]


def test_an_empty_shop_and_no_queries_give_no_rows() -> None:
    assert not len(SearchIndex.fit(ITEMS).match(pd.DataFrame({"query": []})))
    assert not len(SearchIndex.fit(ITEMS.head(0)).match(pd.DataFrame({"query": ["mouse"]})))


def test_the_lists_are_the_exact_best_of_both_scores() -> None:
    draw = np.random.default_rng(0)
    vocabulary = np.array([f"w{letter}" for letter in "abcdefghijklmnopqrst"])
    titles = [" ".join(draw.choice(vocabulary, draw.integers(1, 5))) for _ in range(300)]
    items = pd.DataFrame(
        {"item_id": [f"{i:03}" for i in range(300)], "title": titles, "popularity": draw.integers(0, 9, 300)}
    )
    vectors = draw.normal(size=(300, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = SearchIndex.fit(items, vectors)
    asked = pd.DataFrame({"query": ["wa wb", "wc", "wd we wf"]})
    rows = index.match(asked, vectors[:3], top_k=10, kept=1000)
    for place, query in enumerate(asked["query"]):
        own = rows[rows["query"] == query]
        assert own["score"].is_monotonic_decreasing
        by_words = index.match(pd.DataFrame({"query": [query]}), top_k=10, kept=10)
        assert set(by_words["item_id"]) <= set(own["item_id"])
        nearest = index.vectors @ vectors[place]
        texts = np.argsort(-nearest, kind="stable")[:10]
        assert {index.items_of(int(text))[0] for text in texts} <= set(own["item_id"])


def test_bm25f_equals_its_formula_on_one_field() -> None:
    documents = [{"title": ["a", "b", "a"]}, {"title": ["b"]}, {"title": ["c", "c"]}]
    scores = Index(documents, corpus_of(documents)).scores([["a"]]).toarray()[0]
    idf = np.log1p((3 - 1 + 0.5) / (1 + 0.5))
    frequency = 2.0 * 2 / (1 - 0.75 + 0.75 * 3 / 2)
    assert scores == pytest.approx([idf * frequency * (SATURATION + 1) / (SATURATION + frequency), 0, 0])


def test_what_a_query_asks_for() -> None:
    queries = pd.DataFrame({"query": ["hp mouse", "wireless headphones", "5901234123457"]})
    index = SearchIndex.fit(ITEMS)
    rows = understand(index, queries, index.match(queries))
    assert rows["category"].tolist()[:2] == ["mice", "headphones"]
    assert rows["brand"].tolist()[0] == "HP"
    assert rows["is_code"].tolist() == [False, False, True]
    assert rows["result_count"].tolist() == [2, 1, 0]


def test_head_queries_are_what_the_catalogue_has_most_of() -> None:
    rows = head_queries(ITEMS, fewest_items=2)
    assert rows["query"].tolist() == ["wireless", "headphones", "hp", "mice", "mouse", "wireless mouse"]
    assert rows["items"].tolist() == [3, 2, 2, 2, 2, 2]


def test_head_queries_that_differ_in_endings_of_the_shops_language_are_one() -> None:
    items = pd.DataFrame({"title": ["rote tasse"] * 3 + ["rote tassen"] * 4})
    rows = head_queries(items, language="german")
    assert [query for query in rows["query"] if "tasse" in query] == ["rote tassen", "tassen"]
    assert len(head_queries(items, language="")) > len(rows)


def test_normal_form_and_key() -> None:
    assert normalised("  \uff30ens &\tPaper 500 GB ") == "pens and paper 500gb"
    assert query_key("Pens & Papers") == query_key("pen AND paper")
    assert [is_code(text) for text in ("hp-304xl", "500gb", "5901234123457", "nikon d800", "desk")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert search.TOP_K == 200
