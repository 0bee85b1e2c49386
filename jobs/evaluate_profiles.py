"""What profiles of past dates were worth, beside a naive rate, BG/NBD and MBG/NBD."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from jobs.offline.profiles_judged import ProfileFigure, judged_profiles
from jobs.reports import progress
from jobs.reports.profile_page import profile_page
from jobs.transforms.user_days import past_days
from schemas import users
from schemas.derive import plain_ddl
from schemas.errors import ConfError, TooEarlyError
from schemas.run import RunContext
from udfs.days import day_number
from udfs.horizon import HORIZON_DAYS

HORIZONS = (HORIZON_DAYS, 90)


def evaluate_profiles(
    events: DataFrame, *, run: RunContext, training_users: int = 20_000, trees: int = 100, earlier_cuts: int = 4
) -> DataFrame:
    """ops.profile_metrics: what was expected of users 28 and 90 days before the end of run_date, and what followed.

    Of 28 days, `earlier_cuts` more before that. At each cut every contender is fitted to what was known then, of about
    `training_users` users, with `trees` as in train_profiles: AUC of "buys", mean absolute error of purchase days,
    calibration error, Gini of value, and the next purchase. The HTML page is `evaluation/profiles_<run_date>.html` in
    the lake.
    """
    if min(training_users, trees) < 1 or earlier_cuts < 0:
        raise ConfError("[jobs.evaluate_profiles] training_users and trees must be at least 1, earlier_cuts 0")
    lines = past_days(events, run, training_users)
    today = day_number(run.run_date) + 1
    wanted = [(today - HORIZON_DAYS * (back + 1), HORIZON_DAYS) for back in range(earlier_cuts + 1)]
    wanted += [(today - horizon, horizon) for horizon in HORIZONS[1:]]
    figures, bins = judged_profiles(lines, wanted, trees)
    if not figures:
        raise TooEarlyError(f"no profile to judge: a week of purchases, {HORIZON_DAYS} days before {run.run_date}")
    name = f"evaluation/profiles_{run.run_date}.html"
    run.write_page(name, profile_page(run.deployment.name, run.run_date, figures, bins))
    for figure in figures:
        progress.say(str(figure))
    return _rows(events.sparkSession, run, figures)


def _rows(spark: SparkSession, run: RunContext, figures: list[ProfileFigure]) -> DataFrame:
    values = [
        (
            *(run.run_date, each.cut_date, each.horizon, each.contender, each.metric),
            *(each.value, each.low, each.high, each.users),
        )
        for each in figures
    ]
    return spark.createDataFrame(values, plain_ddl(users.PROFILE_METRICS))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("evaluate_profiles")
