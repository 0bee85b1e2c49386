"""Whether scores hold at any size: a shop whose users are copied 5 and 25 times, scored by the shop's own ranker.

    python -m bench.copies --conf conf/online_retail.toml --cut 2011-10-14

The ranker learns from the shop's own past nights before the cut. Then the first copy's users are scored with item
models of samples of the copies: one complete copy, and what the sampler of jobs/transforms/shop_sample.py draws, which
goes by the hash of ids, so that each seed gives the copies other ids. Text vectors, which no sample changes, are left
out. Every figure is compared with the shop alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

from bench.harness import gate
from jobs.offline.ranker_training import Days
from jobs.offline.training_data import Shop, collect
from jobs.runner.cli import parse_date
from jobs.runner.lake import Lake
from jobs.runner.session import session
from jobs.transforms.shop_sample import ShopSize, sampled
from schemas.deployment import load
from schemas.job import history, latest
from udfs.days import day_number
from udfs.evaluation import metrics
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import ARRAYS, Interactions
from udfs.recommend import candidates, fit_ranker, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.item_statistics import COUNTS, ItemCounts
from udfs.recommend.sample_budget import SampleBudget

K = 10
GENERATORS = tuple(name for name in candidates.GENERATORS if name not in ("bert", "fresh"))
EVERYBODY = SampleBudget(users=1_000_000, lines=1_000_000_000, guest_baskets=1_000_000)
Drawn = list[npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Scored:
    """The first copy's users as one sample scores them: NDCG@10 by task, mean probability, ten best items a user."""

    users: int  # in the sample
    ndcg: dict[str, float]
    probability: float
    lists: npt.NDArray[np.int64]

    def shared(self, other: Scored) -> float:
        """The share of the ten best items of all users that the other has among its ten."""
        same = [len(np.intersect1d(ours, theirs)) for ours, theirs in zip(self.lists, other.lists, strict=True)]
        return sum(same) / self.lists.size


class Copies:
    """A shop, its ranker, and samples of any number of copies of its users and guests."""

    def __init__(self, spark: SparkSession, shop: Shop, cut: int, ranker_nights: int) -> None:
        self.spark, self.shop, self.cut = spark, shop, cut
        self.lines = shop.interactions.before(cut)
        self.fitted = _fitted(shop, days_before(cut, ranker_nights))
        self.judged, self.truth = metrics.truths(shop.interactions, cut)

    def counts(self, copies: int) -> ItemCounts:
        """Everybody's counts in a shop of so many copies."""
        table = self.shop.counts[self.cut].table.copy()
        counted = [place for place, name in enumerate(COUNTS) if not name.endswith("_day")]
        table[:, counted] *= copies
        return ItemCounts(table, self.shop.counts[self.cut].shop_buyers * copies)

    def scored(self, sample: Interactions, copies: int) -> Scored:
        """The first copy's users by item models of a sample of `copies` copies."""
        counts = self.counts(copies)
        state = scoring.fit_state(sample, self.shop.catalogue, self.cut, counts=counts)
        shown, once = state.models.column("buyers_28"), self.counts(1).column("buyers_28")[state.models.items]
        gate("buyers in 28 days, as sentences say them", float((shown == copies * once).mean()), 1.0)
        pairs, table = scoring.propose(self.lines, state, self.cut, GENERATORS)
        score, own = ranker.score(self.fitted, table, pairs.user), table[:, list(FEATURES).index("is_own")] > 0
        ndcg = {}
        for task, rows in ((metrics.TASK_ALL, np.ones(len(own), bool)), (metrics.TASK_NEW, ~own)):
            lists = scoring.lists(pairs.user[rows], pairs.item[rows], score[rows], self.judged, K)
            ndcg[task] = float(np.nanmean(metrics.ranking(lists, self.truth[task], K)["ndcg"]))
        best = scoring.lists(pairs.user, pairs.item, score, np.unique(pairs.user), K)
        return Scored(len(np.unique(sample.known().user)), ndcg, float(score.mean()), best)

    def samples(self, copies: int, seeds: Sequence[int], budget: SampleBudget) -> Iterator[tuple[str, Interactions]]:
        """One complete copy, and per seed what the sampler draws."""
        yield "one complete copy", self.lines
        for seed in seeds:
            yield f"drawn, seed {seed}", self.of(self.drawn(copies, seed, budget))

    def drawn(self, copies: int, seed: int, budget: SampleBudget) -> Drawn:
        """[copies] of [users and baskets of guests]: which the sampler draws."""
        users = len(self.lines.users)
        guests = np.unique(self.lines.basket[self.lines.user < 0])
        rows = []
        for life in range(copies):
            suffix, places = f"#{life}@{seed}", np.concatenate([np.arange(users), users + guests])
            names = [f"{user}{suffix}" for user in self.lines.users] + [None] * len(guests)
            baskets = [f"basket {place}{suffix}" for place in places]
            rows.append(pd.DataFrame({"user_id": names, "place": places, "life": life, "basket_id": baskets}))
        frame = self.spark.createDataFrame(
            pd.concat(rows, ignore_index=True), "user_id STRING, place INT, life INT, basket_id STRING"
        )
        known = int((self.lines.user >= 0).sum())
        lines = known * copies, (len(self.lines) - known) * copies
        size = ShopSize(users * copies, lines[0], len(guests) * copies, lines[1], 0, 0, {})
        chosen = sampled(frame, size, budget).select("life", "place").toPandas()
        width = users + int(self.lines.basket.max()) + 1
        return [np.isin(np.arange(width), chosen["place"][chosen["life"] == life]) for life in range(copies)]

    def of(self, drawn: Drawn) -> Interactions:
        """The lines of what was drawn of each copy, each copy with users and baskets of its own."""
        lines, users, parts = self.lines, len(self.lines.users), []
        who = np.where(lines.user >= 0, lines.user, users + lines.basket)
        for life, chosen in enumerate(drawn):
            part = lines.part(chosen[who])
            own = np.where(part.user >= 0, part.user + life * users, part.user).astype(np.int32)
            baskets = part.basket + life * (int(lines.basket.max()) + 1)
            parts.append(replace(part, user=own, basket=baskets))
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
        names = np.array([f"{life:03}/{user}" for life in range(len(drawn)) for user in lines.users])
        several = replace(lines, users=names, **joined)
        return several.recoded(lines.items, np.arange(len(lines.items), dtype=np.int32))  # sorts


