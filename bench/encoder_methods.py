"""What fine-tuning is worth: NDCG@10 on new items of the tuned and of the frozen BERT, over several seeds.

    python -m bench.encoder_methods --conf conf/online_retail.toml --cut 2011-10-14
    python -m bench.encoder_methods --events events.parquet --cut 2011-10-14 --lora

Each tower is trained as a training does it, on the days before the cut: the last 28 of these choose its step and the
weights of cosine and popularity. It is measured on the 28 days from the cut, which it has not seen. Intervals are over
(user, seed): both are resampled. A parquet file needs the columns user_id (none for a guest), item_id, event_date,
basket_id, quantity and title.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from jobs.offline.encoder_training import MAX_TEXTS
from jobs.offline.served_encoder import form_to_serve
from jobs.offline.training_data import Shop, collect
from jobs.runner.cli import parse_date
from udfs.catalogue import catalogue_of
from udfs.days import day_number
from udfs.encoder import base_model, model_folder, model_reader, text_vectors, tower, tower_budget
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_settings import TowerReport, TowerSettings
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Interactions, from_frame
from udfs.recommend.sample_budget import SampleBudget

DRAWS = 2_000
FROZEN, TUNED = "frozen BERT + linear map", "fine-tuned"

# [seeds, users] of NDCG@10: by the vectors alone, and with popularity
Figures = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def shop_of_lake(conf: str, cut: dt.date, max_users: int) -> Shop:
    """The data of a deployment's lake 28 days after the cut."""
    from jobs.runner.lake import Lake
    from jobs.runner.session import session
    from schemas.deployment import load
    from schemas.job import history, latest

    deployment = load(conf)
    lake = Lake(session(deployment, log_file=Path("logs") / "spark-bench.log"), deployment)
    run_date = cut + dt.timedelta(days=HORIZON_DAYS - 1)
    events, items = (lake.read(read, run_date, []) for read in (history("silver.events"), latest("silver.items")))
    return collect(events, items, SampleBudget(users=max_users), deployment, run_date)


def shop_of_file(path: str, cut: dt.date) -> Shop:
    """Purchases of a parquet file up to 28 days after the cut; an item's text is its newest title before the cut."""
    events = pd.read_parquet(path)
    when = pd.to_datetime(events["event_date"])
    events = events.assign(late=when >= np.datetime64(cut))[when < np.datetime64(cut + dt.timedelta(days=HORIZON_DAYS))]
    lines = from_frame(events)
    # Newest first among those before the cut; an item first sold after it has a text, but is in no list.
    newest = events.sort_values("event_date", ascending=False, kind="stable").sort_values("late", kind="stable")
    titles = newest.drop_duplicates("item_id").set_index("item_id")["title"].reindex(lines.items).fillna("")
    known = pd.DataFrame({"item_id": lines.items, "title": titles.to_numpy(), "described_on": str(cut)})
    catalogue = catalogue_of(known.assign(category=None, brand=None))
    return Shop(lines, catalogue, titles.str.lower().tolist())


