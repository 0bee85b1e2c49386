"""Who the users are: what they did, what is expected of them, and the segments that they are in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.reports import progress
from jobs.transforms import arrow_rows
from jobs.transforms.held import held
from jobs.transforms.json_models import applied
from jobs.transforms.purchases import purchases
from jobs.transforms.user_days import by_block, limits_of, past_days, user_days
from jobs.transforms.user_habits import user_habits, user_lines
from schemas import users
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from schemas.segments import Segments
from udfs.days import day_number
from udfs.users import profiles
from udfs.users.history import History, history_of
from udfs.users.judge import fit_history
from udfs.users.model import ProfileModel, Settings, from_json
from udfs.users.segments import Rule, rules

COLUMNS = ", ".join(f"{name} {kind}" for name, kind in profiles.TYPES.items())
DATES = {
    "first_on": "first_day",
    "last_on": "last_day",
    "next_purchase_on": "next_day",
    "next_purchase_low": "next_day_low",
    "next_purchase_high": "next_day_high",
}


def profile_users(
    events: DataFrame,
    items: DataFrame,
    candidates: DataFrame,
    user_profiles: DataFrame,
    profile_model: Model | None,
    *,
    run: RunContext,
    training_users: int = 20_000,
    trees: int = 100,
) -> dict[str, DataFrame]:
    """gold.user_profiles: a row for each user with a purchase that was not returned. gold.segments: their segments.

    The model of train_profiles is applied to blocks of users. Where none has been promoted that has seen nothing after
    run_date, one is fitted within this run, with `training_users` and `trees` as train_profiles has them, and
    model_version is null. A user stays in the segment of the run before until the figures are beyond its limits by the
    margin of [segments].
    """
    if min(training_users, trees) < 1:
        raise ConfError("[jobs.profile_users] training_users and trees must be at least 1")
    lines = user_lines(purchases(events, run.deployment), items).transform(held)
    days = user_days(lines).transform(held)
    found = days.agg(F.min("day").alias("since"), F.count_distinct("user_id").alias("users")).first()
    since, count = (found["since"] or 0, found["users"]) if found else (0, 0)
    if profile_model:
        model = applied(profile_model, from_json)
    else:
        date = run.run_date
        progress.say(f"profiles: no promoted model up to {date}: one is fitted within this run (see make train)")
        model = _fitted(events, run, training_users, Settings(trees=trees))
    run_day = day_number(run.run_date)

    def act(history: History) -> pd.DataFrame:
        return profiles.profiles(history, model, run_day, since)

    conf = run.deployment.segments
    known = by_block(days, count, act, COLUMNS).join(user_habits(lines, items, candidates), "user_id", "inner")
    listed = rules(model.thresholds, conf.new_days)
    version = profile_model.version if profile_model else None
    complete = _segmented(_dated(known, run.run_date, conf), user_profiles, listed, conf)
    rows = complete.withColumn("model_version", F.lit(version).cast("string")).transform(held)
    return {
        "gold.user_profiles": rows.select(*users.USER_PROFILES.column_names),
        "gold.segments": _segments(rows, listed, conf, run.run_date),
    }


def _fitted(events: DataFrame, run: RunContext, most_users: int, settings: Settings) -> ProfileModel:
    """A model of what is known at the run's date, fitted in one task."""
    today, limits = day_number(run.run_date) + 1, limits_of(run.deployment.segments)

    def of(history: History) -> ProfileModel:
        return profiles.with_thresholds(fit_history(history, today, settings), history, today, limits)

    def fit(lines: pd.DataFrame) -> pa.Table:
        return pa.table({"model": [of(history_of(lines)).to_json()]})

    lines = past_days(events, run, most_users)
    fitted = arrow_rows.in_one_task(lines, fit, "model STRING").collect()
    return from_json(fitted[0]["model"]) if fitted else of(history_of(lines.limit(0).toPandas()))


