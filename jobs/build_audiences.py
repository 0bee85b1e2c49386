"""Whom to show each campaign of the next day to: users by expected value, under every limit, and a control group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.reports import progress
from jobs.transforms import arrow_rows
from jobs.transforms.audience_inputs import ddl_of, read_known, training_rows
from jobs.transforms.audience_places import allocated
from jobs.transforms.held import held
from jobs.transforms.json_models import applied
from schemas import ad_audiences, ops
from schemas.contract import PARTITION
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.audiences import allocation
from udfs.audiences import model as audiences
from udfs.audiences import rows as audience_rows
from udfs.audiences.allocation import HASH_DIGITS
from udfs.audiences.campaigns import IMPRESSION, Book
from udfs.audiences.pair import AudiencePair, fit_pair, from_json
from udfs.audiences.users import Block
from udfs.days import day_number

CONTACT_DAYS = 7  # max_per_week counts the campaigns of so many days, tomorrow's included
VALUED = "campaign_id STRING, user_id STRING, p_click DOUBLE, p_conversion DOUBLE, expected_value DOUBLE"
VALUED += ", recent INT, counted BOOLEAN"  # campaigns the user was contacted for lately, and whether this is one


def build_audiences(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    audience_model: Model | None,
    *,
    run: RunContext,
    contact_cost: float = 0.0,
    max_per_week: int = 2,
    control_share: float = 0.05,
    control_seed: int = 0,
    training_contacts: int = 500_000,
    max_pairs: int = 2_000_000,
) -> dict[str, DataFrame]:
    """gold.ad_audiences: whom to show each campaign that runs on the day after run_date; ops.allocations: how well.

    The model of train_audiences predicts conversion for each campaign and every user with a purchase or an ad event.
    If no promoted model was trained on days up to run_date alone, one is fitted within this run, with
    `training_contacts` as in train_audiences, and ops.runs records no model for it. One allocation
    (udfs/audiences/allocation.py) then takes the pairs with the most expected value, less `contact_cost` each: at most
    max_audience users of a campaign, what its budget still pays for, and `max_per_week` campaigns a user within seven
    days, counting those that the user was contacted for; being shown one of these again takes no place of another. Up
    to `max_pairs` pairs of users and campaigns it is computed in one task (HiGHS' optimum up to 100,000), beyond that
    by prices computed on a sample of users; its gap to an upper bound is recorded in both cases.

    Controls are `control_share` of all pairs, by a hash of user and campaign (udfs.audiences.allocation.is_control):
    they take no place, and those that would have got one at the same prices (udfs.audiences.allocation.choose_controls)
    are listed without a rank. p_click is null where there are no clicks to learn from.
    """
    if not 0 <= control_share < 1:
        raise ConfError(f"[jobs.build_audiences] control_share must be in [0, 1); it is {control_share}")
    if contact_cost < 0 or max_per_week < 1:
        raise ConfError("[jobs.build_audiences] contact_cost must be at least 0, max_per_week at least 1")
    run_date, tomorrow = run.run_date, day_number(run.run_date) + 1
    limits, active = room(campaigns, ad_events, run, contact_cost), tomorrow if audience_model else None
    known = read_known(events, items, item_vectors, campaigns, ad_events, run.deployment, active)
    if audience_model:
        models = applied(audience_model, from_json)
    else:
        progress.say(f"audiences: no promoted model up to {run_date}: one is fitted within this run (see make train)")
        models = _fitted(training_rows(known, ad_events, tomorrow, training_contacts))
    pairs = known.by_block(_values(tomorrow, models, contact_cost), VALUED).transform(held)
    marked = pairs.withColumn("is_control", is_control(control_share, control_seed))
    taken = allocated(marked, limits, max_per_week, max_pairs).transform(held)
    return {"gold.ad_audiences": _ranked(marked, taken, run_date), "ops.allocations": _judged(marked, taken, run_date)}


def is_control(share: float, seed: int) -> Column:
    """Whether a pair (campaign_id, user_id) is a control: udfs.audiences.allocation.is_control as a Spark column."""
    digest = F.substring(F.sha2(F.concat_ws("|", F.lit(seed), "campaign_id", "user_id"), 256), 1, HASH_DIGITS)
    drawn_out: Column = F.conv(digest, 16, 10).cast("double") / 16.0**HASH_DIGITS < share
    return drawn_out


def room(campaigns: DataFrame, ad_events: DataFrame, run: RunContext, contact_cost: float) -> DataFrame:
    """campaign_id, capacity: for each campaign of the next day, the number of users that it may be shown to.

    The cost of past contacts is deducted from the budget; max_audience limits the list of one run. ConfError where a
    campaign has a budget and contacts cost nothing: the budget would limit nothing.
    """
    tomorrow = F.lit(run.run_date + dt.timedelta(days=1))
    running = campaigns.where((F.col("starts_on") <= tomorrow) & (F.col("ends_on") >= tomorrow))
    shown = ad_events.where("event_type = 'impression'").groupBy("campaign_id").agg(F.count("*").alias("shown"))
    limits = running.select("campaign_id", "max_audience", "budget").join(shown, "campaign_id", "left").toPandas()
    names = ("max_audience", "budget", "shown")
    if contact_cost == 0 and limits["budget"].notna().any():
        first = limits[limits["budget"].notna()].sort_values("campaign_id").iloc[0]
        raise ConfError(
            f"{run.deployment.file}: [jobs.build_audiences] contact_cost is 0, so the budget of campaign "
            f"{first['campaign_id']} ({first['budget']:g}, silver.campaigns of {run.run_date}) would limit nothing: "
            "set contact_cost, or take budget out of [sources.campaigns.map]"
        )
    most, budget, contacts = (np.asarray(limits[name].astype(float), np.float64) for name in names)
    places = allocation.capacities(most, budget - contact_cost * np.nan_to_num(contacts), contact_cost)
    rows = list(zip(limits["campaign_id"].tolist(), places.tolist(), strict=True))
    return campaigns.sparkSession.createDataFrame(rows, "campaign_id STRING, capacity BIGINT")


# ---- the book of campaigns, and blocks of users beside it


def _values(tomorrow: int, models: AudiencePair, contact_cost: float) -> Callable[[Block, Book], pd.DataFrame]:
    conversion, click = models.conversion, models.click

    def value(block: Block, book: Book) -> pd.DataFrame:
        rows = audience_rows.scoring_rows(block, book, tomorrow)
        p = audiences.predict(conversion, rows)
        lately = (block.ad_type == IMPRESSION) & (block.ad_day > tomorrow - CONTACT_DAYS)
        lately &= block.ad_day < tomorrow
        contacts = np.unique(np.stack([block.ad_user[lately], block.ad_campaign[lately]]), axis=1)
        recent = pd.Series(np.bincount(contacts[0], minlength=len(block.users)), index=block.users)
        pairs = pd.MultiIndex.from_arrays([book.ids[contacts[1]], block.users[contacts[0]]])
        return rows[["campaign_id", "user_id"]].assign(
            p_click=audiences.predict(click, rows) if click else None,
            p_conversion=p,
            expected_value=audiences.expected_value(conversion, rows, p, contact_cost),
            recent=rows["user_id"].map(recent),
            counted=pd.MultiIndex.from_frame(rows[["campaign_id", "user_id"]]).isin(pairs),
        )

    return value


def _fitted(rows: DataFrame) -> AudiencePair:
    """Models of these TRAINED rows, fitted in one task."""

    def fit(rows: pd.DataFrame) -> pa.Table:
        return pa.table({"model": [fit_pair(rows).to_json()]})

    fitted = arrow_rows.in_one_task(rows, fit, "model STRING").collect()
    return from_json(fitted[0]["model"]) if fitted else fit_pair(arrow_rows.no_rows(ddl_of(audience_rows.TRAINED)))


# ---- the allocation


def _ranked(pairs: DataFrame, taken: DataFrame, run_date: dt.date) -> DataFrame:
    """Rows of gold.ad_audiences: chosen users by expected value, then user_id; controls without a rank."""
    listed = taken.where("campaign_id IS NOT NULL").select("campaign_id", "user_id", "taken")
    rows = pairs.join(listed, ["campaign_id", "user_id"], "inner")
    order = Window.partitionBy("campaign_id", "taken").orderBy(F.desc("expected_value"), "user_id")
    ranked = rows.withColumn("rank", F.when(F.col("taken"), F.row_number().over(order)))
    return ranked.withColumns({PARTITION: F.lit(run_date), "is_control": ~F.col("taken")}).select(
        *ad_audiences.AD_AUDIENCES.column_names
    )


def _judged(pairs: DataFrame, taken: DataFrame, run_date: dt.date) -> DataFrame:
    """The row of ops.allocations: what the chosen pairs are worth, and what no choice can exceed."""
    worth = pairs.join(taken.where("taken"), ["campaign_id", "user_id"], "left_semi")
    sums = worth.agg(F.count("*").alias("chosen"), F.coalesce(F.sum("expected_value"), F.lit(0.0)).alias("value"))
    bound = taken.where("campaign_id IS NULL").agg(
        F.coalesce(F.sum("upper_bound"), F.lit(0.0)).alias("upper_bound"),
        F.coalesce(F.bool_and("exact"), F.lit(True)).alias("is_exact"),
    )
    counts = pairs.agg(F.count("*").alias("pairs"))
    joined = counts.crossJoin(sums).crossJoin(bound)
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


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("build_audiences")
