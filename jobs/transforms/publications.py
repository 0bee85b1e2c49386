"""The rows of ops.publications of one night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas import ops
from schemas.contract import PARTITION
from schemas.derive import plain_ddl


def with_earlier(publications: DataFrame, run_date: dt.date, rows: Sequence[tuple[object, ...]]) -> DataFrame:
    """Rows of a new publication and the earlier ones of the same night, which are not current any more."""
    new = SparkSession.active().createDataFrame(rows, plain_ddl(ops.PUBLICATIONS))
    earlier = publications.where(F.col(PARTITION) == F.lit(run_date)).withColumn("current", F.lit(False))
    return new.unionByName(earlier)
