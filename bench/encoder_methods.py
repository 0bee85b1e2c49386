"""NDCG@10 on new items of several methods for item vectors: frozen BERT, what BERT imitates, full, LoRA.

    python -m bench.encoder_methods --conf conf/online_retail.toml --cut 2011-10-14
    python -m bench.encoder_methods --events events.parquet --cut 2011-10-14

Models learn from the days before the cut and are measured on the 28 days from it: all are validation figures. A
parquet file needs the columns user_id (none for a guest), item_id, event_date, basket_id, quantity and title.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from jobs.offline.encoder_training import MAX_TEXTS
from jobs.offline.training_data import Shop, collect
from jobs.runner.cli import parse_date
from udfs.catalogue import catalogue_of
from udfs.days import day_number
from udfs.encoder import base_model, tower
from udfs.encoder.tower_settings import TowerSettings
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import from_frame


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
    return collect(events, items, max_users, deployment)


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


def main(arguments: list[str]) -> None:
    """Train once per method and rate, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.encoder_methods", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--conf", help="a deployment, whose lake holds the days")
    source.add_argument("--events", help="a parquet file of purchases")
    parser.add_argument("--cut", required=True, type=parse_date, help="the first day that the models do not see")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--evaluate-every", type=int, default=20)
    parser.add_argument("--lora-rates", type=float, nargs="*", default=[TowerSettings().lora_rate])
    parser.add_argument("--lora-rank", type=int, default=TowerSettings().lora_rank)
    parser.add_argument("--max-users", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    shop = shop_of_lake(given.conf, given.cut, given.max_users) if given.conf else shop_of_file(given.events, given.cut)
    texts, lines = shop.by_text(MAX_TEXTS)
    plain = TowerSettings(
        max_steps=given.steps,
        refit_steps=0,
        evaluate_every=given.evaluate_every,
        patience=given.steps,
        lora_rank=given.lora_rank,
    )
    runs = {f"fine-tuned, all of the upper layers, {plain.learning_rate:g}": plain}
    for rate in given.lora_rates:
        runs[f"LoRA, rank {given.lora_rank}, {rate:g}"] = replace(plain, method="lora", lora_rate=rate)
    table = Table("", "NDCG@10", "+ popularity", "best step", "seconds a step")
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    for name, settings in runs.items():
        console.print(name, style="dim")
        with tempfile.TemporaryDirectory() as scratch:
            report = tower.train_tower(
                texts,
                lines,
                day_number(given.cut) + HORIZON_DAYS,
                base_model.base_folder(),
                Path(scratch) / "model",
                settings=settings,
                seed=given.seed,
                log=console.print,
            )
        points = {"frozen BERT + adapter": report.frozen, "the vectors that BERT imitates": report.learned}
        for words, point in (points if not table.row_count else {}).items():
            table.add_row(words, f"{point.ndcg:.4f}", f"{point.ndcg_with_popularity:.4f}", "", "")
        best = report.best
        table.add_row(
            name,
            f"{best.ndcg:.4f}",
            f"{best.ndcg_with_popularity:.4f}",
            str(best.step),
            f"{report.step_seconds:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
