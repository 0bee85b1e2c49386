"""Nearest neighbours against brute force in exact arithmetic; what is encoded, and what is not encoded again."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.transforms import vectors
from schemas.run import Model
from udfs.encoder.stored_vectors import to_bytes

MODEL = Model(version="m1", folder="/nowhere/m1")


def unit(seed: int, count: int, dims: int = 8) -> np.ndarray:
    """Random unit vectors as they are stored."""
    drawn = np.random.default_rng(seed).normal(size=(count, dims))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def exact_score(one: np.ndarray, other: np.ndarray) -> float:
    """The float32 nearest to the exact product of two stored vectors."""
    return float(
        np.float32(float(sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(one, other, strict=True))))
    )


def frame(spark: SparkSession, columns: str, names: list[Any], stored: np.ndarray) -> DataFrame:
    """Names (strings or tuples of them) and a vector each."""
    keys = [name if isinstance(name, tuple) else (name,) for name in names]
    table = [(*key, cell) for key, cell in zip(keys, to_bytes(stored), strict=True)]
    return spark.createDataFrame(table, f"{columns}, vector BINARY")


def lists(found: DataFrame, name: str) -> dict[str, list[tuple[float, str]]]:
    """Per query its (-score, name) pairs, best first."""
    answer: dict[str, list[tuple[float, str]]] = {}
    for row in found.collect():
        answer.setdefault(row.query_key, []).append((-row.score, row[name]))
    return {query: sorted(pairs) for query, pairs in answer.items()}


def same(found: dict[str, list[tuple[float, str]]], expected: dict[str, list[tuple[float, str]]]) -> None:
    """The same names in the same order, scores to six decimals."""
    assert {q: [name for _, name in pairs] for q, pairs in found.items()} == {
        q: [name for _, name in pairs] for q, pairs in expected.items()
    }
    for query, pairs in expected.items():
        assert [score for score, _ in found[query]] == pytest.approx([score for score, _ in pairs], abs=1e-6)


def in_blocks_of(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "QUERIES_PER_BLOCK", count)
    monkeypatch.setattr(vectors, "ITEMS_PER_BLOCK", count)


@pytest.mark.parametrize(("per_block", "k"), [(7, 5), (1_000, 60)])
def test_nearest_equals_brute_force_over_several_blocks(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, per_block: int, k: int
) -> None:
    in_blocks_of(per_block, monkeypatch)
    queries, items = unit(1, 15), unit(2, 40)
    items[25:] = items[:15]  # equal vectors under different keys: ties, which the key must decide
    query_keys = [f"q{number:02}" for number in range(15)]
    text_keys = [f"k{hashlib.md5(str(number).encode()).hexdigest()[:6]}" for number in range(40)]
    expected = {
        key: sorted((-exact_score(query, item), text) for text, item in zip(text_keys, items, strict=True))[:k]
        for key, query in zip(query_keys, queries, strict=True)
    }
    found = vectors.nearest(
        frame(spark, "query_key STRING", query_keys, queries), frame(spark, "text_key STRING", text_keys, items), k
    )
    same(lists(found, "text_key"), expected)


@pytest.mark.parametrize("per_block", [4, 1_000])
def test_what_a_query_excludes_makes_room_for_the_next(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, per_block: int
) -> None:
    in_blocks_of(per_block, monkeypatch)
    queries, items = unit(1, 4), unit(2, 9)
    keys = [f"k{number}" for number in range(9)]
    exclude = [["k3", "k0", "unknown"], [], keys[1:], None]  # two of them, none, all but one, not said
    asked = spark.createDataFrame(
        [(f"q{at}", exclude[at], cell) for at, cell in enumerate(to_bytes(queries))],
        "query_key STRING, exclude ARRAY<STRING>, vector BINARY",
    )
    expected = {
        f"q{at}": sorted(
            (-exact_score(query, item), key)
            for key, item in zip(keys, items, strict=True)
            if key not in (exclude[at] or [])
        )[:5]
        for at, query in enumerate(queries)
    }
    assert [len(pairs) for pairs in expected.values()] == [5, 5, 1, 5]
    same(lists(vectors.nearest(asked, frame(spark, "text_key STRING", keys, items), 5), "text_key"), expected)


def test_nearest_items_equals_brute_force_where_items_share_texts(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks_of(6, monkeypatch)
    queries, texts = unit(3, 8), unit(4, 12)
    text_of = np.random.default_rng(5).integers(0, 12, 50)  # four items a text
    names = [(f"k{text:02}", f"i{(number * 37) % 50:02}") for number, text in enumerate(text_of)]
    expected = {
        f"q{at}": sorted(
            (-exact_score(query, texts[text]), item) for text, (_, item) in zip(text_of, names, strict=True)
        )[:7]
        for at, query in enumerate(queries)
    }
    found = vectors.nearest_items(
        frame(spark, "query_key STRING", [f"q{at}" for at in range(8)], queries),
        frame(spark, "text_key STRING, item_id STRING", names, texts[text_of]),
        7,
    )
    assert found.columns == ["query_key", "score", "item_id"]
    same(lists(found, "item_id"), expected)


def test_equal_scores_of_different_texts_are_in_order_of_item_id(spark: SparkSession) -> None:
    vector = unit(6, 1)
    items = frame(  # two texts that the token budget cuts to the same words
        spark, "text_key STRING, item_id STRING", [("k1", "z"), ("k2", "a")], np.repeat(vector, 2, axis=0)
    )
    found = vectors.nearest_items(frame(spark, "query_key STRING", ["q"], vector), items, 1)
    assert [row.item_id for row in found.collect()] == ["a"]


def test_the_number_of_blocks_changes_nothing(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    # Scores 2^-20 apart, all the same to six decimals, the better ones with the later keys.
    steps = np.array([[0.5, number * 2.0**-20] for number in range(8)], np.float16)
    query = frame(spark, "query_key STRING", ["q"], np.array([[0.5, 0.25]], np.float16))
    items = frame(spark, "text_key STRING", [f"k{number}" for number in range(8)], steps)
    found = []
    for per_block in (1, 8):
        in_blocks_of(per_block, monkeypatch)
        found.append(sorted(row.text_key for row in vectors.nearest(query, items, 3).collect()))
    assert found == [["k5", "k6", "k7"]] * 2
