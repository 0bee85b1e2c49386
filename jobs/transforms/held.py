"""A frame held in memory, planned once."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame


def held(frame: DataFrame) -> DataFrame:
    """The frame, persisted, as a leaf of the plans that are built on it.

    `persist` keeps the rows, not the plan: at each operation on the frame Spark analyses again what it was computed
    from, and copies that for each join of the frame with itself. That was half of the processor time of cleaning a few
    records. Rows that are lost are computed again, as of any persisted frame.
    """
    session: Any = frame.sparkSession
    # Of a new query: one that was planned before would not have the rows in memory.
    plan = frame.persist().select("*")._jdf.queryExecution().withCachedData()
    if plan.outputOrdering().nonEmpty():  # Spark 4.2 cannot join such a leaf with itself
        return frame
    dataset = session._jvm.org.apache.spark.sql.classic.Dataset
    return DataFrame(dataset.ofRows(session._jsparkSession, plan), session)
