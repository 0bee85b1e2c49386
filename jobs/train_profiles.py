"""The weekly fit of the profile model, from the users' purchases up to run_date."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame

from jobs.offline.model_registry import FITTED, fitted_row, registered
from jobs.reports import progress
from jobs.transforms.arrow_rows import in_one_task
from jobs.transforms.json_models import judged
from jobs.transforms.user_days import limits_of, past_days
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.days import day_number
from udfs.users.history import history_of
from udfs.users.judge import fit_history, fit_judged, judge
from udfs.users.model import Settings, from_json
from udfs.users.profiles import with_thresholds


def train_profiles(
    events: DataFrame,
    models: DataFrame,
    profile_model: Model | None,
    *,
    run: RunContext,
    training_users: int = 20_000,
    trees: int = 100,
) -> DataFrame:
    """The row of ops.models of a new profile model; none without a purchase.

    It learns from past cuts of at most about `training_users` users, as they were known then
    (udfs/users/model.py), in one executor's memory. A second one that knows nothing of the newest four weeks is judged
    by these, beside the one that was fitted so with the model in use: the new model is promoted unless the log loss of
    "buys within 28 days" is higher beyond chance.
    """
    if min(training_users, trees) < 1:
        raise ConfError("[jobs.train_profiles] training_users and trees must be at least 1")
    today, settings = day_number(run.run_date) + 1, Settings(trees=trees)
    current, limits = judged(profile_model, from_json), limits_of(run.deployment.segments)

    def fit(lines: pd.DataFrame) -> pa.Table:
        history = history_of(lines)
        trial = fit_judged(history, today, settings)
        promoted, figures = judge(trial, current, history, today)
        model = with_thresholds(fit_history(history, today, settings), history, today, limits)
        judged_by, since = trial.to_json() if trial else "", int(history.day.min())
        rows = len(history.users)
        return fitted_row(model.to_json(), judged_by, figures, promoted=promoted, rows=rows, since=since)

    fitted = in_one_task(past_days(events, run, training_users), fit, FITTED)
    nothing = "profiles: no purchase yet of a known user: nothing to train"
    return registered("profile", run, models, fitted, progress.say, nothing)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_profiles")
