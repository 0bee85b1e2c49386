"""Inputs of the audience jobs: the book of campaigns, and blocks of users joined with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from jobs.transforms.catalogue import described
from jobs.transforms.held import held
from jobs.transforms.purchases import of_catalogue, purchase_history
from jobs.transforms.sample import drawn
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from udfs.audiences import features as audience
from udfs.audiences import rows as audience_rows
from udfs.audiences.campaigns import Book, book_of, from_bytes
from udfs.audiences.users import Block, block_of
from udfs.catalogue import catalogue_of
from udfs.days import day_number

USERS_PER_BLOCK = 5_000
# A user's purchases and ad events share one frame: Spark cogroups two frames at most, and the book is the other.
LINES = (
    *("user_id", "item_id", "event_date", "quantity", "unit_price", "basket_id", "usual_price"),
    *("known_on", "undone_on"),
)
AD_LINES = ("user_id", "event_date", "campaign_id", "event_type", "known_on")


@dataclass(frozen=True)
class Known:
    """Inputs of the audience jobs: rows of `of_users`, the book (one row), and the number of user blocks."""

    users: DataFrame
    book: DataFrame
    blocks: int

    def by_block(self, act: Callable[[Block, Book], pd.DataFrame], ddl: str) -> DataFrame:
        """The rows of `act` for each block of users."""
        return by_block(self.users, self.book, self.blocks, act, ddl)


def read_known(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    deployment: Deployment,
    active: int | None = None,
) -> Known:
    """Users, and the book with each campaign's usual figures; with `active`, only of campaigns that run on that day."""
    known = of_users(events, items, ad_events, deployment).transform(held)
    blocks = max(1, math.ceil(known.select("user_id").distinct().count() / USERS_PER_BLOCK))
    book = _book(events, items, item_vectors, campaigns, ad_events).transform(held)
    ddl = "campaign_id STRING, feature STRING, total DOUBLE, count BIGINT"
    usual = by_block(known, book, blocks, _usual(active), ddl)
    summed = usual.groupBy("campaign_id", "feature").agg(F.sum("total").alias("total"), F.sum("count").alias("count"))
    book_and_sums = book.groupBy(F.lit(0).alias("all")).cogroup(summed.groupBy(F.lit(0).alias("all")))
    return Known(known, book_and_sums.applyInArrow(_with_usual, "book BINARY").transform(held), blocks)


def training_rows(
    known: Known, ad_events: DataFrame, day: int, training_contacts: int, everything: bool = False
) -> DataFrame:
    """TRAINED rows of the campaigns that ended before `day`; with `everything` also of those begun by then.

    Users are drawn with all their rows, to about `training_contacts` contacts. `known` must have the usual figures of
    all campaigns.
    """
    contacts = ad_events.where("event_type = 'impression'").select("user_id", "campaign_id").distinct().count()
    sample = drawn(known.users, "user_id", training_contacts, contacts, "train")
    rows_of = _training_rows(day, everything)
    return by_block(sample, known.book, known.blocks, rows_of, ddl_of(audience_rows.TRAINED))


def logs_since(events: DataFrame, ad_events: DataFrame) -> Column:
    """The first day with logs of both sales and ads; a campaign that began by then is known only in part."""
    return F.greatest(*(frame.agg(F.min(PARTITION)).scalar() for frame in (events, ad_events)))


def of_users(events: DataFrame, items: DataFrame, ad_events: DataFrame, deployment: Deployment) -> DataFrame:
    """Every purchase and ad event of a known user: LINES and AD_LINES in one frame, the other's columns null.

    known_on is the date of the first run that had the record. usual_price is the item's median price in the last
    earlier month with sales, from the records of that month's own files, so later runs compute the same price.
    """
    month = F.trunc("event_date", "month").alias("month")
    in_time = F.trunc(PARTITION, "month") == F.trunc("event_date", "month")
    sold = events.where("event_type = 'purchase'").where(in_time).join(items.select("item_id"), "item_id", "left_semi")
    monthly = sold.groupBy("item_id", month).agg(F.median("unit_price").alias("price"))
    before = F.lag("price").over(Window.partitionBy("item_id").orderBy("month"))
    usual = monthly.select("item_id", "month", before.alias("usual_price"))
    bought = of_catalogue(purchase_history(events, deployment), items)
    lines = bought.where("user_id IS NOT NULL").withColumn("month", month).join(usual, ["item_id", "month"], "left")
    purchase_lines, ad_lines = (frame.withColumn("known_on", F.col(PARTITION)) for frame in (lines, ad_events))
    return purchase_lines.select(*LINES).unionByName(ad_lines.select(*AD_LINES), allowMissingColumns=True)


