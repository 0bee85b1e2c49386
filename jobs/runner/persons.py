"""The one place where a user_id of a source becomes that of its person, and back for an erasure.

Silver keeps the ids of the sources: a link that is found wrong, or an id that is erased, changes no row there, and a
run of an earlier date reads the links that were known then. What intake reads is as the sources have it.
"""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner.lake import Lake
from jobs.transforms.erased_lines import of_kind
from jobs.transforms.mapping import mapped
from jobs.transforms.pseudonyms import key_of, pseudonyms
from schemas import TABLES, persons

USER = "user_id"
KIND = "identities"
# Tables with a user_id of a source. What jobs computed from them has the ids of persons.
OF_SOURCES = frozenset(
    name
    for name, table in TABLES.items()
    if table.layer == "silver" and USER in table.column_names and table is not persons.PERSONS
)


def resolved(lake: Lake, table: str, frame: DataFrame, run_date: dt.date) -> DataFrame:
    """The rows of a table with each user_id of a source replaced by its person's, as known on run_date.

    The frame itself where the table has no such id, or nothing is known of persons by then. Ids without an identity
    record stay as they are.
    """
    links = table in OF_SOURCES and KIND in lake.deployment.kinds
    day = lake.newest_day(persons.PERSONS.name, run_date) if links else None
    if day is None:
        return frame
    known = lake.of_days(persons.PERSONS.name, [day]).where(f"{USER} <> {persons.OF_SOURCE}")
    renamed = known.select(F.col(persons.OF_SOURCE).alias(USER), F.col(USER).alias("_person"))
    joined = frame.join(renamed, USER, "left").withColumn(USER, F.coalesce("_person", USER))
    return joined.select(*frame.columns)


def others_of(lake: Lake, ids: list[str]) -> list[str]:
    """The other ids, as landed, of the persons of some ids (as landed), by the newest run; none without identities."""
    name, key = persons.PERSONS.name, key_of(lake.deployment)
    day = lake.newest_day(name, dt.date.max)
    if KIND not in lake.deployment.kinds or day is None:
        return []
    logs = {"bronze.records": lake.frame("bronze.records", lake.files("bronze.records"))}
    landed = mapped(of_kind(logs, lake.deployment, KIND), lake.deployment, KIND).select(F.col(USER).alias("landed"))
    stored = pseudonyms(key.read, F.col("landed")) if key else F.col("landed")
    named = landed.where("landed IS NOT NULL").distinct().withColumn(persons.OF_SOURCE, stored)
    linked = lake.of_days(name, [day]).select(persons.OF_SOURCE, USER)
    of_persons = named.join(linked, persons.OF_SOURCE, "inner")
    given = lake.spark.createDataFrame([(each,) for each in ids], "landed STRING")
    theirs = of_persons.join(F.broadcast(given), "landed", "left_semi").select(USER).distinct()
    found = of_persons.join(theirs, USER, "left_semi").select("landed").collect()
    return sorted({row["landed"] for row in found} - set(ids))
