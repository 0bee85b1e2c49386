"""What a learned user vector is worth beside the mean vector: alone, with popularity, and as features of the ranker.

    python -m bench.user_encoder --conf conf/online_retail.toml --model lake/online_retail/models/VERSION
    python -m bench.user_encoder --conf conf/complete_journey.toml --model FOLDER --designs lines --trees 100

The item vectors and the past runs are those of a training. The user encoder learns from the days before the oldest of
its past runs, which chooses the weight of popularity; the ranker learns from all but the last, and this one is judged
by the 28 days from it. `added`: four features more, of the cosine of the learned vector and the item's; `instead`: the
features of the mean vector's cosine are of the learned one's. Candidates are the same everywhere. A seed is one fit of
the user encoder; intervals are over users and seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from rich.table import Table

from bench.encoder_methods import shop_of_lake
from bench.harness import console
from jobs.offline.training_data import PastNight, Shop
from jobs.runner.cli import parse_date
from udfs.days import date_of, day_number
from udfs.encoder import base_model, model_reader, user_tower
from udfs.encoder.copurchase import recent_buyers
from udfs.encoder.user_encoder import MEAN_LINES, Mean, TowerEncoder, UserReader
from udfs.encoder.user_examples import UserExamples
from udfs.encoder.user_tower import UserSettings
from udfs.encoder.user_training import UserLearning, learn
from udfs.evaluation import metrics
from udfs.interactions import Floats
from udfs.recommend import fit_ranker, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.features import generator_columns
from udfs.recommend.generators import GENERATORS
from udfs.top_k.exact import best_columns

PerTask: TypeAlias = dict[str, metrics.PerUser]
Users: TypeAlias = dict[int, Floats]  # by day
Given: TypeAlias = argparse.Namespace

K, SCALE, MOST_USERS, MOST_ROWS = 10, 12.0, 1_500, 300_000
POPULARITY_WEIGHTS = (0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
# weights: of the mean vector, learned; lines, baskets: a BERT over items or over baskets, added to that mean vector.
DESIGNS: Final[dict[str, tuple[dict[str, Any], UserLearning]]] = {
    "weights": ({"layers": 0}, UserLearning(steps=300, batch_size=128)),
    "lines": ({}, UserLearning()),
    "baskets": ({"layers": 2, "baskets": True}, UserLearning(steps=200, batch_size=128)),
    "lines, no mean": ({"residual": False}, UserLearning()),
}
BERT = [name for name in FEATURES if name.startswith("bert_")]


@dataclass(frozen=True)
class Contest:
    """The past runs of a training with their item vectors, oldest first; the last one is judged."""

    shop: Shop
    vectors: Floats
    nights: list[PastNight]

    @property
    def first(self) -> int:
        """The day before which a user encoder learns."""
        return self.nights[0].day

    def users(self, reader: UserReader) -> Users:
        """The vectors of all users as of each run."""
        return {n.day: reader(self.shop.interactions.before(n.day), self.vectors, n.day) for n in self.nights}

    def alone(self, users: Users) -> dict[str, PerTask]:
        """Per task the NDCG@10 of the vectors alone, and with popularity: its weight is the best of the first run."""
        first = self._ndcg(users, self.first, POPULARITY_WEIGHTS)
        best = {
            task: POPULARITY_WEIGHTS[int(np.argmax([np.nanmean(row) for row in rows]))] for task, rows in first.items()
        }
        last = self._ndcg(users, self.nights[-1].day, (0.0, *best.values()))
        with_popularity = {task: last[task][1 + place] for place, task in enumerate(best)}
        return {"alone": {task: rows[0] for task, rows in last.items()}, "with popularity": with_popularity}

    def _ndcg(self, vectors: Users, day: int, weights: Sequence[float]) -> dict[str, list[metrics.PerUser]]:
        """Per task and weight of popularity the NDCG@10 of at most MOST_USERS users."""
        history = self.shop.interactions.before(day)
        users, truth = metrics.truths(self.shop.interactions, day)
        some = np.arange(0, len(users), -(-len(users) // MOST_USERS))
        sold = np.unique(history.item)
        cosines = vectors[day][users[some]] @ self.vectors[sold].T
        recent, own = recent_buyers(history, day)[sold], history.matrix()[users[some]][:, sold].nonzero()
        found: dict[str, list[metrics.PerUser]] = {}
        for task in (metrics.TASK_NEW, metrics.TASK_ALL):
            if task == metrics.TASK_NEW:
                shown = cosines.copy()
                shown[own] = -np.inf
            else:
                shown = cosines
            tops = (best_columns(np.float32(SCALE) * shown + np.float32(weight) * recent, K) for weight in weights)
            found[task] = [metrics.ranking(sold[top], truth[task][some], K)["ndcg"] for top in tops]
        return found

    def fused(self, users: Users | None, trees: int, *, instead: bool = False) -> PerTask:
        """Per task the NDCG@10 of the last run's lists by a ranker fitted on the others; without users, as it is."""
        nights = [night.night if users is None else self._with(night, users, instead) for night in self.nights]
        names = [*FEATURES, *(f"learned_{name}" for name in BERT)][: nights[0].features.shape[1]]
        cores = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        settings = fit_ranker.Settings(trees=trees, max_rows=MOST_ROWS, threads=cores)
        fitted = fit_ranker.fit_order(nights[:-1], names, GENERATORS, settings)
        last, score = self.nights[-1], ranker.raw_score(fitted, nights[-1].features)
        judged, truth = metrics.truths(self.shop.interactions, last.day)
        found = {}
        for task, rows in ((metrics.TASK_ALL, np.ones(len(score), bool)), (metrics.TASK_NEW, ~last.own)):
            lists = scoring.lists(last.pairs.user[rows], last.pairs.item[rows], score[rows], judged, K)
            found[task] = metrics.ranking(lists, truth[task], K)["ndcg"]
        return found

    def _with(self, night: PastNight, vectors: Users, instead: bool) -> fit_ranker.Night:
        """The run with the features of these vectors' cosine, added or instead of the mean vector's."""
        users, pairs = vectors[night.day], night.pairs
        scores = pairs.scores.copy()
        scores[:, GENERATORS.index("bert")] = np.einsum("ij,ij->i", users[pairs.user], self.vectors[pairs.item])
        columns = generator_columns(replace(pairs, scores=scores))
        new = np.stack([columns[name] for name in BERT], axis=1).astype(np.float32)
        table = night.night.features
        if instead:
            table = table.copy()
            table[:, [list(FEATURES).index(name) for name in BERT]] = new
        else:
            table = np.concatenate([table, new], axis=1)
        return replace(night.night, features=table)


