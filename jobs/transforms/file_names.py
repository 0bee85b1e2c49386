"""Values that a source takes from its files' names (`from_name`), such as the store that a file is of."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.source import Source


def values(source: Source, file: Column) -> dict[str, Column]:
    """Raw columns by name: the group of each expression in the file's path below landing; null where there is none."""
    found = {name: F.regexp_extract(file, pattern, 1) for name, pattern in source.from_name.items()}
    return {name: F.nullif(F.trim(value), F.lit("")) for name, value in found.items()}


def joined(source: Source, file: Column) -> Column:
    """All of these values as one text; null for a source that takes none."""
    if not source.from_name:
        return F.lit(None).cast("string")
    return F.concat_ws("\0", F.lit("file"), *(F.coalesce(value, F.lit("")) for value in values(source, file).values()))


def of_sources(sources: Mapping[str, Source]) -> Column:
    """`joined` of a row of bronze.files by its source; null for a source that takes none, and for any other."""
    text = F.lit(None).cast("string")
    for name, source in sources.items():
        if source.from_name:
            text = F.when(F.col("source") == name, joined(source, F.col("source_file"))).otherwise(text)
    return text