def days_before(cut: int, nights: int) -> Days:
    """The past nights of a training as of the day before the cut, a week apart."""
    newest = cut - 2 * HORIZON_DAYS
    return Days(cut, cut - HORIZON_DAYS, tuple(newest - 7 * number for number in range(nights)))


def _fitted(shop: Shop, days: Days) -> ranker.Ranker:
    """A ranker of the shop's own past nights."""
    past = days.past_nights(shop, shop.catalogue, GENERATORS, lambda _: None)
    nights = [past[day].night for day in days.nights]
    return fit_ranker.fit(nights, [past[days.calibration].night], tuple(FEATURES), GENERATORS)


def measure(
    copies: Copies, times: Sequence[int], seeds: Sequence[int], budget: SampleBudget, console: Console
) -> Table:
    """A row per number of copies and sample."""
    alone = copies.scored(copies.lines, 1)
    table = Table("copies", "sample", "users in it", "NDCG@10 all", "new", "mean probability", "ten best shared")
    rows = [("1", "the shop alone", alone)]
    for number in times:
        for name, sample in copies.samples(number, seeds, budget):
            rows.append((str(number), name, copies.scored(sample, number)))
            console.print(*rows[-1][:2], f"{rows[-1][2].shared(alone):.2%}", style="dim")
    for several, name, scored in rows:
        change = {task: scored.ndcg[task] / alone.ndcg[task] - 1 for task in alone.ndcg}
        table.add_row(
            several,
            name,
            f"{scored.users:,}",
            *(f"{scored.ndcg[task]:.4f} ({change[task]:+.2%})" for task in alone.ndcg),
            f"{scored.probability:.5f} ({scored.probability / alone.probability - 1:+.2%})",
            f"{scored.shared(alone):.2%}",
        )
    return table


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.copies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conf", default="conf/online_retail.toml")
    parser.add_argument("--cut", type=parse_date, default=dt.date(2011, 10, 14), help="the first day not seen")
    parser.add_argument("--times", type=int, nargs="+", default=[5, 25])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--nights", type=int, default=4, help="past nights that the ranker learns from")
    parser.add_argument("--max-users", type=int, default=SampleBudget().users)
    given = parser.parse_args(arguments)
    deployment, console = load(given.conf), Console(width=None if sys.stdout.isatty() else 140)
    spark = session(deployment, log_file=Path("logs") / "spark-bench.log")
    lake, cut = Lake(spark, deployment), day_number(given.cut)
    run_date = given.cut + dt.timedelta(days=HORIZON_DAYS - 1)
    events, items = (lake.read(read, run_date, []) for read in (history("silver.events"), latest("silver.items")))
    days = days_before(cut, given.nights)
    shop = collect(events, items, EVERYBODY, deployment, run_date, [*days.nights, days.calibration, cut])
    copies = Copies(spark, shop, cut, given.nights)
    budget = SampleBudget(users=given.max_users)
    console.print(measure(copies, given.times, given.seeds, budget, console))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
