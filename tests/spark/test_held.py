"""A frame held in memory: the same rows, planned once."""

from __future__ import annotations

from pyspark.errors.utils import is_debugging_enabled
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.transforms.held import held


def leaves(frame: DataFrame) -> list[str]:
    """The names of a plan's leaves."""
    found = frame._jdf.queryExecution().analyzed().collectLeaves()
    return [found.apply(place).nodeName() for place in range(found.size())]


def joined(frame: DataFrame) -> list[tuple[int, ...]]:
    """The frame beside the sizes of its own groups."""
    return sorted(tuple(row) for row in frame.join(frame.groupBy("third").count(), "third").collect())


def test_plans_begin_at_a_held_frame_and_give_the_same_rows(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(number, number % 3) for number in range(7)], "id BIGINT, third BIGINT")
    expected = joined(frame)
    kept = held(frame)
    assert leaves(kept.where("id > 1").join(kept.groupBy("third").count(), "third")) == ["InMemoryRelation"] * 2
    assert joined(kept) == expected
    spark.catalog.clearCache()
    assert joined(kept) == expected, "computed again"


def test_a_frame_in_order_is_held_and_can_be_joined_with_itself(spark: SparkSession) -> None:
    frame = spark.range(7).withColumn("third", F.col("id") % 3)
    assert joined(held(frame)) == joined(frame)


def test_columns_are_not_traced(spark: SparkSession) -> None:
    """A session asks the JVM once for an operation on a column, not a dozen times."""
    assert not is_debugging_enabled()
    assert spark.conf.get("spark.sql.dataFrameQueryContext.enabled") == "false"
