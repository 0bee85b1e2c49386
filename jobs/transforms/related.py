"""features.relations into gold.related_items: substitutes, complements, variants and newer items, with their reasons.

Nothing but the edges decides, and which items may be shown: scores and reasons can be computed again from them.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.top_n import top_n
from schemas.relations import COMPLEMENT, NEED, NEWER, SUBSTITUTE, VARIANT

FACTS = ("need", "maker", "type", "size", "product")
POPULAR = 30  # items of a need that are candidates for each of its items
PRIOR = 50.0  # buyers who changed that popularity counts for
# Buyers with both in one basket, for each who changed, above which they are no substitutes. A rule at 1 lost 8 % of the
# hits of bench/substitutes.py, for what a category's buyers have in one basket is what they take for each other.
TOGETHER = 8
SHARED = ("maker", "type", "size", "colours", "materials")  # named in reasons; in a score they lost hits
FEWEST_SHOWN = 5  # buyers: a smaller number in a reason would show what a few of them buy
ROWS = ("item_id", "relation", "rank", "related_item_id", "score", "reason")


def facts(edges: DataFrame) -> DataFrame:
    """A row per item: item_id, FACTS, share and buyers of its need, colours, materials, same_as (the first id).

    From the edges that the catalogue gives alone. Held.
    """

    def objects(relation: str) -> Column:
        return F.when(F.col("relation") == relation, F.col("object"))

    one = {"need": NEED, "maker": "made_by", "type": "of_type", "size": "has_size", "product": "variant_of"}
    several = {"colours": "has_colour", "materials": "has_material"}
    of_need = F.col("relation") == NEED
    return held(
        edges.groupBy(F.col("subject").alias("item_id")).agg(
            *(F.max(objects(relation)).alias(name) for name, relation in one.items()),
            *(F.array_sort(F.collect_set(objects(relation))).alias(name) for name, relation in several.items()),
            F.max(objects("same_as")).alias("same_as"),
            F.coalesce(F.max(F.when(of_need, F.col("weight"))), F.lit(0.0)).alias("share"),
            F.coalesce(F.max(F.when(of_need, F.col("support"))), F.lit(0)).alias("buyers"),
        )
    )


def related(edges: DataFrame, known: DataFrame, shown: DataFrame, subjects: DataFrame, top_k: int) -> DataFrame:
    """ROWS of gold.related_items, `top_k` of each relation and item.

    edges: of purchases and newer_than; known: `facts`; shown: item_id of items that lists may show; subjects: item_id
    of those that get substitutes. The other relations are those of all items that have the edges.
    """
    offer = held(known.join(shown.select("item_id"), "item_id", "left_semi"))
    of_subjects = known.join(subjects.select("item_id"), "item_id", "left_semi")
    ranked = [_substitutes(edges, of_subjects, offer, top_k).withColumn("relation", F.lit(SUBSTITUTE)).select(*ROWS)]
    others = {
        COMPLEMENT: _complements(edges, known, offer),
        VARIANT: _variants(known, offer, top_k),
        NEWER: _newer(edges, known, offer),
    }
    for relation, rows in others.items():
        first = top_n(rows, ["item_id"], [F.desc("score"), "related_item_id"], top_k, rank="rank")
        ranked.append(first.withColumn("relation", F.lit(relation)).select(*ROWS))
    return reduce(DataFrame.unionByName, ranked)


def _of_other(frame: DataFrame) -> DataFrame:
    """The columns of `facts` of the related item: item_id is related_item_id, the others end in `_2`."""
    names = {name: f"{name}_2" for name in frame.columns if name != "item_id"}
    return frame.withColumnsRenamed({**names, "item_id": "related_item_id"})


def _pairs(edges: DataFrame, known: DataFrame, offer: DataFrame) -> DataFrame:
    """Edges between items as item_id, related_item_id and the facts of both."""
    named = edges.withColumnsRenamed({"subject": "item_id", "object": "related_item_id"})
    return named.join(known, "item_id", "inner").join(_of_other(offer), "related_item_id", "inner")


def _same_product() -> Column:
    """Whether both items of a pair are one product: variants, or ids of one thing."""
    return F.coalesce(F.col("product") == F.col("product_2"), F.lit(False))


def _substitutes(edges: DataFrame, subjects: DataFrame, offer: DataFrame, top_k: int) -> DataFrame:
    """The popular items of the need, and those that buyers changed to, by the probability of a change to each; ranked.

    score = (n_xy + PRIOR q_xy) / (n_x + PRIOR): n_xy buyers changed from the item to this one, n_x to any; q_xy is the
    popularity in the need over the sum of all candidates'. What they have in one basket beyond chance, and TOGETHER
    times as many as change, is no substitute.
    """
    pairs = _candidates(edges, subjects, offer)
    apart = pairs.where(~_same_product() & (F.col("together") <= TOGETHER * F.col("changed")))
    all_of_item = F.sum("share_2").over(Window.partitionBy("item_id"))
    likely = F.coalesce(F.try_divide(F.col("share_2"), all_of_item), F.lit(0.0))
    score = F.round((F.col("changed") + PRIOR * likely) / (F.col("leaving") + PRIOR), 9)
    scored = apart.withColumn("score", score).where("score > 0")
    first = top_n(scored, ["item_id"], [F.desc("score"), "related_item_id"], top_k, rank="rank")
    listed = first.select("item_id", "related_item_id", "rank", "score", "changed", "leaving")
    both = listed.join(subjects, "item_id", "inner").join(_of_other(offer), "related_item_id", "inner")
    return both.withColumn("reason", _why_substitute())


def _candidates(edges: DataFrame, subjects: DataFrame, offer: DataFrame) -> DataFrame:
    """item_id, related_item_id, product, product_2, share_2 and the buyers of each pair: changed, together, leaving.

    leaving: buyers who changed from the item to any, each counted once an item. No more columns: there are POPULAR rows
    for each item, of which a list keeps few.
    """
    few = ("item_id", "need", "product", "share")
    narrow, of_need = subjects.select(*few), offer.where("need IS NOT NULL").select(*few)
    popular = top_n(of_need, ["need"], [F.desc("share"), "item_id"], POPULAR)
    changes = edges.where("relation = 'instead_of'")
    counts = {"changed": "instead_of", "together": "bought_with"}
    counted = (
        edges.where(F.col("relation").isin(*counts.values()))
        .groupBy(F.col("subject").alias("item_id"), F.col("object").alias("related_item_id"))
        .agg(*(F.max(F.when(F.col("relation") == by, F.col("support"))).alias(name) for name, by in counts.items()))
    )
    all_changes = F.round(F.max(F.col("support") / F.col("weight"))).alias("leaving")
    leaving = changes.groupBy(F.col("subject").alias("item_id")).agg(all_changes)
    by_need = narrow.join(_of_other(popular), F.col("need") == F.col("need_2"), "inner")
    others = changes.select(F.col("subject").alias("item_id"), F.col("object").alias("related_item_id"))
    unpopular = others.join(popular.select(F.col("item_id").alias("related_item_id")), "related_item_id", "left_anti")
    by_change = unpopular.join(narrow, "item_id", "inner").join(_of_other(of_need), "related_item_id", "inner")
    candidates = by_need.unionByName(by_change.where("need = need_2")).where("item_id <> related_item_id")
    pairs = candidates.join(counted, ["item_id", "related_item_id"], "left").join(leaving, "item_id", "left")
    return pairs.fillna(0, ["changed", "together", "leaving"])


def _shares(name: str) -> Column:
    one, other = F.col(name), F.col(f"{name}_2")
    same = one == other
    return F.coalesce(same, F.lit(False)) if name not in ("colours", "materials") else same & (F.size(one) > 0)


def _why_substitute() -> Column:
    by = F.format_string("Bought instead by %d of %.0f buyers who changed", "changed", "leaving")
    few = F.lit(f"Bought instead by fewer than {FEWEST_SHOWN} buyers")
    how = (
        F.when(F.col("changed") >= FEWEST_SHOWN, by)
        .when(F.col("changed") > 0, few)
        .otherwise(F.lit("Among the most bought of its category"))
    )
    return _cut(how, F.lit("; same category "), F.col("need"), *(_also(name) for name in SHARED))


def _also(name: str) -> Column:
    value = F.array_join(name, ", ") if name in ("colours", "materials") else F.col(name)
    return F.when(_shares(name), F.concat(F.lit(f", {name.removesuffix('s')} "), value)).otherwise(F.lit(""))


def _complements(edges: DataFrame, known: DataFrame, offer: DataFrame) -> DataFrame:
    """Items of another need and type that are in one basket, or bought next, more than chance explains; by the lift."""
    together = edges.where(F.col("relation").isin("bought_with", "bought_after"))
    best = together.groupBy("subject", "object").agg(
        F.max_by(F.struct("relation", "weight", "support"), F.struct("weight", "relation")).alias("_best")
    )
    named = best.select("subject", "object", F.col("_best.relation").alias("by"), "_best.weight", "_best.support")
    pairs = _pairs(named, known, offer)
    same = F.coalesce(F.col("need") == F.col("need_2"), F.lit(False))
    other = pairs.where(~same & ~_shares("type") & ~_same_product())
    where = F.when(F.col("by") == "bought_with", "In one basket").otherwise("First bought on the buyer's next day")
    reason = F.format_string(
        "%s %.1f times as often as chance explains, or more; %d buyers", where, "weight", "support"
    )
    return other.select("item_id", "related_item_id", F.col("weight").alias("score"), reason.alias("reason"))


def _variants(known: DataFrame, offer: DataFrame, top_k: int) -> DataFrame:
    """Other items of the item's product, by their buyers; the first `top_k` + 1 of a product are paired with each."""
    of_product = offer.where("product IS NOT NULL")
    first = top_n(of_product, ["product"], [F.desc("buyers"), F.desc("share"), "item_id"], top_k + 1)
    pairs = known.where("product IS NOT NULL").join(_of_other(first), F.col("product") == F.col("product_2"), "inner")
    others = pairs.where("item_id <> related_item_id")
    name = F.coalesce("same_as", "item_id") == F.coalesce("same_as_2", "related_item_id")
    reason = F.when(name, "The same under another id").otherwise(
        _cut(F.lit("Variant of the product"), _differs("size"), _differs("colours"))
    )
    return others.select("item_id", "related_item_id", F.col("share_2").alias("score"), reason.alias("reason"))


