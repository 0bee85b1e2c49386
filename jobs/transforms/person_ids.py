"""The id of each person, which outlives what is learned of them, and the changes from the run before.

A person's user_id is one of their own source ids: the one that was known first. So nothing is renamed where a shop
begins with identities, and an id that a person has never goes to another one.
"""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.persons import OF_SOURCE

CHANGE = ("from_user_id", "to_user_id")


def snapshot_before(persons: DataFrame, run_date: dt.date) -> DataFrame:
    """silver.persons of the newest date before run_date: source_user_id, before (the user_id), linked_on, method."""
    earlier = persons.where(F.col("run_date") < F.lit(run_date))
    newest = earlier.agg(F.max("run_date").alias("day")).first()
    day = newest["day"] if newest else None
    of_day = earlier.where(F.col("run_date") == F.lit(day)) if day else earlier.limit(0)
    return of_day.select(OF_SOURCE, F.col("user_id").alias("before"), "linked_on", F.col("method").alias("old_method"))


def with_person_ids(newest: DataFrame, groups: DataFrame, before: DataFrame, run_date: dt.date) -> DataFrame:
    """`newest`, a row a source id, with linked_on, before, old_method and user_id: the id of its person.

    groups: label and too_large of linked ids; the ids of a group that is too large stay with who they were with.
    A person keeps the id of the run before; of several, which are now one, that of the id known longest. Where a person
    falls apart, the part with the id of that name keeps it, and another part takes its own id that was known first.
    """
    own = newest.join(groups, OF_SOURCE, "left").join(before, OF_SOURCE, "left")
    as_before = F.concat(F.lit("was "), F.coalesce("before", OF_SOURCE))
    group = F.when(F.coalesce("too_large", F.lit(False)), as_before)
    known = own.withColumns(
        {
            "_group": F.coalesce(group, F.concat(F.lit("is "), F.coalesce("label", OF_SOURCE))),
            "linked_on": F.coalesce("linked_on", F.lit(run_date)),
        }
    )
    had_it = F.coalesce(F.col("before") == F.col(OF_SOURCE), F.lit(False))
    never = F.lit(dt.date.max)
    place = F.struct(~had_it, "linked_on", F.coalesce("registered_on", never), OF_SOURCE)
    oldest = F.min_by(OF_SOURCE, place).over(Window.partitionBy("_group"))
    return known.withColumn("user_id", oldest).drop("_group", "label")


def changes(known: DataFrame, before: DataFrame, run_date: dt.date, max_shared: int) -> DataFrame:
    """ops.person_changes from the run before.

    known: `with_person_ids`, with `methods` (what links the id to others) and `shared` (its keys that too many share).
    """
    now = known.select(OF_SOURCE, "user_id", "methods", "shared", F.lit(True).alias("has_record"))
    moved = (
        before.join(now, OF_SOURCE, "left")
        .withColumn("user_id", F.coalesce("user_id", OF_SOURCE))
        .where("before <> user_id")
        .withColumnsRenamed({"before": CHANGE[0], "user_id": CHANGE[1]})
    )
    # All of a person went where the id of that name went.
    head = F.col(OF_SOURCE) == F.col(CHANGE[0])
    rows = moved.groupBy(*CHANGE).agg(
        F.count("*").alias("user_ids"),
        F.max(head).alias("merged"),
        F.array_sort(F.array_distinct(F.flatten(F.collect_list("methods")))).alias("methods"),
        F.array_sort(F.array_distinct(F.flatten(F.collect_list("shared")))).alias("shared"),
        F.array_sort(F.collect_set("old_method")).alias("old"),
        F.bool_and(F.col("has_record").isNull()).alias("gone"),
    )
    return rows.select(
        F.lit(run_date).alias("run_date"),
        *CHANGE,
        F.when(F.col("merged"), "merge").otherwise("split").alias("kind"),
        "user_ids",
        _reason(max_shared).alias("reason"),
    )


def _reason(max_shared: int) -> Column:
    linked = F.concat(F.lit("linked by "), F.concat_ws(", ", "methods"))
    shared = F.concat(F.lit(f"over {max_shared} ids have the same "), F.concat_ws(", ", "shared"))
    lost = F.concat(F.lit("no records link it any more; before: "), F.concat_ws(", ", "old"))
    return (
        F.when(F.col("gone"), "there is no record of it any more")
        .when(F.col("merged") & (F.size("methods") > 0), linked)
        .when(F.size("shared") > 0, shared)
        .otherwise(lost)
    )
