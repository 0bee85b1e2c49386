"""A whole night in one Spark session: every job in the flow's order, through the same code as a spark-submit each.

`python -m jobs.night --run-date 2017-12-03 --conf conf/complete_journey.toml [--train never|missing|always]`
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import progress, runtime
from jobs.cli import common_flags, exit_code
from jobs.conf import ConfError, Deployment, load
from jobs.flow import BACKTEST, EVALUATION, INTAKE, NIGHT, PLANNING, PUBLISHING, SCORING, TRAINING, Job, edges
from udfs.horizon import HORIZON_DAYS

if TYPE_CHECKING:
    from jobs.launch import Outcome

AT_ONCE = 1  # jobs side by side: two cores gain nothing by two (docs/performance.md)


def run_jobs(
    lake: runtime.Lake,
    jobs: Sequence[Job],
    run_date: dt.date,
    since: dt.date | None = None,
    reingest: bool = False,
    at_once: int = 1,
) -> list[Outcome]:
    """Run jobs in the flow's order, up to `at_once` side by side where neither needs the other; each is shown.

    The first that fails ends the night, once those beside it have ended; should more fail, all are told of.
    """
    from jobs import launch

    order = [job.name for job in jobs]
    waiting = TopologicalSorter[str](dict.fromkeys(order, ()))
    for before, name in edges(tuple(jobs)):
        waiting.add(name, before)
    waiting.prepare()
    ready: list[str] = []
    running: dict[Future[Outcome], str] = {}
    begun: dict[str, float] = {}  # of those that run, by name: when
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, BaseException] = {}

    def act(name: str) -> Outcome:
        # Spark shares its slots out among the pools, instead of serving the job that asked first.
        lake.spark.sparkContext.setLocalProperty("spark.scheduler.pool", name)
        return launch.run(name, lake, run_date, since=since, reingest=reingest)

    with ThreadPoolExecutor(at_once) as threads, progress.watching(lake.spark, begun):
        while running or (waiting.is_active() and not failed):
            ready = sorted([*ready, *waiting.get_ready()], key=order.index)
            while ready and len(running) < at_once and not failed:
                name = ready.pop(0)
                begun[name] = time.monotonic()
                running[threads.submit(act, name)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                del begun[name]
                if error := future.exception():
                    failed[name] = error
                    continue
                outcomes[name] = future.result()
                progress.console.print(_told(outcomes[name]), markup=False, soft_wrap=True)
                waiting.done(name)
    for name, error in list(failed.items())[1:]:
        progress.console.print(f"  {name}: {error}", markup=False, soft_wrap=True)
    for error in failed.values():
        raise error
    return [outcomes[job.name] for job in jobs]


def _told(outcome: Outcome) -> str:
    """One line on what a job did."""
    rows = ", ".join(f"{table} {count:,}" for table, count in outcome.rows.items())
    said = f"skipped: {outcome.skipped}" if outcome.skipped else rows or "nothing new"
    return f"  {outcome.job:<30} {outcome.seconds:6.1f} s  {said}"


def run_night(
    deployment: Deployment,
    run_date: dt.date,
    *,
    train: str = "never",
    only: str = "night",
    since: dt.date | None = None,
    reingest: bool = False,
    at_once: int = AT_ONCE,
) -> None:
    """The night of one date, or after its intake only `training`; prints what a person wants to know of it.

    `train`: 'missing' trains first when no promoted model has seen data up to run_date only, 'always' trains anyway.
    `only` = 'evaluation' judges the night instead, by the 28 days after it, whose logs it takes in first; 'backtest'
    judges how demand, stock and audiences would have been planned on earlier dates by what followed up to run_date.
    """
    if only == "evaluation":
        run_date += dt.timedelta(days=HORIZON_DAYS)
    progress.console.print(f"Nightshelf: {deployment.name}, night of {run_date}. Starting Spark ...", markup=False)
    with ThreadPoolExecutor(1) as pool:
        log_file = Path("logs") / f"spark-{deployment.name}.log"
        starting = pool.submit(runtime.session, deployment, log_file=log_file)
        # Importing Great Expectations takes as long as starting the JVM, some eight seconds: side by side.
        from jobs import launch, mapping, summary

        launch.check_settings(deployment)
    spark = starting.result()
    lake = runtime.Lake(spark, deployment)
    mapping.check_mappings(spark, deployment)
    # One after the other: to read a deployment's own SQL changes a setting of the session (mapping.nulls_for_errors).
    outcomes = run_jobs(lake, INTAKE, run_date, since, reingest)
    if only == "evaluation":
        run_jobs(lake, EVALUATION, run_date)
        summary.show_evaluation(lake, run_date)
        return
    if only == "backtest":
        run_jobs(lake, BACKTEST, run_date)
        summary.show_backtest(lake, run_date)
        return
    if train == "always" or (train == "missing" and not _has_model(lake, run_date)):
        outcomes += run_jobs(lake, TRAINING, run_date)
    if only == "night":
        if train == "never":
            lake.promoted_model(run_date)  # says at once what is missing, instead of after the histories
        outcomes += run_jobs(lake, SCORING + PLANNING + PUBLISHING, run_date, at_once=at_once)
        summary.show(lake, run_date, outcomes)


def _has_model(lake: runtime.Lake, run_date: dt.date) -> bool:
    try:
        lake.promoted_model(run_date)
    except ConfError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, run the night; the exit code of design.md."""
    parser = argparse.ArgumentParser(
        prog="jobs.night", description=f"The night: {', '.join(job.name for job in NIGHT)}"
    )
    common_flags(parser)
    parser.add_argument("--train", choices=("never", "missing", "always"), default="never", help="train a model first")
    parser.add_argument("--only", choices=("night", "training", "evaluation", "backtest"), default="night")
    parser.add_argument(
        "--at-once", type=int, choices=range(1, 9), default=AT_ONCE, help=f"jobs side by side; default {AT_ONCE}"
    )
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
            at_once=given.at_once,
        )

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