def _book(
    events: DataFrame, items: DataFrame, item_vectors: DataFrame, campaigns: DataFrame, ad_events: DataFrame
) -> DataFrame:
    """One row, `book`: campaigns, items and past responses, for every task (udfs/audiences/campaigns.py)."""
    # Dated by the first run that had the event, so that a past day's counts do not change later.
    first = ad_events.groupBy("campaign_id", "user_id", "event_type").agg(F.min(PARTITION).alias("event_date"))
    daily = first.groupBy("campaign_id", "event_date").agg(
        F.count_if(F.col("event_type") == "impression").alias("contacted"),
        F.count_if(F.col("event_type") == "conversion").alias("converted"),
    )
    since = logs_since(events, ad_events)
    tally = daily.groupBy("campaign_id").agg(
        F.collect_list(F.struct("event_date", "contacted", "converted")).alias("tally")
    )
    listed = campaigns.join(tally, "campaign_id", "left").select(
        "campaign_id", "kind", "starts_on", "ends_on", "items", "tally", since.alias("since")
    )
    known = described(items, item_vectors).groupBy(F.lit(0).alias("all"))
    return listed.groupBy(F.lit(0).alias("all")).cogroup(known).applyInArrow(_bind, "book BINARY")


def _bind(listed: pa.Table, known: pa.Table) -> pa.Table:
    campaigns = listed.to_pandas()
    tally = [
        {"campaign_id": campaign, **day}
        for campaign, days in zip(campaigns["campaign_id"], listed.column("tally").to_pylist(), strict=True)
        for day in days or ()
    ]
    columns = ["campaign_id", "event_date", "contacted", "converted"]
    catalogue = catalogue_of(known.to_pandas())
    since = campaigns["since"].dropna()
    first = day_number(since.iloc[0]) if len(since) else 0
    book = book_of(campaigns, pd.DataFrame(tally, columns=columns), catalogue, first)
    return pa.table({"book": pa.array([book.to_bytes()], pa.binary())})


def _with_usual(book: pa.Table, sums: pa.Table) -> pa.Table:
    if not book.num_rows:
        return pa.table({"book": pa.array([], pa.binary())})
    completed = audience.with_usual(read_book(book), sums.to_pandas())
    return pa.table({"book": pa.array([completed.to_bytes()], pa.binary())})


def read_book(books: pa.Table) -> Book:
    """The book, from the one row of its frame."""
    return from_bytes(books.column("book")[0].as_py())


def by_block(
    known: DataFrame, book: DataFrame, blocks: int, act: Callable[[Block, Book], pd.DataFrame], ddl: str
) -> DataFrame:
    """The rows of `act` for each block of users; each call also gets the book."""

    def rows_of(lines: pa.Table, books: pa.Table) -> pa.Table:
        if not (lines.num_rows and books.num_rows):
            return arrow_rows.schema(ddl).empty_table()
        rows, campaign_book = lines.drop_columns(["block"]).to_pandas(), read_book(books)
        is_ad = rows["campaign_id"].notna()
        block = block_of(rows.loc[~is_ad, list(LINES)], rows.loc[is_ad, list(AD_LINES)], campaign_book)
        return arrow_rows.table(act(block, campaign_book), ddl)

    place = F.pmod(F.xxhash64("user_id"), F.lit(blocks)).cast("int")
    copies = book.crossJoin(book.sparkSession.range(blocks).select(F.col("id").cast("int").alias("block")))
    placed = known.withColumn("block", place)
    return placed.groupBy("block").cogroup(copies.groupBy("block")).applyInArrow(rows_of, ddl)


def _usual(active: int | None) -> Callable[[Block, Book], pd.DataFrame]:
    def usual(block: Block, book: Book) -> pd.DataFrame:
        return audience.usual_of(block, book, np.arange(len(book.ids)) if active is None else book.active(active))

    return usual


def _training_rows(day: int, everything: bool) -> Callable[[Block, Book], pd.DataFrame]:
    def rows_of(block: Block, book: Book) -> pd.DataFrame:
        begun = np.flatnonzero((book.starts > book.first_day) & (book.starts < day)) if everything else None
        return audience_rows.training_rows(block, book, day, begun)

    return rows_of


def ddl_of(columns: tuple[str, ...]) -> str:
    """Columns of udfs.audiences.rows as Spark declares them."""
    return ", ".join(f"`{name}` {audience_rows.TYPES[name]}" for name in columns)
