"""The weekly fit of the demand model, from the shop's past up to run_date."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame

from jobs.offline.model_registry import FITTED, fitted_row, registered
from jobs.reports import progress
from jobs.transforms import catalogue
from jobs.transforms.arrow_rows import in_one_task
from jobs.transforms.demand_model import read_demand
from jobs.transforms.json_models import judged
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.days import day_number
from udfs.demand import forecast as demand
from udfs.demand.judge import fit_judged, held_out, judge
from udfs.demand.model import Settings, from_json


def train_demand(
    events: DataFrame,
    items: DataFrame,
    promotions: DataFrame,
    models: DataFrame,
    demand_model: Model | None,
    *,
    run: RunContext,
    by_location: bool = True,
    training_pairs: int = 800_000,
    judged_pairs: int = 150_000,
    trees: int = 200,
) -> DataFrame:
    """The row of ops.models of a new demand model; none where there is nothing to learn from.

    One global model for all pairs of a location and an item (udfs/demand/forecast.py) learns from the pairs' own past,
    at three earlier dates and from at most `training_pairs` rows, in one executor's memory (some 150 bytes a row).
    `by_location` is what forecast_demand has.

    A second one learns from at most `judged_pairs` of these rows without those of the newest four weeks, which judge
    it beside the one that was fitted so with the model in use: the new model is promoted unless its log score is
    worse beyond chance. A shop without four weeks that followed an earlier date has nothing to train.
    """
    if min(training_pairs, judged_pairs, trees) < 1:
        raise ConfError("[jobs.train_demand] training_pairs, judged_pairs and trees must be at least 1")
    today = day_number(run.run_date)
    items = catalogue.listed(run.deployment, items, events)
    read = read_demand(events, items, promotions, run, by_location)
    first_day = int(read.shop.first_day)
    settings, current = Settings(max_pairs=training_pairs, trees=trees), judged(demand_model, from_json)

    def fit(rows: pd.DataFrame) -> pa.Table:
        trial = fit_judged(rows, today, settings, judged_pairs)
        verdict = judge(trial, current, held_out(rows, today))
        model = demand.fit(rows, today, settings).to_json()
        judged_by = trial.to_json() if trial else ""
        return fitted_row(model, judged_by, verdict.figures, promoted=verdict.promoted, rows=len(rows), since=first_day)

    fitted = in_one_task(read.training_rows(settings), fit, FITTED)
    nothing = "demand: no four weeks yet that followed an earlier date: nothing to train"
    return registered("demand", run, models, fitted, progress.say, nothing)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_demand")
