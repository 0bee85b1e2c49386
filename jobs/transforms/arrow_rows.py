"""Rows of pandas as Arrow, with the columns and types of a Spark DDL."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

TYPES = {
    "STRING": pa.string(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
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
