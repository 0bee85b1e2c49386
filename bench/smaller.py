"""Speed, size and quality of the encoders that conf can serve: the full one, fewer layers, 8-bit products.

    python -m bench.smaller                                                      # the base weights: no NDCG
    python -m bench.smaller --conf conf/online_retail.toml --cut 2011-10-14      # fine-tuned on a lake's days before it
    python -m bench.smaller --events purchases.parquet --cut 2011-10-14          # the same on a file's

Speed is a ratio to the full encoder, in its serving precision, measured in turn. Cosines and shared neighbours are of
texts that the smaller encoders have not learned from; neighbours are sought among all texts read. NDCG@10 is of items
new to their users, in the 28 days from the cut, by the vectors alone and with popularity. A parquet file has the
columns that bench.encoder_methods wants.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from bench.encode import NEIGHBOURS, neighbours
from bench.encoder_methods import shop_of_file, shop_of_lake
from bench.harness import Contenders, Row, alternate, compare, console, on_cpu, report
from bench.texts import real_texts
from jobs.offline.encoder_training import MAX_TEXTS
from jobs.offline.training_data import Shop
from jobs.runner.cli import parse_date
from udfs.days import day_number
from udfs.encoder import base_model, distil, encoder, int8, model_folder, model_reader, tower
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_settings import TowerSettings
from udfs.horizon import HORIZON_DAYS

FULL, TOKENS = "full", "token ids alone"
UNSEEN_SHARE = 0.1
# What a worker reads of a folder: its size. The ranker and its vectors are the same beside any encoder.
FILES = (
    model_folder.CONFIG,
    model_folder.TOKENIZER,
    model_folder.WEIGHTS,
    model_folder.INT8,
    model_folder.ADAPTER,
    model_folder.SETTINGS,
)


@dataclass(frozen=True)
class Judge:
    """What was bought from the cut on, by which the vectors of `texts` are measured."""

    checks: Checks
    texts: list[str]
    scale: float

    def ndcg(self, model: encoder.Encoder) -> tuple[float, float]:
        """NDCG@10 on new items: by the vectors alone, and with the popularity that goes best with them."""
        vectors = model.encode(self.texts, model.settings.max_item_tokens)
        alone, blended, _ = self.checks.measure(vectors, TowerSettings().pooling, self.scale)
        return alone, blended


def tuned(shop: Shop, cut: dt.date, steps: int, seed: int, output: Path) -> Judge:
    """A tower trained on the days before the cut is written to `output`; what followed judges it and its students."""
    texts, lines = shop.by_text(MAX_TEXTS)
    settings = TowerSettings(max_steps=steps, refit_steps=0, evaluate_every=max(1, steps // 4), patience=steps)
    day = day_number(cut) + HORIZON_DAYS
    training = tower.train_tower(
        texts, lines, day, base_model.base_folder(), output, settings=settings, seed=seed, log=console().print
    )
    return Judge(Checks(lines.before(day), day - HORIZON_DAYS), texts, training.scale)


def smaller(
    full: Path, texts: list[str], layers: int, steps: int, seed: int, scratch: Path
) -> tuple[dict[str, Path], distil.DistilReport]:
    """The folders of all encoders, and how the smaller one was distilled from these texts."""
    few, name = scratch / "few", f"{layers} layers"
    settings = distil.DistilSettings(layers=layers, steps=steps)
    distilled = distil.distil(texts, full, few, settings=settings, seed=seed, log=console().print)
    folders = {FULL: full, name: few}
    for of, folder in list(folders.items()):
        int8.write_int8(folder, scratch / f"{folder.name}-int8")
        folders[f"{of}, 8-bit"] = scratch / f"{folder.name}-int8"
    return folders, distilled


def load_seconds(folder: Path) -> float:
    """How long a new worker takes to have the encoder, imports included."""
    code = (
        "import sys, time; started = time.perf_counter(); from udfs.encoder.encoder import load_encoder; "
        "load_encoder(sys.argv[1]); print(time.perf_counter() - started)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return float(process.stdout)


def measure(folders: Mapping[str, Path], texts: list[str], unseen: int, judge: Judge | None, repeats: int) -> list[Row]:
    """The rows of all encoders and the table; no student has learned from the first `unseen` of the texts."""
    import torch

    models = {name: encoder.load_encoder(folder) for name, folder in folders.items()}
    contenders: Contenders = {
        name: (partial(model.encode, texts, model.settings.max_item_tokens), len(texts))
        for name, model in models.items()
    }
    vectors = {name: np.asarray(run()) for name, (run, _) in contenders.items()}  # which warms them up, too
    tokenizer, most = model_reader.read_tokenizer(folders[FULL]), models[FULL].settings.max_item_tokens
    contenders[TOKENS] = (partial(encoder.token_ids, tokenizer, texts, most), len(texts))
    timings = alternate(contenders, repeats)
    near = neighbours(vectors[FULL], unseen)
    table = Table(
        *("", "texts/s", "to full", "spread", "of it token ids", "load, s", "MiB"),
        *("cosine", "least", f"top {NEIGHBOURS}", "NDCG@10", "+ popularity"),
    )
    rows, where = [], on_cpu(torch.get_num_threads())
    for name, folder in folders.items():
        row = compare(f"smaller: {name} vs {FULL}", where, timings[name], timings[FULL], "texts/s")
        tokens = compare("", "", timings[name], timings[TOKENS], "texts/s").ratio
        cosine = (vectors[name][:unseen] * vectors[FULL][:unseen]).sum(axis=1)
        shared = [len(a & b) / NEIGHBOURS for a, b in zip(neighbours(vectors[name], unseen), near, strict=True)]
        size = sum(path.stat().st_size for path in folder.iterdir() if path.name in FILES) / 2**20
        table.add_row(
            name,
            f"{row.value:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.spread:.2f}",
            f"{tokens:.1%}",
            f"{load_seconds(folder):.1f}",
            f"{size:.1f}",
            f"{cosine.mean():.4f}",
            f"{cosine.min():.3f}",
            f"{np.mean(shared):.1%}",
            *(f"{value:.4f}" for value in (judge.ndcg(models[name]) if judge else ())),
        )
        if name != FULL:
            rows.append(row)
    console().print(table)
    return rows


def main(arguments: list[str]) -> None:
    """Train if requested, distil, export, measure."""
    parser = argparse.ArgumentParser(
        "python -m bench.smaller", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--conf", help="a deployment, whose lake holds the days")
    source.add_argument("--events", help="a parquet file of purchases")
    source.add_argument("--file", help="a file of texts, one a line")
    parser.add_argument("--cut", type=parse_date, help="the first day that the full encoder does not see")
    parser.add_argument("--layers", type=int, default=distil.DistilSettings().layers)
    parser.add_argument("--steps", type=int, default=80, help="of the full encoder's training")
    parser.add_argument("--distil-steps", type=int, default=distil.DistilSettings().steps)
    parser.add_argument("--texts", type=int, default=4_096, help="read in the measure of speed")
    parser.add_argument("--max-users", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1, help="as a night's task has; 8-bit products never have more")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    if bool(given.cut) != bool(given.events) and not (given.cut and given.conf):
        parser.error("--events needs --cut, and --cut needs --events or --conf")

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as in a run: tasks fill the cores
    import torch

    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        scratch, judge, full = Path(name), None, base_model.base_folder()
        if given.cut:
            shop = (
                shop_of_file(given.events, given.cut)
                if given.events
                else shop_of_lake(given.conf, given.cut, given.max_users)
            )
            full = scratch / "full"
            judge = tuned(shop, given.cut, given.steps, given.seed, full)
            texts, words = judge.texts, "the shop"
        else:
            texts, words = real_texts(given.conf, given.file)
        texts = sorted(set(texts))
        random.Random(given.seed).shuffle(texts)
        unseen = max(1, round(UNSEEN_SHARE * len(texts)))
        console().print(f"texts of {words}: {len(texts):,} different ones, {unseen:,} of them not learned from")
        folders, distilled = smaller(full, texts[unseen:], given.layers, given.distil_steps, given.seed, scratch)
        console().print(f"distilled in {distilled.steps} steps, {distilled.seconds:,.0f} s")
        report(measure(folders, texts[: given.texts], min(unseen, given.texts), judge, given.repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
