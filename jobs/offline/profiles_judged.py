"""Figures of profiles at past cuts: a task per cut computes them, the driver collects some sixty rows of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from udfs.days import date_of
from udfs.evaluation.calibration import BINS, ReliabilityBin, reliability
from udfs.users import evaluation
from udfs.users.evaluation import OURS, Outcome
from udfs.users.history import history_of
from udfs.users.model import Settings
from udfs.users.training_rows import LEAST_HISTORY

BIN, LEAD = "bin", "lead "
DDL = "cut INT, horizon INT, contender STRING, metric STRING, value DOUBLE, low DOUBLE, high DOUBLE, users BIGINT, "
DDL += "predicted DOUBLE"
NAMES = [column.split()[0] for column in DDL.split(", ")]


@dataclass(frozen=True)
class ProfileFigure:
    """One figure of one contender: a row of ops.profile_metrics. Days count from 1970; the cut is the first unknown.

    Of the metric BIN it is a bin of users with a similar chance to buy: value, low and high are of the share that
    bought, `users` are those in it, `predicted` is their mean chance. A value is None where nobody bought or, of an
    AUC, all did.
    """

    cut: int
    horizon: int
    contender: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    users: int
    predicted: float | None = None

    @property
    def cut_date(self) -> dt.date:
        """The last day that was known."""
        return date_of(self.cut - 1)

    def __str__(self) -> str:
        ends = "" if self.low is None else f" ({self.low:.4f} to {self.high:.4f})"
        value = "n/a" if self.value is None else f"{self.value:.4f}"
        return f"profiles of {self.cut_date}, {self.horizon} days, {self.contender}: {self.metric} {value}{ends}"


def judged_profiles(
    lines: DataFrame, wanted: Sequence[tuple[int, int]], trees: int
) -> tuple[list[ProfileFigure], dict[int, list[ReliabilityBin]]]:
    """The figures of each cut and horizon, and by horizon the reliability of the newest cut; lines: past_days.

    Cuts with less than LEAST_HISTORY days of purchases before them are left out.
    """
    since = lines.agg(F.min("day")).collect()[0][0]
    cuts = [(cut, horizon) for cut, horizon in wanted if since is not None and cut - since >= LEAST_HISTORY]
    if not cuts:
        return [], {}

    def rows_of(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        cut, horizon = (int(each.as_py()) for each in key)
        history = history_of(table.drop_columns(["cut", "horizon"]).to_pandas())
        known = evaluation.outcome(history, cut, horizon, Settings(trees=trees))
        rows = pd.DataFrame([astuple(each) for each in figures_of(known, cut, horizon)], columns=NAMES)
        return arrow_rows.table(rows, DDL)

    each = lines.sparkSession.createDataFrame(list(cuts), "cut INT, horizon INT")
    found = lines.crossJoin(F.broadcast(each)).groupBy("cut", "horizon").applyInArrow(rows_of, DDL).toPandas()
    records = found.astype(object).where(found.notna(), None).to_dict("records")
    order = {pair: place for place, pair in enumerate(cuts)}
    every = sorted(
        (ProfileFigure(*(row[name] for name in NAMES)) for row in records),
        key=lambda each: order[each.cut, each.horizon],
    )
    bins: dict[int, list[ReliabilityBin]] = {}
    for horizon in {horizon for _, horizon in cuts}:
        newest = max(cut for cut, of in cuts if of == horizon)
        bins[horizon] = [
            ReliabilityBin(float(f.predicted or 0), float(f.value or 0), float(f.low or 0), float(f.high or 0), f.users)
            for f in every
            if (f.metric, f.cut, f.horizon) == (BIN, newest, horizon)
        ]
    return [each for each in every if each.metric != BIN], bins


def figures_of(of: Outcome, cut: int, horizon: int) -> Iterator[ProfileFigure]:
    """The figures of one cut: of each contender, of the lead over MBG/NBD, and the bins of OURS."""
    users = len(of.spent)
    for name in of.chance:
        for metric, value in evaluation.measures(of, name).items():
            yield ProfileFigure(cut, horizon, name, metric, value, None, None, users)
    for metric, (value, low, high) in evaluation.leads([of]).items():
        yield ProfileFigure(cut, horizon, OURS, f"{LEAD}{metric}", value, low, high, users)
    for name, off in of.next_off.items():
        yield ProfileFigure(cut, horizon, name, evaluation.NEXT, off, None, None, users)
    yield ProfileFigure(cut, horizon, OURS, evaluation.INSIDE, of.inside, None, None, users)
    for each in reliability(of.chance[OURS], of.bought, BINS):
        yield ProfileFigure(cut, horizon, OURS, BIN, each.observed, each.low, each.high, each.count, each.predicted)
