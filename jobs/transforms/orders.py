"""Orders that are written again: a later file's lines of an order replace the earlier ones."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.reasons import because, only
from schemas.deployment import Deployment
from schemas.reason_codes import OWN, REPLACED
from schemas.silver import CANCELLED

AMOUNTS = ("quantity", "unit_price")
OF_AMOUNTS = (*(f"{name}_in_range" for name in AMOUNTS), "sale_complete")  # what is no sale need not have them


def rewrites_orders(deployment: Deployment) -> bool:
    """Whether any of its sources of events writes orders again (`replaces`)."""
    return any(source.replaces for source in deployment.of_kind("events").values())


def with_replaced(events: DataFrame, deployment: Deployment) -> DataFrame:
    """The events with replaced_on: the day from which a later version of the event's order is known; null: the last."""
    if not rewrites_orders(deployment):
        return events.withColumn("replaced_on", F.lit(None).cast("date"))
    versions = events.where("order_id IS NOT NULL").select("order_id", "run_date").distinct()
    next_day = F.lead("run_date").over(Window.partitionBy("order_id").orderBy("run_date")).alias("replaced_on")
    replaced = versions.select("order_id", "run_date", next_day).where("replaced_on IS NOT NULL")
    return events.join(F.broadcast(replaced), ["order_id", "run_date"], "left")


def judged_as_orders(judged: DataFrame, past: DataFrame) -> DataFrame:
    """The records, judged by the versions of their orders; `past` is silver.events.

    A line of an order that a later file of the same day has too is rejected. Lines that the deployment's own rules
    reject, and none of the contract's but those of amounts, stay as `cancelled` without amounts out of range, where the
    order was written on an earlier day: they record that it is no sale now.
    """
    order, is_order = F.coalesce("order_id", "event_id"), F.col("order_id").isNotNull()
    newest = F.max("source_file").over(Window.partitionBy("run_date", order))
    replaced = F.when(is_order & (F.col("source_file") < newest), only(because(REPLACED))).otherwise(only())
    written_here = F.min(F.when(F.size("reasons") == 0, F.col("run_date"))).over(Window.partitionBy(order))
    elsewhere = past.where("order_id IS NOT NULL").join(judged.select("run_date").distinct(), "run_date", "left_anti")
    written = elsewhere.groupBy("order_id").agg(F.min("run_date").alias("_written"))
    codes = F.col("reasons.code")
    own = F.exists(codes, lambda code: code.startswith(OWN))
    own &= F.forall(codes, lambda code: code.startswith(OWN) | code.isin(*OF_AMOUNTS))
    cancelled = is_order & own & (F.least("_written", written_here) < F.col("run_date"))
    marked = judged.join(written, "order_id", "left").withColumn("_cancelled", F.coalesce(cancelled, F.lit(False)))
    reasons = F.when(F.col("_cancelled"), only()).otherwise(F.col("reasons"))
    event_type = F.when(F.col("_cancelled"), F.lit(CANCELLED)).otherwise(F.col("event_type"))
    off = {name: F.col("_cancelled") & F.array_contains(codes, f"{name}_in_range") for name in AMOUNTS}
    amounts = {name: F.when(~off[name], F.col(name)) for name in AMOUNTS}
    decided = marked.withColumns({"reasons": F.concat(reasons, replaced), "event_type": event_type} | amounts)
    return decided.drop("_written", "_cancelled")