def _differs(name: str) -> Column:
    one, other = (F.array_join(each, ", ") if name == "colours" else F.col(each) for each in (f"{name}_2", name))
    said = F.concat(F.lit(f"; {name.removesuffix('s')} "), one)
    known = F.coalesce(one != other, one.isNotNull()) & (F.length(one) > 0)
    return F.when(known, said).otherwise(F.lit(""))


def _newer(edges: DataFrame, known: DataFrame, offer: DataFrame) -> DataFrame:
    """Items listed later that take over: edges newer_than, whose subject is the newer item."""
    follows = edges.where("relation = 'newer_than'").select(
        F.col("object").alias("subject"), F.col("subject").alias("object"), "weight", F.col("source").alias("by")
    )
    later = F.format_string("listed %.0f days later", "weight")
    changed = F.concat(F.lit("Bought instead, of the same maker, "), later, F.lit("; same category "), F.col("need"))
    newest = F.concat(F.lit("The newest variant of the product, "), later)
    reason = F.when(F.col("by") == "purchases", _cut(changed)).otherwise(newest).alias("reason")
    pairs = _pairs(follows, known, offer)
    return pairs.select("item_id", "related_item_id", F.col("weight").alias("score"), reason)


def newer_than(edges: DataFrame, known: DataFrame, listed: DataFrame, least_days: int) -> DataFrame:
    """subject, relation, object, weight, support, source of newer_than: items that take over from older ones.

    The newer one is of the same maker and need, was listed at least `least_days` later, and buyers changed to it; or it
    is the newest of the older one's product. listed: item_id, listed_on.
    """
    days = known.join(listed, "item_id", "inner").select("item_id", "maker", "need", "product", "listed_on", "buyers")
    changed = edges.where("relation = 'instead_of'").select(
        F.col("subject").alias("item_id"), F.col("object").alias("related_item_id"), "support"
    )
    by_change = (
        changed.join(days, "item_id", "inner")
        .join(_of_other(days), "related_item_id", "inner")
        .where("maker = maker_2 AND need = need_2")
    )
    newest = (
        days.where("product IS NOT NULL")
        .groupBy("product")
        .agg(F.max_by(F.struct("item_id", "listed_on", "maker"), F.struct("listed_on", "item_id")).alias("_newest"))
    )
    by_product = days.join(newest, "product", "inner").where(F.col("maker").eqNullSafe(F.col("_newest.maker")))
    one = by_change.select("item_id", "related_item_id", "listed_on", "listed_on_2", "support")
    other = by_product.select(
        "item_id",
        F.col("_newest.item_id").alias("related_item_id"),
        "listed_on",
        F.col("_newest.listed_on").alias("listed_on_2"),
        F.lit(0).cast("bigint").alias("support"),
    )
    later = F.datediff("listed_on_2", "listed_on")
    both = one.unionByName(other).withColumn("weight", later.cast("double")).where(F.col("weight") >= least_days)
    return (
        both.groupBy("item_id", "related_item_id")
        .agg(F.max("weight").alias("weight"), F.max("support").alias("support"))
        .select(
            F.col("related_item_id").alias("subject"),
            F.lit("newer_than").alias("relation"),
            F.col("item_id").alias("object"),
            "weight",
            "support",
            F.when(F.col("support") > 0, "purchases").otherwise("catalogue").alias("source"),
        )
    )


def _cut(*parts: Column) -> Column:
    return F.substring(F.concat(*parts), 1, 500)
