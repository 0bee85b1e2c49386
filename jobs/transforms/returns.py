"""Which purchases returns have undone, and since which day that is known."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

LINE = ("run_date", "event_id")  # key of a log's lines
BY_RECEIPT, BY_USER, BY_DAY = range(3)


def undone_units(events: DataFrame, within_days: int) -> DataFrame:
    """LINE of a purchase, undone_on, units: those of its units that a return has undone.

    A return undoes purchases of the same item by the same user. Without a user it undoes those of the receipt
    (location_id and basket_id) that it names, or else purchases without a user on the same day and at the same
    location. These are at most `within_days` days older than it, and the newest is undone first; of a user's,
    those of the receipt that the return names. What is left of a return undoes nothing.

    Lines pair up on the day from which both are known (`undone_on`), and stay so: rows with an undone_on of at most D
    are what `undone_units` gives of the events known on D.
    """
    return _pieces(events, within_days).select("p.*", "undone_on", "units")


def unmatched(events: DataFrame, within_days: int) -> DataFrame:
    """run_date, returns_unmatched: how many returns of its files undid less than their units up to that date."""
    in_time = _pieces(events, within_days).where(F.col("undone_on") <= F.col("r.run_date"))
    done = in_time.groupBy("r").agg(F.sum("units").alias("done"))
    returns = events.where("event_type = 'return'").select("run_date", F.struct(*LINE).alias("r"), "quantity")
    left = F.col("quantity") > F.coalesce("done", F.lit(0))
    counted = returns.join(done, "r", "left").groupBy("run_date")
    return counted.agg(F.count_if(left).alias("returns_unmatched"))


def _pieces(events: DataFrame, within_days: int) -> DataFrame:
    """p, r (LINE of a purchase and of a return that undid it), units, undone_on."""
    units = events.schema["quantity"].dataType
    purchases = _keyed(events.where("event_type = 'purchase'"), "p", of_return=False)
    returns = _keyed(events.where("event_type = 'return'"), "r", of_return=True)
    pairs = _pairs(purchases.join(F.broadcast(returns), "key", "inner"), within_days)

    def taken(done: Column, line: str, pair: Column) -> Column:
        of_line = F.filter(done, lambda piece: piece[line] == pair[line])
        return F.aggregate(of_line, F.lit(0).cast(units), lambda total, piece: (total + piece["units"]).cast(units))

    def undo(done: Column, pair: Column) -> Column:
        left = [(pair[f"{line}_units"] - taken(done, line, pair)).cast(units) for line in ("p", "r")]
        columns = {"p": pair["p"], "r": pair["r"], "units": F.least(*left), "undone_on": pair["undone_on"]}
        piece = F.struct(*(column.alias(name) for name, column in columns.items()))
        return F.concat(done, F.filter(F.array(piece), lambda piece: piece["units"] > 0))

    in_order = pairs.groupBy("whose").agg(F.array_sort(F.collect_list("pair")).alias("pairs"))
    line = f"struct<{', '.join(f'{name}: {events.schema[name].dataType.simpleString()}' for name in LINE)}>"
    none = F.array().cast(f"array<struct<p: {line}, r: {line}, units: {units.simpleString()}, undone_on: date>>")
    return in_order.select(F.explode(F.aggregate("pairs", none, undo)).alias("piece")).select("piece.*")


def _keyed(lines: DataFrame, name: str, *, of_return: bool) -> DataFrame:
    """A row a line and key, the line's columns prefixed by `name`; a return and a purchase with one key may pair up.

    A purchase has all keys that a return may look for it by: its user's, its receipt's, and its day's for a guest's.
    """
    known, guest, nowhere = F.col("user_id").isNotNull(), F.col("user_id").isNull(), F.lit("")
    place, receipt = F.coalesce("location_id", nowhere), F.col("basket_id").isNotNull()

    def key(by: int, of: Column, at: Column) -> Column:
        return F.struct(F.lit(by).alias("by"), of.alias("of"), at.alias("at"), F.col("item_id").alias("item_id"))

    keys = F.array_compact(
        F.array(
            F.when(known, key(BY_USER, F.col("user_id"), nowhere)),
            F.when(receipt & guest if of_return else receipt, key(BY_RECEIPT, F.col("basket_id"), place)),
            F.when(guest, key(BY_DAY, F.col("event_date").cast("string"), place)),
        )
    )
    whose = F.when(known, keys[0]).otherwise(keys[F.size(keys) - 1])
    columns = {"": F.struct(*LINE), "_known": F.col("run_date"), "_at": F.col("occurred_at")}
    columns |= {"_units": F.col("quantity"), "_basket": F.col("basket_id"), "_date": F.col("event_date")}
    named = [column.alias(f"{name}{suffix}") for suffix, column in columns.items()]
    return lines.select(*named, whose.alias(f"{name}_whose"), F.explode(keys).alias("key"))


def _pairs(candidates: DataFrame, within_days: int) -> DataFrame:
    """`whose` and `pair`: a purchase and a return that may undo it, in the order in which they do.

    `whose` is the purchase's user and item, or guest's day, location and item. All pairs of a return have the same. Of
    these, pairs that cannot be reached are left out: what the earlier pairs of the return have is all that is returned.
    """
    by = F.col("key.by")
    in_time = (F.col("p_at") <= F.col("r_at")) & (F.date_diff("r_date", "p_date").between(0, within_days))
    # A receipt that comes to be known after its return changes nothing of how that was paired.
    seen = (by != BY_RECEIPT) | (F.col("p_known") <= F.col("r_known"))
    newest_first = (-F.unix_micros("p_at")).alias("age")
    other_receipt = (~F.col("p_basket").eqNullSafe(F.col("r_basket"))).alias("other_receipt")
    undone_on = F.greatest("p_known", "r_known").alias("undone_on")
    order = F.struct(undone_on, "r_known", "r_at", "r", other_receipt, newest_first, "p", "p_units", "r_units")
    possible = candidates.where(in_time & seen).select(
        F.col("p_whose").alias("whose"), "r", "p_units", "r_units", by.alias("by"), order.alias("pair")
    )
    best = F.first_value(F.struct("by", "whose")).over(Window.partitionBy("r").orderBy("by", "pair"))
    chosen = possible.withColumn("best", best).where(F.struct("by", "whose") == F.col("best"))
    of_return = Window.partitionBy("whose", "r").orderBy("pair")
    earlier = F.sum("p_units").over(of_return.rowsBetween(Window.unboundedPreceding, -1))
    first = F.when(F.row_number().over(of_return) == 1, F.col("r_units"))
    counted = chosen.select("whose", "pair", earlier.alias("earlier"), first.alias("returned"))
    returned = F.sum("returned").over(Window.partitionBy("whose"))
    reached = F.coalesce(F.col("earlier") < returned, F.lit(True))
    return counted.withColumn("is_reached", reached).where("is_reached").select("whose", "pair")
