"""The nightly run in one Spark session: every job in the flow's order, by the same code as with spark-submit.

`python -m jobs.commands.night --run-date 2017-12-03 --conf conf/complete_journey.toml [--train never|missing|always]`
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.commands.watching import watching
from jobs.flow import (
    BACKTEST,
    EVALUATION,
    INTAKE,
    JOBS,
    NIGHT,
    PLANNING,
    PUBLISHING,
    SCORING,
    TRAINING,
    lacking,
)
from jobs.reports import progress
from jobs.runner import model_store
from jobs.runner.cli import common_flags, reported
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.deployment import Deployment, load
from schemas.errors import NoModelError
from schemas.job import RECOMMEND, Job
from udfs.horizon import HORIZON_DAYS

if TYPE_CHECKING:
    from jobs.runner.run_job import Outcome


def run_jobs(
    lake: Lake,
    jobs: Sequence[Job],
    run_date: dt.date,
    since: dt.date | None = None,
    reingest: bool = False,
    accept_drift: bool = False,
) -> list[Outcome]:
    """Run jobs in order, showing the progress of each; the first failure ends the run, and the page says so."""
    from jobs.runner import run_job

    outcomes = []
    for job in jobs:
        try:
            with watching(lake.spark, job.name):
                outcome = run_job.run(
                    job.name, lake, run_date, since=since, reingest=reingest, accept_drift=accept_drift
                )
        except Exception:
            from jobs.commands import page  # with matplotlib: not at every start

            with suppress(Exception):  # of a lake that cannot be written, the job's own error says why
                progress.console.print(f"page: {page.write(lake, run_date)}", markup=False, soft_wrap=True)
            raise
        rows = ", ".join(f"{table} {count:,}" for table, count in outcome.rows.items())
        result = f"skipped: {outcome.skipped}" if outcome.skipped else rows or "nothing new"
        progress.console.print(f"  {job.name:<30} {outcome.seconds:6.1f} s  {result}", markup=False, soft_wrap=True)
        outcomes.append(outcome)
    return outcomes


def run_night(
    deployment: Deployment,
    run_date: dt.date,
    *,
    train: str = "never",
    only: str = "night",
    since: dt.date | None = None,
    reingest: bool = False,
    accept_drift: bool = False,
) -> None:
    """Run all jobs of a date, or after its intake only `training`; prints a summary.

    `train`: 'missing' trains the kinds without a promoted model of data up to run_date, or with one of a version that
    cannot score, 'always' all; each before the jobs that apply it, and after the scoring where it reads its vectors.
    `only` = 'evaluation' instead judges the run by the 28 days after it, whose logs it ingests first; 'backtest' judges
    plans of demand, stock and audiences for earlier dates by what followed up to run_date.
    """
    if only == "evaluation":
        run_date += dt.timedelta(days=HORIZON_DAYS)
    progress.console.print(f"Nightshelf: {deployment.name}, night of {run_date}. Starting Spark ...", markup=False)
    with ThreadPoolExecutor(1) as pool:
        log_file = Path("logs") / f"spark-{deployment.name}.log"
        starting = pool.submit(session, deployment, log_file=log_file)
        # Importing Great Expectations takes as long as starting the JVM, some eight seconds: do both at once.
        from jobs.commands import evaluation_summary, summary
        from jobs.runner import quality  # noqa: F401
        from jobs.runner.settings import check_settings
        from jobs.transforms import mapping

        check_settings(deployment)
    spark = starting.result()
    lake = Lake(spark, deployment)
    mapping.check_mappings(spark, deployment)
    outcomes = run_jobs(lake, INTAKE, run_date, since, reingest, accept_drift)
    if only == "evaluation":
        for outcome in run_jobs(lake, EVALUATION, run_date):
            if not outcome.skipped:
                evaluation_summary.OF_EVALUATION[outcome.job](lake, run_date)
        return
    if only == "backtest":
        if not run_jobs(lake, BACKTEST, run_date)[0].skipped:
            evaluation_summary.show_backtest(lake, run_date)
        return
    trained = [
        job
        for job in TRAINING
        if train == "always" or (train == "missing" and not _has_model(lake, run_date, job.trains))
    ]
    if only == "training":
        run_jobs(lake, trained, run_date)
        return
    if not any(job.trains == RECOMMEND for job in trained) and not lacking(JOBS["train_model"], deployment.kinds):
        _usable_model(lake, run_date, RECOMMEND)  # fails at once where there is none, before the histories are read
    scored = {table for job in SCORING for table in job.writes}
    later = [job for job in trained if any(read.table in scored for read in job.reads)]
    outcomes += run_jobs(lake, [job for job in trained if job not in later], run_date)
    outcomes += run_jobs(lake, SCORING, run_date, accept_drift=accept_drift)
    outcomes += run_jobs(lake, [*later, *PLANNING, *PUBLISHING], run_date, accept_drift=accept_drift)
    summary.show(lake, run_date, outcomes)


def _usable_model(lake: Lake, run_date: dt.date, kind: str) -> None:
    """NoModelError where there is no promoted model of a kind, or an earlier version has trained it."""
    from jobs.score_candidates import budget_of

    model = model_store.promoted_model(lake, run_date, kind=kind)
    if kind == RECOMMEND:
        budget_of(model, run_date)


def _has_model(lake: Lake, run_date: dt.date, kind: str) -> bool:
    try:
        _usable_model(lake, run_date, kind)
    except NoModelError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags and run; the exit code of design.md."""
    parser = argparse.ArgumentParser(
        prog="jobs.commands.night", description=f"The night: {', '.join(job.name for job in NIGHT)}"
    )
    common_flags(parser)
    parser.add_argument("--train", choices=("never", "missing", "always"), default="never", help="train a model first")
    parser.add_argument("--only", choices=("night", "training", "evaluation", "backtest"), default="night")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf, landing=given.landing)
        run_night(
            deployment,
            given.run_date,
            train=given.train,
            only=given.only,
            since=given.since,
            reingest=given.reingest,
            accept_drift=given.accept_drift,
        )

    return reported(given, "night", act)


if __name__ == "__main__":
    sys.exit(main())
