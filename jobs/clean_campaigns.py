"""Campaign records and the items of campaigns into one row per campaign, and the rejected ones, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import Catalogue, catalogue_of, with_item_verdict
from jobs.transforms.deduplicate import newest
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import REASONS, because, only, rejected, sound
from schemas import silver
from schemas.deployment import Deployment
from schemas.reason_codes import CAMPAIGN_UNKNOWN
from schemas.run import RunContext

DESCRIBED = ("kind", "starts_on", "ends_on", "items", "budget", "max_audience")


def clean_campaigns(
    bronze_campaigns: DataFrame,
    bronze_campaign_items: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.campaigns, one row per campaign known up to run_date, with its items; silver.rejected_campaigns.

    Of several records of a campaign the newest day's counts, of that day's the first by file and line. Its items are
    those that its own record lists and those of the source campaign_items. Rejected are records that cannot be read or
    break the contract (a campaign that ends before it starts) or a rule of the deployment, and records of
    campaign_items about an item that is not in silver.items or a campaign that is not sound. A campaign whose own
    record lists an unknown item is accepted without it, since one record cannot be both accepted and rejected; the
    item is listed in unknown_items, and a check warns of it.
    """
    none = F.array().cast("array<string>")
    catalogue = catalogue_of(run.deployment, items, rejected_items)
    canonical = completed(mapped(bronze_campaigns, run.deployment, "campaigns"), silver.CAMPAIGNS, DESCRIBED)
    canonical = canonical.withColumn("items", F.coalesce("items", none))
    judged = canonical.withColumn("reasons", all_reasons(silver.CAMPAIGNS, ("campaign_id", *DESCRIBED))).transform(held)
    of_sound = sound(judged)
    parts = _campaign_items(bronze_campaign_items, catalogue, of_sound, run.deployment).transform(held)
    named = sound(parts).groupBy("campaign_id")
    listed = named.agg(F.collect_set("item_id").alias("more"), F.count("*").alias("item_records"))
    described = newest(of_sound, "campaign_id").transform(held)
    campaigns = (
        described.join(listed, "campaign_id", "left")
        .join(_own_items(described, catalogue), "campaign_id", "left")
        .select(
            F.lit(run.run_date).alias("run_date"),
            "campaign_id",
            "kind",
            "starts_on",
            "ends_on",
            F.array_sort(F.array_union(F.coalesce("known", none), F.coalesce("more", none))).alias("items"),
            F.coalesce("unknown", none).alias("unknown_items"),
            "budget",
            "max_audience",
            F.col("run_date").alias("described_on"),
            (F.col("record_count") + F.coalesce("item_records", F.lit(0))).alias("record_count"),
        )
    )
    refused, of_parts = (
        rejected(frame.withColumn("run_date", F.lit(run.run_date)), silver.REJECTED_CAMPAIGNS.column_names)
        for frame in (judged, parts)
    )
    return {"silver.campaigns": campaigns, "silver.rejected_campaigns": refused.unionByName(of_parts)}


def _own_items(campaigns: DataFrame, catalogue: Catalogue | None) -> DataFrame:
    """campaign_id, known, unknown: the items of its own record, by whether they are in the catalogue; none, no row."""
    own = campaigns.select("campaign_id", F.explode(F.array_compact("items")).alias("item_id"))
    listed = (own.select("item_id").distinct() if catalogue is None else catalogue[0]).select("item_id")
    judged = own.join(listed.withColumn("_known", F.lit(True)), "item_id", "left")
    item, known = F.col("item_id"), F.col("_known").isNotNull()
    return judged.groupBy("campaign_id").agg(
        F.collect_set(F.when(known, item)).alias("known"),
        F.array_sort(F.collect_set(F.when(~known, item))).alias("unknown"),
    )


def _campaign_items(
    records: DataFrame, catalogue: Catalogue | None, campaigns: DataFrame, deployment: Deployment
) -> DataFrame:
    """campaign_id, item_id and `reasons`, one row per record of the source campaign_items; empty without it."""
    table = silver.CAMPAIGN_ITEMS
    if not deployment.of_kind("campaign_items"):
        others = ["raw STRING", "source_file STRING", "source_row BIGINT", f"reasons {REASONS}"]
        return records.sparkSession.createDataFrame([], ", ".join(["campaign_id STRING", "item_id STRING", *others]))
    canonical = mapped(records, deployment, "campaign_items")
    known = campaigns.select("campaign_id", F.lit(True).alias("_known")).distinct()
    joined = with_item_verdict(canonical, catalogue).join(F.broadcast(known), "campaign_id", "left")
    of_none = F.col("_known").isNull() & F.col("campaign_id").isNotNull()
    unknown = F.when(of_none, only(because(CAMPAIGN_UNKNOWN))).otherwise(only())
    return joined.withColumn(
        "reasons", F.concat(all_reasons(table, ("campaign_id", "item_id")), "_item_reasons", unknown)
    )


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_campaigns")