def contest_of(shop: Shop, folder: Path, generators: Sequence[str], days: Sequence[int]) -> Contest:
    """The past runs of these days, with the item vectors that a training's ranker learned with."""
    with np.load(folder / scoring.EARLIER, allow_pickle=False) as stored:
        place = {item: row for row, item in enumerate(stored["items"].tolist())}
        row = np.array([place.get(item, -1) for item in shop.catalogue.items.tolist()])
        vector_of = np.where(row >= 0, stored["vector_of"][row], -1).astype(np.int32)
        known = shop.catalogue.with_vectors(stored["vectors"], vector_of)
    cores = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    nights = shop.past_nights(known, dict.fromkeys(days, True), generators, cores=cores)
    return Contest(shop, known.item_vectors(), list(nights.values()))


def reader_of(contest: Contest, design: str, max_lines: int, steps: int | None, seed: int) -> UserReader:
    """A user encoder of this design that has learned from purchases before the first run."""
    model, vectors = model_reader.read_model(base_model.base_folder())[0], contest.vectors
    shape, how = DESIGNS[design]
    how = replace(how, steps=how.steps if steps is None else steps)
    settings = UserSettings(vectors.shape[1], model.config.num_attention_heads, max_lines=max_lines, **shape)
    tower = user_tower.tower_over(model, settings, seed)
    examples = UserExamples(contest.shop.interactions, vectors, contest.first, max_lines)
    done = learn(tower, examples, vectors, how, seed)
    console().print(f"{design}, seed {seed}: {len(examples):,} examples, {done}", style="dim")
    return UserReader(TowerEncoder(tower), max_lines)


def main(arguments: list[str]) -> None:
    """Fit the designs and print their leads over the mean vector."""
    parser = argparse.ArgumentParser(
        "python -m bench.user_encoder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conf", required=True, help="a deployment, whose lake holds the days")
    parser.add_argument("--model", required=True, type=Path, help="the folder of a model that was trained there")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS)[:3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--trees", type=int, default=0, help="of the ranker; 0 for its linear part alone")
    parser.add_argument("--steps", type=int, help="of the fit; default: of each design")
    parser.add_argument("--max-lines", type=int, nargs="+", default=[UserSettings.max_lines])
    parser.add_argument("--max-users", type=int, default=20_000)
    given = parser.parse_args(arguments)
    story = json.loads((given.model / scoring.TRAINING).read_text("utf-8"))
    days = sorted(day_number(parse_date(night)) for night in story["nights"])
    shop = shop_of_lake(given.conf, date_of(days[-1]), given.max_users)
    judge(contest_of(shop, given.model, scoring.read_ranker(str(given.model)).generators, days), given)


def judge(contest: Contest, given: Given) -> None:
    """Print a table after each design."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    fused, mean = contest.fused(None, given.trees), contest.users(UserReader(Mean(), MEAN_LINES))
    base = contest.alone(mean) | {"added": fused, "instead": fused}
    for design in given.designs:
        for max_lines in given.max_lines:
            runs = []
            for seed in given.seeds:
                users = contest.users(reader_of(contest, design, max_lines, given.steps, seed))
                added, instead = (contest.fused(users, given.trees, instead=instead) for instead in (False, True))
                runs.append(contest.alone(users) | {"added": added, "instead": instead})
            report(f"{design}, {max_lines} lines", runs, base)


def report(title: str, runs: list[dict[str, PerTask]], base: dict[str, PerTask]) -> None:
    """Print the leads of these seeds."""
    table = Table("", "task", "learned", "mean vector", "lead", "95 % interval over users and seeds", title=title)
    for measure, tasks in base.items():
        for task, theirs in tasks.items():
            ours = np.stack([run[measure][task] for run in runs])
            lead = metrics.Bootstrap(len(theirs)).refitted(ours, np.stack([theirs] * len(ours)))
            kind = "new items" if task == metrics.TASK_NEW else "all items"
            row = (f"{np.nanmean(ours):.4f}", f"{np.nanmean(theirs):.4f}", f"{lead.value:+.1%}")
            table.add_row(measure, kind, *row, f"{lead.low:+.1%} to {lead.high:+.1%}")
    console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
