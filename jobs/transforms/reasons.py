"""Reasons of records as a column: array<struct<code, sentence>>, empty for a sound record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.contract import Check
from schemas.reason_codes import Reason, of_check

REASONS = "array<struct<code:string,sentence:string>>"


def because(reason: Reason, why: Column | None = None) -> Column:
    """One reason as a struct; `why` ends its sentence."""
    sentence = F.lit(reason.sentence)
    if why is not None:
        sentence = F.concat(sentence, why)
    return F.struct(F.lit(reason.code).alias("code"), sentence.alias("sentence"))


def only(*reasons: Column) -> Column:
    """These reasons, of which some may be null, as `REASONS`.

    Most records have none, and no array is built for them: what goes through an array runs without generated code.
    """
    none = F.array().cast(REASONS)
    if not reasons:
        return none
    return F.when(F.coalesce(*reasons).isNull(), none).otherwise(F.array_compact(F.array(*reasons)).cast(REASONS))


def reasons_of(checks: Iterable[Check]) -> Column:
    """For one row, the reasons of every check that it breaks: `REASONS`, empty for a good row."""
    broken = [F.when(~F.coalesce(F.expr(c.sql), F.lit(True)), because(of_check(c))) for c in checks if c.sql]
    return only(*broken)


def has_code(reasons: Column | str, code: str) -> Column:
    """Whether one of `REASONS` has this code."""
    return F.exists(reasons, lambda reason: reason["code"] == code)


def sound(judged: DataFrame) -> DataFrame:
    """The records without a reason."""
    return judged.where("size(reasons) = 0")


def rejected_once(judged: DataFrame) -> DataFrame:
    """The records with a reason, with `codes` and `reasons`; a record repeated on several days is one row, the newest.

    `record_count` is the number of its records. Equal lines of one day stay separate rows: the first of one day matches
    the first of another.
    """
    alike = ("item_id", "raw", "source", "reasons")
    nth = F.row_number().over(Window.partitionBy("run_date", *alike).orderBy("source_file", "source_row"))
    refused = judged.where("size(reasons) > 0").withColumn("_nth", nth)
    place = F.struct(F.unix_date("run_date").alias("day"), "source_file", "source_row")
    latest = refused.groupBy(*alike, "_nth").agg(F.max(place).alias("_at"), F.count("*").alias("record_count"))
    return latest.withColumns(_split()).select("*", "_at.source_file", "_at.source_row")


def rejected(judged: DataFrame, columns: Sequence[str]) -> DataFrame:
    """These columns of the records with a reason: `codes` and `reasons` are arrays of text, in the same order."""
    return judged.where("size(reasons) > 0").withColumns(_split()).select(*columns)


def _split() -> dict[str, Column]:
    """The codes and the sentences of `reasons`, an array each."""
    return {"codes": F.col("reasons.code"), "reasons": F.col("reasons.sentence")}
