"""What belongs together: relations of items, and of each item its substitutes, complements, variants and successors."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import purchase_relations
from jobs.transforms.catalogue_relations import catalogue_edges, in_category, needs_of
from jobs.transforms.held import held
from jobs.transforms.offer import offered
from jobs.transforms.purchases import purchases, within
from jobs.transforms.related import facts, newer_than, related
from schemas import relations as relations_tables
from schemas.errors import ConfError
from schemas.run import RunContext

LISTED_DAYS = 28  # an item listed so lately gets substitutes without a sale


def relate_items(
    events: DataFrame,
    items: DataFrame,
    relations: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    *,
    run: RunContext,
    top_k: int = 10,
    window_days: int = 182,
    active_days: int = 84,
    min_buyers: int = 5,
) -> dict[str, DataFrame]:
    """features.relations, and gold.related_items: `top_k` items of each relation.

    Purchases of `window_days` count; an edge of items bought together or one after the other has at least `min_buyers`
    buyers. They are counted once a week, by the first run that has seen a new Sunday; the other runs take these edges.
    Substitutes are those of items sold in `active_days`, or listed in LISTED_DAYS, that have a category or a type. What
    lists may not show (jobs/transforms/offer.py) is related to no item. Without purchases, the catalogue's relations
    remain. Columns and titles are read again only if the catalogue has changed since the newest run.
    """
    if min(top_k, min_buyers) < 1 or not 1 <= active_days <= window_days:
        raise ConfError(
            "[jobs.relate_items] top_k and min_buyers must be at least 1, active_days at least 1 and at most "
            f"window_days; they are {top_k}, {min_buyers}, {active_days} and {window_days}"
        )
    how = purchase_relations.Counting(min_buyers)
    of_catalogue = held(catalogue_edges(items, relations, run.deployment))
    needs = needs_of(items, of_catalogue)
    bought = within(purchases(events, run.deployment), run.run_date, window_days)
    lines = purchase_relations.basket_lines(bought, needs)
    counts = purchase_relations.buyers_of(lines)
    past = relations.where(F.col("relation").isin(*relations_tables.OF_PURCHASES))
    is_due = bool(run.deployment.of_kind("events")) and purchase_relations.is_due(past, run.run_date)
    of_purchases = held(
        purchase_relations.counted(lines, counts, how) if is_due else purchase_relations.between(past, items)
    )
    of_items = in_category(needs, counts).unionByName(of_catalogue, allowMissingColumns=True)
    known = facts(of_items)
    listed = items.select("item_id", F.coalesce("listed_on", "described_on").alias("listed_on"))
    newer = held(newer_than(of_purchases, known, listed, LISTED_DAYS))
    between_items = of_purchases.unionByName(newer)
    edges = of_items.unionByName(between_items, allowMissingColumns=True)
    lately, newly = (F.lit(run.run_date - dt.timedelta(days=days)) for days in (active_days, LISTED_DAYS))
    sold = lines.where(F.col("event_date") > lately).select("item_id")
    subjects = sold.unionByName(listed.where(F.col("listed_on") > newly).select("item_id")).distinct()
    shown = offered(run.deployment, items, stock, blocked, run.run_date)
    rows = related(between_items, known, shown, subjects, top_k)
    tables = {relations_tables.RELATIONS: edges, relations_tables.RELATED_ITEMS: rows}
    return {
        table.name: frame.withColumn("run_date", F.lit(run.run_date)).select(*table.column_names)
        for table, frame in tables.items()
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("relate_items")
