"""The one top-N against a sort in plain Python."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.transforms.top_n import top_n

COLUMNS = "shop STRING, user STRING, item STRING, score DOUBLE"
Row = tuple[str, str, str, float]


def oracle(table: list[Row], n: int) -> list[tuple[str, str, str, float, int]]:
    answer = []
    for group in sorted({row[:2] for row in table}):
        ranked = sorted((row for row in table if row[:2] == group), key=lambda row: (-row[3], row[2]))
        answer += [(*row, rank) for rank, row in enumerate(ranked[:n], start=1)]
    return answer


@pytest.mark.parametrize("n", [1, 4, 50])
def test_equals_a_sort_with_ties_broken_and_ranks_without_gaps(spark: SparkSession, n: int) -> None:
    draw = random.Random(n)
    table = [
        (shop, user, f"i{item}", draw.choice([0.1, 0.5, 0.5, -1.0]))  # few scores: most rows are tied
        for shop in "st"
        for user in "uvw"
        for item in range(draw.randint(1, 16))
    ]
    draw.shuffle(table)
    frame = spark.createDataFrame(table, COLUMNS).repartition(3)
    ranked = top_n(frame, ["shop", "user"], [F.desc("score"), "item"], n, rank="rank")
    assert ranked.schema["rank"].dataType.simpleString() == "int"
    assert sorted((tuple(row) for row in ranked.collect()), key=lambda row: (*row[:2], row[4])) == oracle(table, n)


def test_without_a_rank_the_columns_stay_as_they_were(spark: SparkSession) -> None:
    table = [("s", "u", "a", 1.0), ("s", "u", "b", 2.0), ("s", "v", "c", 0.0)]
    chosen = top_n(spark.createDataFrame(table, COLUMNS), ["shop", "user"], [F.desc("score"), "item"], 1)
    assert chosen.columns == ["shop", "user", "item", "score"]
    assert sorted(tuple(row) for row in chosen.collect()) == table[1:]
