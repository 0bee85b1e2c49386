"""Scoring against a catalogue of millions of items: users per second, and the memory of all processes.

    python -m bench.catalogue --items 1000000 --users 2000
    python -m bench.catalogue                                # 10 million items, 200,000 sold, 10,000 users

Items have random vectors. Purchases are drawn for the sold ones, item models fitted on them, and the state written as
the files that a run ships. Two processes map these and score half of the users each, by a ranker fitted on noise. The
items never sold were all described lately, so every one is a candidate: the search must look at each of their vectors.
`--listed 0` describes them long ago, as a shop's items usually are. Users cost the same in any number (bench.growth).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.harness import Row, console, on_cpu, report
from udfs.catalogue import Catalogue
from udfs.days import NEVER
from udfs.encoder import model_folder
from udfs.interactions import Codes, from_frame
from udfs.recommend import fit_ranker, scoring, state_files
from udfs.recommend.candidates import GENERATORS
from udfs.recommend.feature_meanings import FEATURES

DAY = 20_000
PROCESSES = 2
GIGABYTES = 24.0  # must suffice
ROWS = 200_000  # of vectors drawn at a time
LINES_A_USER = 40


def write_vectors(path: Path, items: int, dims: int) -> None:
    """Random unit vectors, float16 [items, dims], written part by part."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (items, dims))
    draw = np.random.default_rng(1)
    for start in range(0, items, ROWS):
        part = draw.standard_normal((min(ROWS, items - start), dims), np.float32)
        vectors[start : start + ROWS] = part / np.linalg.norm(part, axis=1, keepdims=True)
    vectors.flush()


def catalogue(vectors: Path, items: int, sold: Codes, listed: float) -> Catalogue:
    """The catalogue: a share `listed` of the items was described lately, sold ones long ago."""
    draw = np.random.default_rng(2)
    described = np.where(draw.random(items) < listed, DAY - 5, DAY - 900).astype(np.int32)
    described[sold] = DAY - 900
    return Catalogue(
        np.array([f"i{code:09}" for code in range(items)]),
        draw.integers(0, 500, (items, 3)).astype(np.int32),
        described,
        np.load(vectors, mmap_mode="r"),
        np.arange(items, dtype=np.int32),
        np.full(items, NEVER, np.int32),
    )


def purchases(items: int, sold: int, users: int) -> pd.DataFrame:
    """Every one of `sold` items once, and LINES_A_USER lines of each user, a few items much more often than others."""
    draw = np.random.default_rng(3)
    codes = np.sort(draw.choice(items, sold, replace=False))
    popular = (sold * draw.random(users * LINES_A_USER) ** 3).astype(np.int64)
    every = np.concatenate([codes, codes[popular]])
    user = draw.integers(0, users, len(every))
    days = DAY - 1 - draw.integers(0, 84, len(every))
    return pd.DataFrame(
        {
            "user_id": np.array([f"u{code:07}" for code in user]),
            "item_id": np.array([f"i{code:09}" for code in every]),
            "event_date": days.astype("datetime64[D]"),
            "basket_id": np.array([f"{code}/{day}" for code, day in zip(user, days, strict=True)]),
            "quantity": np.ones(len(every), np.float32),
        }
    )


def write_ranker(folder: Path) -> None:
    """A model folder with nothing but a ranker, of as many trees as a trained one."""
    folder.mkdir()
    draw = np.random.default_rng(5)
    table = draw.normal(size=(20_000, len(FEATURES))).astype(np.float32)
    night = fit_ranker.Night(np.repeat(np.arange(500), 40), table, table[:, 0] + draw.normal(size=20_000) > 1)
    for name in (model_folder.CONFIG, model_folder.TOKENIZER, model_folder.WEIGHTS):
        (folder / name).write_text("{}")
    (folder / scoring.RANKER).write_text(fit_ranker.fit([night], [night], tuple(FEATURES), GENERATORS).to_json())
    model_folder.write_manifest(folder)


def score(lines: Path, part: int, folder: Path) -> int:
    """Rows of the users of one part, scored in this process."""
    table = pd.read_parquet(lines)
    table = table[table["user_id"].str[1:].astype(int) % PROCESSES == part]
    state = state_files.read(str(folder / "state"))
    return sum(batch.num_rows for batch in scoring.score_users(table, state, str(folder / "model"), DAY, 150, 60, 5))


class Memory(threading.Thread):
    """Peaks of this process and its children in bytes: of their own pages, and with their shares of mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own, self.all = 0, 0

    def run(self) -> None:
        """Read it four times a second."""
        while True:
            sums = {"Pss": 0, "Pss_Anon": 0}
            for child in [os.getpid(), *(process.pid or 0 for process in multiprocessing.active_children())]:
                try:
                    lines = Path(f"/proc/{child}/smaps_rollup").read_text("utf-8").splitlines()
                except OSError:
                    continue
                for line in lines:
                    name, _, value = line.partition(":")
                    if name in sums:
                        sums[name] += int(value.split()[0]) << 10
            self.own, self.all = max(self.own, sums["Pss_Anon"]), max(self.all, sums["Pss"])
            time.sleep(0.25)


def prepare(folder: Path, items: int, sold: int, users: int, dims: int, listed: float) -> None:
    """Write the state, the ranker and the purchases."""
    write_vectors(folder / "vectors.npy", items, dims)
    lines = purchases(items, sold, users)
    lines.to_parquet(folder / "lines.parquet")
    codes = np.unique(lines["item_id"].str[1:].to_numpy().astype(np.int64)).astype(np.int32)
    known = catalogue(folder / "vectors.npy", items, codes, listed)
    history = from_frame(lines, known.items[codes])
    history = replace(history, items=known.items, item=np.asarray(codes[history.item], np.int32))
    state_files.write(scoring.fit_state(history, known, DAY), folder / "state")
    write_ranker(folder / "model")


def measure(folder: Path, items: int, sold: int, users: int, dims: int, listed: float) -> list[Row]:
    """Users per second, and peak memory against GIGABYTES."""
    spawn = multiprocessing.get_context("spawn")
    writer = spawn.Process(target=prepare, args=(folder, items, sold, users, dims, listed))
    writer.start()
    writer.join()
    if writer.exitcode:
        raise RuntimeError(f"the state could not be written: exit code {writer.exitcode}")
    memory = Memory()
    memory.start()
    started = time.perf_counter()
    with spawn.Pool(PROCESSES) as pool:
        rows = sum(pool.starmap(score, [(folder / "lines.parquet", part, folder) for part in range(PROCESSES)]))
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in (folder / "state").iterdir())
    console().print(
        json.dumps({"rows": rows, "seconds": round(seconds, 1), "state_bytes": size, "own": memory.own}), style="dim"
    )
    what = f"{users:,} users, {items:,} items, {sold:,} sold"
    gigabytes = memory.all / (1 << 30)
    return [
        Row(f"scoring {what}", on_cpu(PROCESSES), users / seconds, 0.0, "users/s", 0.0, 0.0, None, None),
        Row(
            f"memory, {what}",
            on_cpu(PROCESSES),
            gigabytes,
            GIGABYTES,
            "GiB",
            GIGABYTES / gigabytes,
            0.0,
            1.0,
            gigabytes <= GIGABYTES,
        ),
    ]


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.catalogue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--sold", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--listed", type=float, default=1.0, help="share of the items never sold that are candidates")
    parser.add_argument(
        "--folder", default=None, help="where the files go, some 10 GB; a temporary folder if not given"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        report(measure(Path(folder), given.items, given.sold, given.users, given.dims, given.listed))


if __name__ == "__main__":
    main(sys.argv[1:])
