"""Speed of scoring with several times as many users, in users per second.

    python -m bench.growth --conf conf/complete_journey.toml --run-date 2017-12-03
    python -m bench.growth --conf conf/online_retail.toml --run-date 2011-11-10 --users 1000 --times 1 4 16

Needs a lake with a run of that date (`make run`). Some of its users are copied that many times ("lives"): the same
purchases under new ids, in a table of events, which the jobs score_candidates and rank_recommendations then process,
from Delta table to Delta table. A ratio of 1 means that a user costs the same among many as among few.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bench.harness import Contenders, Row, alternate, compare, console, gate, on_cpu, report
from jobs.flow import JOBS
from jobs.rank_recommendations import rank_recommendations
from jobs.runner import model_store, shared_files
from jobs.runner.cli import parse_date
from jobs.runner.lake import Lake
from jobs.runner.session import session
from jobs.runner.settings import settings
from jobs.score_candidates import score_candidates
from schemas.deployment import load
from schemas.job import history, latest, today
from schemas.run import RunContext

TARGET = 1 / 1.1  # a user may cost a tenth more among many


class Nights:
    """Scoring of a date of a lake, for tables of events with more users than the lake's."""

    def __init__(self, lake: Lake, run_date: dt.date, folder: Path) -> None:
        self.lake, self.run_date, self.folder = lake, run_date, folder
        self.model = model_store.promoted_model(lake, run_date)
        self.items = lake.read(today("silver.items"), run_date, [])
        self.item_vectors = lake.read(today("features.item_vectors"), run_date, [])
        self.user_vectors = lake.read(latest("features.user_vectors"), run_date, [])
        self.endings: list[Callable[[bool], None]] = []
        self.stock = lake.empty("silver.stock")  # all items are in stock
        self.suspects = lake.empty("silver.suspects")
        self.blocked = lake.empty("silver.blocked")

    def enlarge(self, users: int, times: Sequence[int]) -> int:
        """Write the events of at most `users` users, and of multiples of them; the number of users chosen.

        A user's `life` is a number after the id: u1#0, u1#1; a basket's and an event's, too.
        """
        bought = self.lake.read(history("silver.events"), self.run_date, []).where(
            "event_type = 'purchase' AND user_id IS NOT NULL"
        )
        chosen = bought.select("user_id").distinct().orderBy(F.xxhash64("user_id"), "user_id").limit(users).persist()
        some = bought.join(chosen, "user_id", "left_semi")
        for number in times:
            lives = self.lake.spark.range(number).select(F.col("id").alias("life"))
            own = ("user_id", "basket_id", "event_id")
            named = {name: F.concat(name, F.lit("#"), F.col("life")) for name in own}  # null stays null
            self._write(some.crossJoin(lives).withColumns(named).drop("life"), f"events-{number}")
        return chosen.count()

    def score(self, number: int) -> None:
        """Run the two jobs on `number` times the users."""
        candidates = score_candidates(
            self._read(f"events-{number}"),
            self.items,
            self.item_vectors,
            self.user_vectors,
            self.suspects,
            self.model,
            **self._knobs(score_candidates),
        )
        self._write(candidates, f"candidates-{number}")
        lists = rank_recommendations(
            self._read(f"candidates-{number}"),
            self.items,
            self.item_vectors,
            self._read(f"events-{number}"),
            self.stock,
            self.blocked,
            self.model,
            **self._knobs(rank_recommendations),
        )
        self._write(lists, f"lists-{number}")
        self.lake.spark.catalog.clearCache()
        for end in self.endings:
            end(True)
        self.endings.clear()

    def check(self, users: int, number: int) -> str:
        """One line: every life of every user has one list, and the same as the user's first. Raises GateError."""
        user, life = F.regexp_replace("user_id", r"#\d+$", ""), F.substring_index("user_id", "#", -1).cast("int")
        pairs = F.sort_array(F.collect_list(F.struct("rank", "item_id")))
        lists = self._read(f"lists-{number}").groupBy("user_id").agg(pairs.alias("list"))
        user_lists = lists.select(user.alias("user"), life.alias("life"), "list").persist()
        gate(f"{number} times the users: users with a list", user_lists.count() / (users * number), 1.0)
        first = user_lists.where("life = 0").select("user", F.col("list").alias("first"))
        same = user_lists.join(first, "user", "inner").where("list = first").count()
        return gate(f"{number} times the users: lists as those of the first life", same / (users * number), 1.0)

    def _knobs(self, function: Any) -> dict[str, Any]:
        """Settings of the deployment, without long_tail, by which lists depend on other users."""
        knobs = settings(JOBS[function.__name__], function, self.lake.deployment, {})
        knobs.pop("long_tail", None)
        share = partial(shared_files.share, at_end=self.endings.append)
        return knobs | {"run": RunContext(self.run_date, self.lake.deployment, share=share)}

    def _write(self, frame: DataFrame, name: str) -> None:
        frame.write.format("delta").mode("overwrite").save(f"{self.folder}/{name}")

    def _read(self, name: str) -> DataFrame:
        return self.lake.spark.read.format("delta").load(f"{self.folder}/{name}")


def measure(nights: Nights, users: int, times: Sequence[int], repeats: int) -> list[Row]:
    """One row for each step from fewer to more users, and one from first to last, after the lists have been checked."""
    chosen = nights.enlarge(users, times)
    for number in times:
        nights.score(number)
        console().print(nights.check(chosen, number), style="dim")
    contenders: Contenders = {f"{number}": (partial(nights.score, number), chosen * number) for number in times}
    timings = alternate(contenders, repeats)
    steps = [*pairwise(times), (times[0], times[-1])] if len(times) > 2 else [(times[0], times[-1])]
    device = on_cpu(nights.lake.spark.sparkContext.defaultParallelism)
    return [
        compare(
            f"scoring {chosen * more:,} users vs {chosen * fewer:,}",
            device,
            timings[str(more)],
            timings[str(fewer)],
            "users/s",
            TARGET,
        )
        for fewer, more in steps
    ]


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conf", default="conf/complete_journey.toml")
    parser.add_argument("--run-date", type=parse_date, default=dt.date(2017, 12, 3))
    parser.add_argument("--users", type=int, default=250, help="of the lake's users, how many are given more lives")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    deployment = load(given.conf)
    with tempfile.TemporaryDirectory() as folder:
        spark = session(deployment, log_file=Path(folder) / "spark.log")
        nights = Nights(Lake(spark, deployment), given.run_date, Path(folder))
        rows = measure(nights, given.users, given.times, given.repeats)
        spark.stop()
    report(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