def relative(contender: npt.NDArray[np.float64], peer: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean of contender / mean of peer - 1 and the ends of its 95 % interval; both [seeds, users], resampled alike."""
    draw, (seeds, users) = np.random.default_rng(0), contender.shape
    ratios = []
    for _ in range(DRAWS):
        drawn = np.ix_(draw.integers(0, seeds, seeds), draw.integers(0, users, users))
        ratios.append(contender[drawn].mean() / peer[drawn].mean() - 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(contender.mean() / peer.mean() - 1), float(low), float(high)


def measured(folder: Path, report: TowerReport, lower: LowerLayers, checks: Checks) -> dict[str, Figures]:
    """Per user NDCG@10 of the tower in a folder and of the frozen map beside it, alone and with popularity."""
    adapter, frozen = (
        model_reader.read_adapter(folder, n) for n in (model_folder.ADAPTER, model_folder.FROZEN_ADAPTER)
    )
    assert adapter is not None
    assert frozen is not None
    if lower.form == "int8":
        tuned = adapter(lower.int8_vectors(model_reader.read_model(folder)[0]))
    else:
        tuned = text_vectors.encode(folder, lower.texts)
    pooling = TowerSettings().pooling
    return {
        FROZEN: checks.by_user(frozen(lower.vectors), pooling, report.frozen_scale, report.frozen_popularity),
        TUNED: checks.by_user(tuned, pooling, report.scale, report.popularity),
    }


def trained(
    lower: LowerLayers, lines: Interactions, cut: int, settings: TowerSettings, seed: int, console: Console
) -> tuple[TowerReport, dict[str, Figures]]:
    """The report of one tower of the days before the cut, and its figures on the days from it."""
    checks = Checks(lines.as_known(cut + HORIZON_DAYS), cut)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        report = tower.train_tower(
            lower.texts,
            lines,
            cut,
            lower.base,
            folder,
            settings=settings,
            seed=seed,
            log=console.print,
            lower=lower,
        )
        return report, measured(folder, report, lower, checks)


def main(arguments: list[str]) -> None:
    """Train once per method and seed, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.encoder_methods", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--conf", help="a deployment, whose lake holds the days")
    source.add_argument("--events", help="a parquet file of purchases")
    parser.add_argument("--cut", required=True, type=parse_date, help="the first day that the models do not see")
    parser.add_argument("--seconds", type=int, default=120, help="the budget of each tower")
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 8, 9])
    parser.add_argument("--tuned-layers", type=int, default=TowerSettings().tuned_layers)
    parser.add_argument("--learn-steps", type=int, default=100)
    parser.add_argument("--lora", action="store_true", help="also low-rank matrices")
    parser.add_argument("--max-users", type=int, default=20_000)
    given = parser.parse_args(arguments)

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    shop = shop_of_lake(given.conf, given.cut, given.max_users) if given.conf else shop_of_file(given.events, given.cut)
    texts, lines = shop.by_text(MAX_TEXTS)
    settings = TowerSettings(tuned_layers=given.tuned_layers, may_stay_frozen=False)
    form = form_to_serve("full", on_gpus=False)
    lower = LowerLayers(texts, base_model.base_folder(), settings.tuned_layers, settings.max_item_tokens, form)
    settings = tower_budget.planned(
        settings,
        lower,
        lines.before(day_number(given.cut)),
        seconds=given.seconds,
        steps=0,
        learn_steps=given.learn_steps,
    )
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    console.print(f"{len(texts):,} texts, {lower.tokens:,} tokens, {settings.max_steps} steps")
    methods = {TUNED: settings} | ({"LoRA": replace(settings, method="lora")} if given.lora else {})
    found: dict[str, list[Figures]] = defaultdict(list)
    reports: dict[str, list[TowerReport]] = defaultdict(list)
    for seed in given.seeds:
        for name, chosen in methods.items():
            report, figures = trained(lower, lines, day_number(given.cut), chosen, seed, console)
            found[name].append(figures[TUNED])
            reports[name].append(report)
            if name == TUNED:
                found[FROZEN].append(figures[FROZEN])
    console.print(table_of(found, reports))


def table_of(found: dict[str, list[Figures]], reports: dict[str, list[TowerReport]]) -> Table:
    """A row per method: its figures, and its lead over the frozen weights."""
    table = Table("", "NDCG@10", "lead", "+ popularity", "lead", "accepted", "s a step")
    frozen = [np.stack(values) for values in zip(*found[FROZEN], strict=True)]
    for name, seeds in found.items():
        row = [name]
        for figures, peer in zip([np.stack(values) for values in zip(*seeds, strict=True)], frozen, strict=True):
            lead = "{:+.1%} ({:+.1%} to {:+.1%})".format(*relative(figures, peer)) if name != FROZEN else ""
            row += [f"{figures.mean():.4f}", lead]
        of = reports.get(name, [])
        better = sum(r.best.ndcg_with_popularity > r.frozen.ndcg_with_popularity for r in of)
        table.add_row(
            *row, f"{better} of {len(of)}" if of else "", f"{np.mean([r.step_seconds for r in of]):.1f}" if of else ""
        )
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
