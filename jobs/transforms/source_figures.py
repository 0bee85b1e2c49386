"""What the records of one source and day add up to: the figures that are held against the days before."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas import silver
from schemas.cleaned_days import LATE_DAYS

TYPES = {"events": silver.EVENT_TYPES, "ad_events": silver.AD_EVENT_TYPES}  # of the kinds that have an event_type


def by_source(judged: DataFrame, kind: str) -> DataFrame:
    """run_date, kept, rejected, identical_lines, very_late, `entries` (each figure's name and value) by day and source.

    One aggregate over judged records with their `source` and `_number` (log_days.py). An event type without a record
    has no figure.
    """
    sound = F.size("reasons") == 0
    wanted = {"rows": F.count("*"), "kept_share": F.avg(sound.cast("double"))}
    types = TYPES.get(kind, ())
    dated = "event_date" in silver.RECORDS_OF[kind].column_names
    is_very_late = sound & (F.date_diff("run_date", "event_date") > LATE_DAYS) if dated else F.lit(False)
    if "quantity" in silver.RECORDS_OF[kind].column_names:
        sale = sound & (F.col("event_type") == "purchase")
        wanted["locations"] = F.count_distinct(F.when(sale, F.col("location_id")))
        wanted["units"] = _total(F.when(sale, F.col("quantity")))
        wanted["money"] = _total(F.when(sale, F.col("quantity") * F.col("unit_price")))
    counts = {name: F.count_if(sound & (F.col("event_type") == name)) for name in types}
    figures = [_entry(name, value) for name, value in wanted.items()]
    figures += [F.when(value > 0, _entry(name, value)) for name, value in counts.items()]
    return judged.groupBy("run_date", "source").agg(
        F.count_if(sound).alias("kept"),
        F.count_if(~sound).alias("rejected"),
        F.count_if(F.col("_number") > 1).alias("identical_lines"),
        F.count_if(is_very_late).alias("very_late"),
        F.array_compact(F.array(*figures)).alias("entries"),
    )


def _entry(name: str, value: Column) -> Column:
    return F.struct(F.concat_ws(".", "source", F.lit(name)).alias("name"), value.cast("double").alias("value"))


def _total(values: Column) -> Column:
    return F.coalesce(F.sum(values).cast("double"), F.lit(0.0))
