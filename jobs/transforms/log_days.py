"""Cleaning a log day by day: sound records, rejected ones with their reasons, and the ledger of the days."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms import ledger, orders, pseudonyms, returns, source_figures
from jobs.transforms.catalogue import Catalogue, with_item_verdict
from jobs.transforms.held import held
from jobs.transforms.ledger import Log
from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import because, has_code, only, rejected, sound
from jobs.transforms.shop_time import day_of
from schemas import TABLES, silver
from schemas.deployment import Deployment
from schemas.reason_codes import DUPLICATE, QUERY_PERSONAL, REPEATED
from schemas.rejects import most_rejected_sql
from schemas.searched import PERSONAL

TEXT = ("raw", "file_values")  # what identifies a record without an event_id; a null is left out of its hash


def split(
    log: Log,
    records: DataFrame,
    files: DataFrame,
    past: DataFrame,
    deployment: Deployment,
    catalogue: Catalogue | None = None,
) -> dict[str, DataFrame]:
    """The tables of a log: silver.<kind>, silver.rejected_<kind> and its ledger, each record on the day of its file.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, names an item that
    is not in the `catalogue` (if there is one), or repeats another record of that day (sound records first, then by
    file and line), or a sound record of an earlier day's files (`past` is silver.<kind>). A record without an event_id
    is identified by its text, what `from_name` takes of its file's name and its number among the file's equal lines.
    """
    table = silver.RECORDS_OF[log.kind]
    canonical = mapped(records, deployment, log.kind)
    if "event_id" in table.column_names:
        own_id = F.col("event_id") if "event_id" in canonical.columns else F.lit(None).cast("string")
        by_text = {"_by_text": own_id.isNull(), "event_id": F.coalesce(own_id, F.md5(F.concat_ws("\0", *TEXT)))}
        canonical = canonical.withColumns(by_text)
    if "event_date" in table.column_names:
        canonical = canonical.withColumn("event_date", day_of("occurred_at", deployment.clock))
    known = with_item_verdict(completed(canonical, table, table.column_names), catalogue)
    # Without a moment there is no date either; that counts as one fault, not two.
    if "event_date" in table.column_names:
        known = known.withColumn("event_date", F.coalesce("event_date", "run_date"))
    unsound = F.concat(all_reasons(table, table.column_names), "_item_reasons", _personal(canonical))
    rejecting = [name for name, source in deployment.of_kind(log.kind).items() if source.identical_lines == "reject"]
    judged = known.withColumn("reasons", unsound)
    if log is ledger.EVENTS and orders.rewrites_orders(deployment):
        judged = orders.judged_as_orders(judged, past)
    numbered = _numbered(judged, rejecting)
    first = pseudonyms.hidden(_first_of_the_day(log, numbered), deployment)  # once they are checked
    final = _without_repeats(log, held(first), past)
    refused = TABLES[f"silver.rejected_{log.kind}"]
    if "query" in canonical.columns:  # what is personal stays in bronze alone
        final = final.withColumn("raw", F.when(has_code("reasons", QUERY_PERSONAL.code), "").otherwise(F.col("raw")))
    return {
        table.name: sound(final).select(*table.column_names),
        refused.name: rejected(final, refused.column_names),
        log.ledger: _cleaned_days(log, files, final, past, deployment),
    }


def _personal(canonical: DataFrame) -> Column:
    """REASONS: of a query with an e-mail address or a telephone number, that it has; none where no source has any."""
    if "query" not in canonical.columns:
        return only()
    return only(F.when(F.col("query").rlike(PERSONAL), because(QUERY_PERSONAL)))


def _numbered(judged: DataFrame, rejecting: Sequence[str]) -> DataFrame:
    """`_number`: of a record without an event_id its number among the equal lines of its file, from 1; else 1.

    `_copy`: the same, but 1 in the sources of `rejecting`, where equal lines are one record.
    """
    if "_by_text" not in judged.columns:
        return judged.withColumns({"_number": F.lit(1), "_copy": F.lit(1)})
    equal = Window.partitionBy("run_date", "event_id", "source_file").orderBy("source_row")
    number = F.when(F.col("_by_text"), F.row_number().over(equal)).otherwise(1)
    numbered = judged.repartition("run_date", "event_id").withColumn("_number", number)  # the next window's shuffle too
    return numbered.withColumn("_copy", F.when(F.col("source").isin(*rejecting), 1).otherwise(F.col("_number")))


def _first_of_the_day(log: Log, numbered: DataFrame) -> DataFrame:
    """The records; of a day's records with one identity each but the first is rejected, sound records first.

    The first of equal lines has the hash of its text as its event_id, as it had before lines were numbered.
    """
    alike = [name for name in log.identity if name != "event_date"]
    order = Window.partitionBy("run_date", *alike, "_copy").orderBy(
        (F.size("reasons") > 0).cast("int"), "source_file", "source_row"
    )
    again = F.when(F.row_number().over(order) > 1, only(because(DUPLICATE))).otherwise(only())
    first = numbered.withColumn("reasons", F.concat("reasons", again))
    if "event_id" not in alike:
        return first
    of_a_copy = F.md5(F.concat_ws("\0", *TEXT, "_copy"))  # no record that can be read has a NUL
    return first.withColumn("event_id", F.when(F.col("_copy") > 1, of_a_copy).otherwise(F.col("event_id")))


def _without_repeats(log: Log, judged: DataFrame, past: DataFrame) -> DataFrame:
    """The records; a sound late record that repeats a sound one of an earlier day's files is rejected.

    Only a late event can repeat one of an earlier day, whose files hold nothing from later days. So `past` is read from
    the day of the oldest late record on, and not at all without late records. Promotions announced several times before
    they start, and orders of a source that `replaces` them, are not rejected here; their readers take the last version.
    """
    identity = list(log.identity)
    never_replaced = F.col("order_id").isNull() if "order_id" in judged.columns else F.lit(True)
    sound_records = sound(judged).where(never_replaced).select(*identity, "run_date")
    late = sound_records.where(F.col(log.dated) < F.col("run_date"))
    oldest = late.agg(F.min(log.dated).alias("day")).collect()[0]["day"]
    if oldest is None:
        return judged
    own_days = judged.select("run_date").distinct()
    elsewhere = past.where(F.col("run_date") >= F.lit(oldest)).join(own_days, "run_date", "left_anti")
    everywhere = sound_records.unionByName(elsewhere.select(*identity, "run_date"))
    wanted = late.select(*(F.col(name).alias(f"_{name}") for name in identity)).distinct()
    # A promotion everywhere has no location: null is the same as null.
    same = reduce(Column.__and__, (F.col(name).eqNullSafe(F.col(f"_{name}")) for name in identity))
    occurrences = everywhere.join(wanted, same, "inner").groupBy(*wanted.columns)
    first = occurrences.agg(F.min("run_date").alias("_first"))
    again = (F.size("reasons") == 0) & never_replaced & (F.col("_first") < F.col("run_date"))
    return held(
        judged.join(first, same, "left")
        .withColumn("reasons", F.when(again, only(because(REPEATED))).otherwise(F.col("reasons")))
        .drop("_first", *wanted.columns)
    )


def _cleaned_days(log: Log, files: DataFrame, judged: DataFrame, past: DataFrame, deployment: Deployment) -> DataFrame:
    """Rows of the ledger: one for each day that has files.

    rows_in comes from bronze.files, not from the records read here: if two runs read a day's files at once, one before
    and one after another file landed, the file list of one may be stored with the records of the other.
    """
    sources = list(deployment.of_kind(log.kind))
    counted = files.where(F.col("source").isin(sources) & F.col("duplicate_of").isNull())
    rows_in = counted.groupBy("run_date").agg(F.sum("record_count").alias("rows_in"))
    split_by_day = (
        source_figures.by_source(judged, log.kind)
        .groupBy("run_date")
        .agg(
            F.sum("kept").alias("rows_kept"),
            F.sum("rejected").alias("rows_rejected"),
            F.sum("identical_lines").alias("identical_lines"),
            F.sum("very_late").alias("very_late"),
            F.map_from_entries(F.flatten(F.collect_list("entries"))).alias("figures"),
        )
    )
    counts, share = ("rows_in", "rows_kept", "rows_rejected"), deployment.max_rejected_share(log.kind)
    days = ledger.fingerprints(files, sources)
    for counts_by_day in (rows_in, split_by_day, _counted(judged)):
        days = days.join(counts_by_day, "run_date", "left")
    more: list[str] = []
    if log is ledger.EVENTS:
        days = days.join(_returns_unmatched(judged, past, deployment), "run_date", "left")
        more += ["returns_unmatched"]
    if "event_date" in silver.RECORDS_OF[log.kind].column_names:
        more += ["very_late"]
    return days.select(
        "run_date",
        "fingerprint",
        *(F.coalesce(name, F.lit(0)).cast("bigint").alias(name) for name in counts),
        *(F.coalesce(name, F.create_map().cast("map<string,bigint>")).alias(name) for name in ("reasons", "codes")),
        F.lit(share).alias("max_rejected_share"),
        F.expr(most_rejected_sql(f"{share}D", "coalesce(rows_in, 0)", deployment.min_rejected(log.kind))).alias(
            "max_rejected"
        ),
        "figures",
        *(F.coalesce(name, F.lit(0)).cast("bigint").alias(name) for name in ("identical_lines", *more)),
    )


def _returns_unmatched(judged: DataFrame, past: DataFrame, deployment: Deployment) -> DataFrame:
    """run_date, returns_unmatched of the days that are cleaned, from all events that are known now.

    Only events of items returned on these days are read: a return undoes purchases of its own item.
    """
    columns = [name for name in past.columns if name in judged.columns]
    elsewhere = past.join(judged.select("run_date").distinct(), "run_date", "left_anti")
    known = sound(judged).select(*columns).unionByName(elsewhere.select(*columns))
    current = orders.with_replaced(known, deployment).where("replaced_on IS NULL")
    returned = sound(judged).where("event_type = 'return'").select("item_id").distinct()
    return returns.unmatched(
        current.join(F.broadcast(returned), "item_id", "left_semi"), deployment.returns_within_days
    )


def _counted(judged: DataFrame) -> DataFrame:
    """run_date and the maps `reasons` and `codes`: how many of the day's records have each."""

    def each(name: str, part: str) -> Column:
        distinct = F.array_distinct(F.col(f"reasons.{part}"))
        return F.transform(distinct, lambda value: F.struct(F.lit(name).alias("of"), value.alias("value")))

    entries = F.concat(each("reasons", "sentence"), each("codes", "code"))
    counts = (
        judged.where("size(reasons) > 0")
        .select("run_date", F.explode(entries).alias("has"))
        .groupBy("run_date", "has")
        .count()
    )

    def total(name: str) -> Column:
        counted = F.when(F.col("has.of") == name, F.struct("has.value", "count"))
        return F.map_from_entries(F.collect_list(counted)).alias(name)

    return counts.groupBy("run_date").agg(total("reasons"), total("codes"))