def _dated(known: DataFrame, run_date: dt.date, conf: Segments) -> DataFrame:
    """Days as dates, and what follows from them."""
    today = F.lit(run_date)
    dates = {name: F.date_from_unix_date(day) for name, day in DATES.items()}
    tenure, recency = (F.datediff(today, dates[name]).cast("int") for name in ("first_on", "last_on"))
    return known.withColumns(
        dates
        | {
            "run_date": today,
            "tenure_days": tenure,
            "recency_days": recency,
            "churn_probability": 1 - F.col("p_active_90"),
            "is_new": tenure < conf.new_days,
            "reason": _reason(recency),
        }
    )


def _reason(recency: Column) -> Column:
    often = F.when(F.col("purchase_days") == 1, F.lit("once")).otherwise(
        F.format_string("on %d days, every %.0f days or so", "purchase_days", "usual_gap_days")
    )
    return F.format_string(
        "Bought %s, last %d days ago: %.0f %% to buy within 28 days, %.0f %% within 90",
        often,
        recency,
        100 * F.col("p_active_28"),
        100 * F.col("p_active_90"),
    )


def _segmented(known: DataFrame, before: DataFrame, listed: Sequence[Rule], conf: Segments) -> DataFrame:
    """With segment, previous_segment, segment_since; `before`: the newest profiles, even of this date's first run."""
    past = before.select(
        "user_id",
        F.col("run_date").alias("past_date"),
        F.col("segment").alias("past_segment"),
        F.col("previous_segment").alias("past_previous"),
        F.col("segment_since").alias("past_since"),
    )
    joined = known.join(past, "user_id", "left")
    previous = F.when(F.col("past_date") == F.col("run_date"), F.col("past_previous")).otherwise(F.col("past_segment"))
    placed = joined.withColumn("previous_segment", previous)
    names = conf.names
    stays = F.coalesce(
        *(
            F.when(F.expr(f"previous_segment = '{names[rule.code]}' AND {rule.stays}"), names[rule.code])
            for rule in listed
        )
    )
    enters = F.coalesce(*(F.when(F.expr(rule.enters), names[rule.code]) for rule in listed))
    chosen = placed.withColumn("segment", F.coalesce(stays, enters))
    same = F.col("segment") == F.col("past_segment")
    return chosen.withColumn("segment_since", F.when(same, F.col("past_since")).otherwise(F.col("run_date")))


def _segments(rows: DataFrame, listed: Sequence[Rule], conf: Segments, run_date: dt.date) -> DataFrame:
    """A row per segment, also of one without users."""
    spark, names = rows.sparkSession, conf.names
    defined = spark.createDataFrame(
        [(names[rule.code], rule.definition(names[rule.code])) for rule in listed], "segment STRING, definition STRING"
    )
    moved = F.col("previous_segment").isNotNull() & (F.col("previous_segment") != F.col("segment"))
    sums = [F.count("*").alias("users"), F.sum("spend").alias("spend"), F.count_if(moved).alias("moved")]
    pairs = rows.groupBy("segment", "previous_segment").agg(*sums)
    now = pairs.groupBy("segment").agg(
        F.sum("users").alias("users"), F.sum("spend").alias("spend"), F.sum("moved").alias("moved_in")
    )
    left = pairs.groupBy(F.col("previous_segment").alias("segment")).agg(F.sum("moved").alias("moved_out"))
    total = pairs.agg(F.sum("spend").alias("total"))
    joined = defined.join(now, "segment", "left").join(left, "segment", "left").crossJoin(total)
    nothing: dict[str, bool | float | int | str] = {"users": 0, "spend": 0.0, "moved_in": 0, "moved_out": 0}
    share = F.coalesce(F.try_divide(F.col("spend"), F.col("total")), F.lit(0.0))
    return (
        joined.fillna(nothing)
        .withColumns({"run_date": F.lit(run_date), "revenue_share": F.least(share, F.lit(1.0))})
        .select(*users.SEGMENTS.column_names)
    )


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("profile_users")
