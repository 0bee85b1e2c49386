"""The weekly fit of the audience models, from the campaigns that were over by run_date."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.offline.model_registry import FITTED, fitted_row, registered, rows_of
from jobs.reports import progress
from jobs.transforms.arrow_rows import in_one_task
from jobs.transforms.audience_inputs import read_known, training_rows
from jobs.transforms.json_models import judged
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.audiences.judge import Judged, fit_judged, from_json, judge
from udfs.audiences.pair import fit_pair
from udfs.days import day_number


def train_audiences(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    models: DataFrame,
    audience_model: Model | None,
    *,
    run: RunContext,
    training_contacts: int = 500_000,
) -> DataFrame:
    """The row of ops.models of a new audience model (who converts, who clicks); none without anything to learn from.

    It learns from the campaigns that have ended (udfs/audiences/model.py), from at most about `training_contacts`
    contacts, with the newest item vectors up to run_date. A model without the newest third of the campaigns is judged
    by these, beside the one that was fitted so with the model in use: the new model is promoted unless its log loss is
    higher beyond chance.

    Nothing is trained before there are contacts of a campaign that has ended, or vectors: then build_audiences fits
    a model within its run.
    """
    if training_contacts < 1:
        raise ConfError("[jobs.train_audiences] training_contacts must be at least 1")
    if item_vectors.isEmpty():
        progress.say("audiences: no run has encoded items yet: nothing to train")
        return rows_of(models, [])
    tomorrow, current = day_number(run.run_date) + 1, judged(audience_model, from_json)
    known = read_known(events, items, item_vectors, campaigns, ad_events, run.deployment)
    days = campaigns.select(
        "campaign_id", F.unix_date("starts_on").alias("starts"), F.unix_date("ends_on").alias("ends")
    )
    rows = training_rows(known, ad_events, tomorrow, training_contacts).join(days, "campaign_id", "inner")

    fitted = in_one_task(rows, partial(_fit, current=current), FITTED)
    nothing = "audiences: no contact yet of a campaign that has ended: nothing to train"
    return registered("audience", run, models, fitted, progress.say, nothing)


def _fit(rows: pd.DataFrame, current: Judged | None) -> pa.Table:
    """The row of FITTED."""
    trial = fit_judged(rows)
    promoted, figures = judge(trial, current, rows)
    judged_by, since = trial.to_json() if trial else "", int(rows["starts"].min())
    return fitted_row(fit_pair(rows).to_json(), judged_by, figures, promoted=promoted, rows=len(rows), since=since)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_audiences")
