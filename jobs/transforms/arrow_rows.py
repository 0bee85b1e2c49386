"""Rows of pandas as Arrow, with the columns and types of a Spark DDL; and what one task does with all of them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

TYPES = {
    "STRING": pa.string(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DATE": pa.date32(),
    "ARRAY<STRING>": pa.list_(pa.string()),
}


def schema(ddl: str) -> pa.Schema:
    """The schema of `name TYPE, name TYPE`, names in backquotes or not."""
    fields = (column.split() for column in ddl.split(", "))
    return pa.schema([(name.strip("`"), TYPES[kind]) for name, kind in fields])


def no_rows(ddl: str) -> pd.DataFrame:
    """A frame of these columns and types without a row."""
    empty: pd.DataFrame = schema(ddl).empty_table().to_pandas()
    return empty


def table(rows: pd.DataFrame, ddl: str) -> pa.Table:
    """The rows' columns that the DDL names, in its order and of its types. KeyError where one is missing."""
    return pa.Table.from_pandas(rows, schema(ddl), preserve_index=False)


def in_one_task(rows: DataFrame, act: Callable[[pd.DataFrame], pa.Table], ddl: str) -> DataFrame:
    """The rows of `act` on all rows together, in one executor's memory; none where there are no rows."""
    return rows.groupBy(F.lit(0).alias("all")).applyInArrow(lambda table: act(table.to_pandas()), ddl)
