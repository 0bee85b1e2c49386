"""What the variants of each experiment are worth so far: one look at it, on any day."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.reports import progress
from jobs.transforms.experiments import variant
from jobs.transforms.held import held
from jobs.transforms.purchases import purchases
from schemas import readouts
from schemas.derive import plain_ddl
from schemas.errors import DataError
from schemas.experiments import Experiment, Metric
from schemas.run import RunContext
from udfs.experiments.readout import Moments, Readout, SampleRatioError, read_out

PAST_DAYS = 28  # before an experiment, at least, that its metric is adjusted by


def read_experiments(events: DataFrame, recommendations: DataFrame, *, run: RunContext) -> DataFrame:
    """ops.readouts: each variant of each experiment that began before run_date, by the purchases since.

    Users count as they were assigned when they first had a list in the experiment, whatever they bought or saw
    (intention to treat). Sums of users come from Spark: the driver holds a row a variant. DataError where a user is in
    two variants or in another one than the salt gives, and where the variants' shares of the users are none that chance
    gives: something other than the variants differs then, and nothing can be read.
    """
    begun = [one for one in run.deployment.experiments if one.from_ < run.run_date]
    bought = purchases(events, run.deployment).where("user_id IS NOT NULL")
    rows = [row for one in begun for row in _rows(one, bought, recommendations, run.run_date)]
    return SparkSession.active().createDataFrame(rows, plain_ddl(readouts.READOUTS))


def _rows(
    experiment: Experiment, bought: DataFrame, recommendations: DataFrame, run_date: dt.date
) -> Iterator[tuple[Any, ...]]:
    last = min(run_date, experiment.to + dt.timedelta(days=1))  # the newest lists are seen on the day after them
    days = (last - experiment.from_).days
    names = list(experiment.variants)
    users = held(_assigned(experiment, recommendations))
    _refuse_mixed(experiment, users)
    past = max(days, PAST_DAYS)
    moments = _moments(experiment, users, bought, (past, days), names)
    try:
        found, p = read_out(moments, experiment.minimum_effect)
    except SampleRatioError as error:
        raise DataError(f"[[experiments]] {experiment.id}: {error}; find out why before anything is read") from None
    for name, one in zip(names, found, strict=True):
        progress.say(_said(experiment, name, one, days))
        ends = (one.low, one.high, one.low_always, one.high_always)
        yield (
            *(run_date, experiment.id, experiment.metric, name, one.users, one.mean, one.effect),
            *(end if math.isfinite(end) else None for end in ends),
            *(one.cuped_r2, p, one.needed, one.verdict),
        )


def _assigned(experiment: Experiment, recommendations: DataFrame) -> DataFrame:
    """user_id, `shown`: the variants that the user's lists were of; `assigned`: the one that the salt gives."""
    named = F.regexp_extract("variant", rf"(?:^|,){experiment.id}:([a-z0-9_]+)", 1)
    lists = recommendations.where((F.col("rank") == 1) & F.col("run_date").between(experiment.from_, experiment.to))
    seen = lists.select("user_id", named.alias("shown")).where("shown <> ''")
    by_user = seen.groupBy("user_id").agg(F.collect_set("shown").alias("shown"))
    return by_user.withColumn("assigned", variant(experiment))


def _refuse_mixed(experiment: Experiment, users: DataFrame) -> None:
    """DataError where lists were of other variants than the salt gives: the salt, or the shares, were changed."""
    wrong = users.where(~F.col("shown").eqNullSafe(F.array("assigned"))).count()
    if wrong:
        raise DataError(
            f"[[experiments]] {experiment.id}: {wrong:,} users have had lists of another variant than its salt and "
            "share give now: a running experiment must not be changed. Begin another one, with its own id and salt"
        )


def _moments(
    experiment: Experiment, users: DataFrame, bought: DataFrame, days: tuple[int, int], names: Sequence[str]
) -> list[Moments]:
    """Those of each variant; days: how many before the experiment and how many in it."""
    past, during = days
    start = F.lit(experiment.from_)
    since = F.datediff("event_date", start)
    lines = bought.where(since.between(1 - past, during)).withColumn("_is_during", since > 0)
    values = lines.groupBy("user_id").agg(
        _metric(experiment.metric, F.col("_is_during")).alias("y"),
        _metric(experiment.metric, ~F.col("_is_during")).alias("x"),
    )
    amounts = {name: F.coalesce(F.col(name).cast("double"), F.lit(0.0)) for name in ("y", "x")}
    of_users = users.select("user_id", F.col("assigned").alias("variant")).join(values, "user_id", "left")
    y, x = F.col("y"), F.col("x")
    sums = [F.sum(part) for part in (y, x, y * y, x * x, y * x)]
    grouped = of_users.withColumns(amounts).groupBy("variant").agg(F.count("*"), *sums).collect()
    found = {row[0]: Moments(int(row[1]), *(float(value) for value in row[2:])) for row in grouped}
    return [found.get(name, Moments(0, *[0.0] * 5)) for name in names]


def _metric(metric: Metric, chosen: Column) -> Column:
    """A user's metric over the chosen lines."""
    if metric == "baskets":
        return F.count_distinct(F.when(chosen, F.col("basket_id")))
    value = F.col("quantity") * F.col("unit_price") if metric == "spend" else F.col("quantity")
    return F.sum(F.when(chosen, value.cast("double")))


def _said(experiment: Experiment, name: str, one: Readout, days: int) -> str:
    """A line for people."""
    start = (
        f"experiment {experiment.id}, {name}: {one.users:,} users, {one.mean:,.2f} {experiment.metric} in {days} days"
    )
    if math.isnan(one.low):  # the first variant, or too few users
        return f"{start}; {one.needed:,} users a variant find {experiment.minimum_effect:.0%}"
    return f"{start}, {one.effect:+,.2f} ({one.low_always:+,.2f} to {one.high_always:+,.2f} at any look): {one.verdict}"


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("read_experiments")
