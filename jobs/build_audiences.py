"""Whom to show each campaign of the next day to: users by expected value, under every limit, and a control group."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from jobs.transforms.catalogue import described
from jobs.transforms.sample import drawn
from schemas import gold, ops
from schemas.contract import PARTITION
from schemas.errors import ConfError
from udfs.audiences import allocation
from udfs.audiences import features as audience
from udfs.audiences import model as audience_model
from udfs.audiences import rows as audience_rows
from udfs.audiences.allocation import HASH_DIGITS
from udfs.audiences.campaigns import IMPRESSION, Book, book_of, from_bytes
from udfs.audiences.users import Block, block_of
from udfs.days import day_number
from udfs.recommend import scoring

USERS_PER_BLOCK = 5_000
CONTACT_DAYS = 7  # max_per_week counts the campaigns of so many days, tomorrow's included
# Purchases and ad events of a user in one frame, since Spark groups two frames at most and the book is the other.
LINES = ("user_id", "item_id", "event_date", "quantity", "unit_price", "basket_id", "usual_price")
AD_LINES = ("user_id", "event_date", "campaign_id", "event_type")
VALUED = "campaign_id STRING, user_id STRING, p_click DOUBLE, p_conversion DOUBLE, expected_value DOUBLE"
VALUED += ", recent INT, counted BOOLEAN"  # campaigns the user was contacted for lately, and whether this is one
# A pair that is worth a place: `taken`, or a control's; `net` is its value less the campaign's price. One row of each
# task has no pair, but the task's part of the upper bound.
CHOSEN = "campaign_id STRING, user_id STRING, taken BOOLEAN, net DOUBLE, upper_bound DOUBLE, exact BOOLEAN"
BEFORE = (Window.unboundedPreceding, -1)  # rows of a window


def build_audiences(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    *,
    run_date: dt.date,
    contact_cost: float = 0.0,
    max_per_week: int = 2,
    control_share: float = 0.05,
    control_seed: int = 0,
    training_contacts: int = 500_000,
    max_pairs: int = 2_000_000,
) -> dict[str, DataFrame]:
    """gold.ad_audiences: whom to show each campaign that runs on the day after run_date; ops.allocations: how well.

    A model of who converts (udfs/audiences/model.py) learns from the campaigns that have ended, from at most about
    `training_contacts` contacts; it is applied to every user with a purchase or an ad event and each campaign. One
    allocation (udfs/audiences/allocation.py) then takes the pairs with the most expected value, less `contact_cost`
    each: at most max_audience users of a campaign, what its budget still pays for, and `max_per_week` campaigns a user
    within seven days, counting those that the user was contacted for; being shown one of these again takes no place of
    another. Up to `max_pairs` pairs of users and campaigns it is made in one task (HiGHS' optimum up to 100,000),
    beyond that by prices found on a sample of users; its gap to an upper bound is told either way.

    Controls are `control_share` of all pairs, by a hash of user and campaign (udfs.audiences.allocation.is_control):
    they take no place, and those that would have got one at the same prices (udfs.audiences.allocation.choose_controls)
    are listed without a rank. p_click is null where there are no clicks to learn from.
    """
    if not 0 <= control_share < 1:
        raise ConfError(f"[jobs.build_audiences] control_share must be in [0, 1); it is {control_share}")
    if contact_cost < 0 or max_per_week < 1:
        raise ConfError("[jobs.build_audiences] contact_cost must be at least 0, max_per_week at least 1")
    tomorrow = day_number(run_date) + 1
    made = learned(events, items, item_vectors, campaigns, ad_events, tomorrow, training_contacts)
    fitted = made.rows.groupBy(F.lit(0).alias("all")).applyInArrow(_fit, "conversion STRING, click STRING").collect()
    models = tuple(fitted[0]) if fitted else _fit_models(arrow_rows.no_rows(_ddl(audience_rows.TRAINED)))
    value = _values(tomorrow, models, contact_cost)
    pairs = _by_block(made.known, made.book, made.blocks, value, VALUED).persist()
    limits = room(campaigns, ad_events, run_date, contact_cost)
    marked = pairs.withColumn("is_control", is_control(control_share, control_seed))
    taken = _allocated(marked, limits, max_per_week, max_pairs).persist()
    return {"gold.ad_audiences": _ranked(marked, taken, run_date), "ops.allocations": _judged(marked, taken, run_date)}


@dataclass(frozen=True)
class Learned:
    """What audiences are made from: `of_users`, the book (one row), TRAINED rows; users fall into so many blocks."""

    known: DataFrame
    book: DataFrame
    rows: DataFrame
    blocks: int


def learned(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    day: int,
    training_contacts: int,
    everything: bool = False,
) -> Learned:
    """What the campaigns that were over before `day` tell; with `everything` also of those that had begun by then."""
    known = of_users(events, items, ad_events).persist()
    blocks = max(1, math.ceil(known.select("user_id").distinct().count() / USERS_PER_BLOCK))
    book = _book(events, items, item_vectors, campaigns, ad_events).persist()
    usual = _by_block(known, book, blocks, _usual, "campaign_id STRING, feature STRING, total DOUBLE, count BIGINT")
    summed = usual.groupBy("campaign_id", "feature").agg(F.sum("total").alias("total"), F.sum("count").alias("count"))
    both = book.groupBy(F.lit(0).alias("all")).cogroup(summed.groupBy(F.lit(0).alias("all")))
    whole = both.applyInArrow(_with_usual, "book BINARY").persist()
    contacts = ad_events.where("event_type = 'impression'").select("user_id", "campaign_id").distinct().count()
    some = drawn(known, "user_id", training_contacts, contacts, "train")
    rows = _by_block(some, whole, blocks, _training_rows(day, everything), _ddl(audience_rows.TRAINED))
    return Learned(known, whole, rows, blocks)


def logs_since(events: DataFrame, ad_events: DataFrame) -> Column:
    """The first day with logs of sales and of ads: a campaign that began by then is not known whole."""
    return F.greatest(*(frame.agg(F.min(PARTITION)).scalar() for frame in (events, ad_events)))


def is_control(share: float, seed: int) -> Column:
    """Whether a pair (campaign_id, user_id) is left out: udfs.audiences.allocation.is_control, as Spark says it."""
    digest = F.substring(F.sha2(F.concat_ws("|", F.lit(seed), "campaign_id", "user_id"), 256), 1, HASH_DIGITS)
    drawn_out: Column = F.conv(digest, 16, 10).cast("double") / 16.0**HASH_DIGITS < share
    return drawn_out


def read_book(book: DataFrame) -> Book:
    """The book, from its one row."""
    return _read(book.toArrow())


def of_users(events: DataFrame, items: DataFrame, ad_events: DataFrame) -> DataFrame:
    """Every purchase and ad event of a known user: LINES and AD_LINES in one frame, the other's columns null.

    usual_price is the median price of the item in the last earlier month in which it sold: the same whenever one asks.
    """
    bought = events.where("event_type = 'purchase'").join(items.select("item_id"), "item_id", "left_semi")
    month = F.trunc("event_date", "month").alias("month")
    monthly = bought.groupBy("item_id", month).agg(F.median("unit_price").alias("price"))
    before = F.lag("price").over(Window.partitionBy("item_id").orderBy("month"))
    usual = monthly.select("item_id", "month", before.alias("usual_price"))
    lines = bought.where("user_id IS NOT NULL").withColumn("month", month).join(usual, ["item_id", "month"], "left")
    return lines.select(*LINES).unionByName(ad_events.select(*AD_LINES), allowMissingColumns=True)


def room(campaigns: DataFrame, ad_events: DataFrame, run_date: dt.date, contact_cost: float) -> DataFrame:
    """campaign_id, capacity: of each campaign of the next day, how many users it may be shown to tomorrow.

    What contacts so far have cost is off its budget; max_audience is of one night's list.
    """
    tomorrow = F.lit(run_date + dt.timedelta(days=1))
    running = campaigns.where((F.col("starts_on") <= tomorrow) & (F.col("ends_on") >= tomorrow))
    shown = ad_events.where("event_type = 'impression'").groupBy("campaign_id").agg(F.count("*").alias("shown"))
    limits = running.select("campaign_id", "max_audience", "budget").join(shown, "campaign_id", "left").toPandas()
    names = ("max_audience", "budget", "shown")
    most, budget, contacts = (np.asarray(limits[name].astype(float), np.float64) for name in names)
    places = allocation.capacities(most, budget - contact_cost * np.nan_to_num(contacts), contact_cost)
    rows = list(zip(limits["campaign_id"].tolist(), places.tolist(), strict=True))
    return campaigns.sparkSession.createDataFrame(rows, "campaign_id STRING, capacity BIGINT")


# ---- the book of campaigns, and blocks of users beside it


def _book(
    events: DataFrame, items: DataFrame, item_vectors: DataFrame, told: DataFrame, ad_events: DataFrame
) -> DataFrame:
    """One row, `book`: what every task must know of campaigns, items and past answers (udfs/audiences/campaigns.py)."""
    first = ad_events.groupBy("campaign_id", "user_id", "event_type").agg(F.min("event_date").alias("event_date"))
    daily = first.groupBy("campaign_id", "event_date").agg(
        F.count_if(F.col("event_type") == "impression").alias("contacted"),
        F.count_if(F.col("event_type") == "conversion").alias("converted"),
    )
    since = logs_since(events, ad_events)
    tally = daily.groupBy("campaign_id").agg(
        F.collect_list(F.struct("event_date", "contacted", "converted")).alias("tally")
    )
    listed = told.join(tally, "campaign_id", "left").select(
        "campaign_id", "kind", "starts_on", "ends_on", "items", "tally", since.alias("since")
    )
    known = described(items, item_vectors).groupBy(F.lit(0).alias("all"))
    return listed.groupBy(F.lit(0).alias("all")).cogroup(known).applyInArrow(_bind, "book BINARY")


def _bind(listed: pa.Table, known: pa.Table) -> pa.Table:
    told = listed.to_pandas()
    tally = [
        {"campaign_id": campaign, **day}
        for campaign, days in zip(told["campaign_id"], listed.column("tally").to_pylist(), strict=True)
        for day in days or ()
    ]
    columns = ["campaign_id", "event_date", "contacted", "converted"]
    catalogue = scoring.catalogue(known.to_pandas())
    since = told["since"].dropna()
    first = day_number(since.iloc[0]) if len(since) else 0
    book = book_of(told, pd.DataFrame(tally, columns=columns), catalogue, first)
    return pa.table({"book": pa.array([book.to_bytes()], pa.binary())})


def _with_usual(book: pa.Table, sums: pa.Table) -> pa.Table:
    if not book.num_rows:
        return pa.table({"book": pa.array([], pa.binary())})
    whole = audience.with_usual(_read(book), sums.to_pandas())
    return pa.table({"book": pa.array([whole.to_bytes()], pa.binary())})


def _read(books: pa.Table) -> Book:
    return from_bytes(books.column("book")[0].as_py())


def _by_block(
    known: DataFrame, book: DataFrame, blocks: int, act: Callable[[Block, Book], pd.DataFrame], ddl: str
) -> DataFrame:
    """The rows of `act` for each block of users, who stand together with the book."""

    def rows_of(lines: pa.Table, books: pa.Table) -> pa.Table:
        if not (lines.num_rows and books.num_rows):
            return arrow_rows.schema(ddl).empty_table()
        both, read = lines.drop_columns(["block"]).to_pandas(), _read(books)
        is_ad = both["campaign_id"].notna()
        block = block_of(both.loc[~is_ad, list(LINES)], both.loc[is_ad, list(AD_LINES)], read)
        return arrow_rows.table(act(block, read), ddl)

    place = F.pmod(F.xxhash64("user_id"), F.lit(blocks)).cast("int")
    copies = book.crossJoin(book.sparkSession.range(blocks).select(F.col("id").cast("int").alias("block")))
    placed = known.withColumn("block", place)
    return placed.groupBy("block").cogroup(copies.groupBy("block")).applyInArrow(rows_of, ddl)


def _usual(block: Block, book: Book) -> pd.DataFrame:
    return audience.usual_of(block, book, np.arange(len(book.ids)))


def _training_rows(day: int, everything: bool) -> Callable[[Block, Book], pd.DataFrame]:
    def rows_of(block: Block, book: Book) -> pd.DataFrame:
        begun = np.flatnonzero((book.starts > book.first_day) & (book.starts < day)) if everything else None
        return audience_rows.training_rows(block, book, day, begun)

    return rows_of


def _values(
    tomorrow: int, models: tuple[str, str | None], contact_cost: float
) -> Callable[[Block, Book], pd.DataFrame]:
    def value(block: Block, book: Book) -> pd.DataFrame:
        conversion, click = (audience_model.from_json(text) if text else None for text in models)
        assert conversion is not None
        rows = audience_rows.scoring_rows(block, book, tomorrow)
        p = audience_model.predict(conversion, rows)
        lately = (block.ad_type == IMPRESSION) & (block.ad_day > tomorrow - CONTACT_DAYS)
        lately &= block.ad_day < tomorrow
        contacts = np.unique(np.stack([block.ad_user[lately], block.ad_campaign[lately]]), axis=1)
        recent = pd.Series(np.bincount(contacts[0], minlength=len(block.users)), index=block.users)
        pairs = pd.MultiIndex.from_arrays([book.ids[contacts[1]], block.users[contacts[0]]])
        return rows[["campaign_id", "user_id"]].assign(
            p_click=audience_model.predict(click, rows) if click else None,
            p_conversion=p,
            expected_value=audience_model.expected_value(conversion, rows, p, contact_cost),
            recent=rows["user_id"].map(recent),
            counted=pd.MultiIndex.from_frame(rows[["campaign_id", "user_id"]]).isin(pairs),
        )

    return value


def _fit(rows: pa.Table) -> pa.Table:
    conversion, click = _fit_models(rows.to_pandas())
    return pa.table({"conversion": pa.array([conversion], pa.string()), "click": pa.array([click], pa.string())})


def _fit_models(rows: pd.DataFrame) -> tuple[str, str | None]:
    conversion, click = audience_model.fit(rows), audience_model.fit(rows, "clicked")
    assert conversion is not None  # that is for clicks alone
    return conversion.to_json(), click.to_json() if click else None


# ---- the allocation


def _allocated(pairs: DataFrame, limits: DataFrame, max_per_week: int, max_pairs: int) -> DataFrame:
    """CHOSEN: every pair that gets a place, every control that would be worth one, and the parts of the upper bound."""
    asked = pairs.join(F.broadcast(limits), "campaign_id", "inner")
    count = asked.count()
    if count <= max_pairs:
        together: DataFrame = asked.groupBy(F.lit(0).alias("all")).applyInArrow(_allocate(max_per_week), CHOSEN)
        return together
    some = drawn(asked, "user_id", max_pairs, count, "prices").groupBy(F.lit(0).alias("all"))
    price = _prices(max_per_week, max_pairs / count)
    priced = some.applyInArrow(price, "campaign_id STRING, price DOUBLE").persist()
    block = F.pmod(F.xxhash64("user_id"), F.lit(4 * math.ceil(count / max_pairs)))
    with_price = asked.join(F.broadcast(priced), "campaign_id", "left").groupBy(block)
    wanted = with_price.applyInArrow(_choose(max_per_week), CHOSEN)
    better = Window.partitionBy("campaign_id").orderBy(F.desc("net"), "user_id").rowsBetween(*BEFORE)
    before = F.coalesce(F.sum(F.col("taken").cast("int")).over(better), F.lit(0))  # a control is held to the same
    placed = wanted.withColumn("before", before).join(F.broadcast(limits), "campaign_id", "left")
    kept = placed.where("campaign_id IS NULL OR before < capacity")
    places = limits.join(priced, "campaign_id", "inner")
    worth = places.agg(F.sum(F.col("capacity") * F.col("price")).alias("upper_bound"), F.lit(False).alias("exact"))
    return kept.drop("before", "capacity").unionByName(worth, allowMissingColumns=True)


def _allocate(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def allocate(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        found = allocation.allocate(*pairs.of(~pairs.control), pairs.capacity, pairs.left)
        return pairs.chosen(found.chosen, found.prices, found.upper_bound, found.exact)

    return allocate


def _prices(max_per_week: int, share: float) -> Callable[[pa.Table], pa.Table]:
    def price(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        most = np.floor(pairs.capacity * share).astype(np.int64)
        prices = allocation.find_prices(*pairs.of(~pairs.control & (pairs.value > 0)), most, pairs.left)
        return pa.table({"campaign_id": pa.array(pairs.campaigns, pa.string()), "price": pa.array(prices)})

    return price


def _choose(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def choose(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        first = pairs.table.groupby("campaign_id")["price"].first().reindex(pairs.campaigns)
        prices = first.fillna(0.0).to_numpy(np.float64)
        open_to = ~pairs.control & (pairs.capacity[pairs.campaign] > 0)
        wanted = allocation.choose(*pairs.of(open_to), pairs.left, prices)
        chosen = np.zeros(len(open_to), bool)
        chosen[np.flatnonzero(open_to)] = wanted
        bound = allocation.bound_terms(*pairs.of(open_to), pairs.left, prices)
        return pairs.chosen(chosen[~pairs.control], prices, bound, False)

    return choose


class _Pairs:
    """The pairs of one task as arrays: codes of users and campaigns, their value, what limits each.

    A pair whose campaign is counted among the user's already needs none of the places left: it stands as a user of its
    own who has one.
    """

    def __init__(self, asked: pa.Table, max_per_week: int) -> None:
        table = asked.to_pandas().sort_values(["user_id", "campaign_id"], ignore_index=True)
        self.table = table
        self.user, users = pd.factorize(table["user_id"])
        counted = table["counted"].to_numpy(bool)
        self.user[counted] = len(users) + np.arange(counted.sum())
        self.campaign, self.campaigns = pd.factorize(table["campaign_id"], sort=True)
        self.value = table["expected_value"].to_numpy(np.float64)
        self.control = table["is_control"].to_numpy(bool)
        recent = table.groupby("user_id")["recent"].first().reindex(users)
        left = np.maximum(max_per_week - recent.to_numpy(np.int64), 0)
        self.left = np.concatenate([left, np.ones(counted.sum(), np.int64)])
        self.capacity = table.groupby("campaign_id")["capacity"].first().reindex(self.campaigns).to_numpy(np.int64)

    def of(self, rows: Any) -> tuple[Any, Any, Any]:
        """User, campaign and value of some of the pairs."""
        return self.user[rows], self.campaign[rows], self.value[rows]

    def chosen(self, taken: Any, prices: Any, upper_bound: float, exact: bool) -> pa.Table:
        """CHOSEN: of the pairs that are no controls the taken ones, and the controls that would be at these prices."""
        pairs = (self.user, self.campaign, self.value, self.control)
        worth = allocation.choose_controls(*pairs, self.capacity, self.left, prices)
        rows = np.concatenate([np.flatnonzero(~self.control)[taken], np.flatnonzero(worth)])
        net = self.value[rows] - prices[self.campaign[rows]]
        size, listed = len(rows), self.table.iloc[rows]
        return pa.table(
            {
                "campaign_id": pa.array([*listed["campaign_id"], None], pa.string()),
                "user_id": pa.array([*listed["user_id"], None], pa.string()),
                "taken": pa.array([*(~self.control[rows]).tolist(), None], pa.bool_()),
                "net": pa.array([*net.tolist(), None], pa.float64()),
                "upper_bound": pa.array([None] * size + [upper_bound], pa.float64()),
                "exact": pa.array([None] * size + [exact], pa.bool_()),
            }
        )


def _ranked(pairs: DataFrame, taken: DataFrame, run_date: dt.date) -> DataFrame:
    """Rows of gold.ad_audiences: chosen users by expected value, then user_id; controls without a rank."""
    listed = taken.where("campaign_id IS NOT NULL").select("campaign_id", "user_id", "taken")
    rows = pairs.join(listed, ["campaign_id", "user_id"], "inner")
    order = Window.partitionBy("campaign_id", "taken").orderBy(F.desc("expected_value"), "user_id")
    ranked = rows.withColumn("rank", F.when(F.col("taken"), F.row_number().over(order)))
    return ranked.withColumns({PARTITION: F.lit(run_date), "is_control": ~F.col("taken")}).select(
        *gold.AD_AUDIENCES.column_names
    )


def _judged(pairs: DataFrame, taken: DataFrame, run_date: dt.date) -> DataFrame:
    """The row of ops.allocations: what the chosen pairs are worth, and what no choice can exceed."""
    worth = pairs.join(taken.where("taken"), ["campaign_id", "user_id"], "left_semi")
    sums = worth.agg(F.count("*").alias("chosen"), F.coalesce(F.sum("expected_value"), F.lit(0.0)).alias("value"))
    bound = taken.where("campaign_id IS NULL").agg(
        F.coalesce(F.sum("upper_bound"), F.lit(0.0)).alias("upper_bound"),
        F.coalesce(F.bool_and("exact"), F.lit(True)).alias("is_exact"),
    )
    asked = pairs.agg(F.count("*").alias("pairs"))
    joined = asked.crossJoin(sums).crossJoin(bound)
    gap = F.when(F.col("upper_bound") > 0, F.greatest(1 - F.col("value") / F.col("upper_bound"), F.lit(0.0)))
    return joined.select(
        F.lit(run_date).alias(PARTITION),
        "pairs",
        "chosen",
        "value",
        F.greatest("upper_bound", "value").alias("upper_bound"),
        F.coalesce(gap, F.lit(0.0)).alias("gap"),
        "is_exact",
    ).select(*ops.ALLOCATIONS.column_names)


def _ddl(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}` {audience_rows.TYPES[name]}" for name in columns)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("build_audiences")
