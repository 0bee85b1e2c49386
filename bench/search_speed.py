"""Measure what the index of a shop costs: built once a run, and the queries that are new since the last one.

    python -m bench.search_speed --landing landing/complete_journey

The items are Complete Journey's 92,331 products; the queries are two words of the catalogue at random, the vectors
random unit vectors. One process.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.search.index import SearchIndex
from udfs.search.spelling import Speller
from udfs.search.words import normalised_text, words

QUERIES, NEW, DIMS = 20_000, 200, 384
FIELDS = {"product_type": "title", "product_category": "category", "brand": "brand", "package_size": "keywords"}


def unit(rows: int, seed: int) -> npt.NDArray[np.float16]:
    """[rows, DIMS] random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(rows, DIMS)).astype(np.float32)
    unit_rows: npt.NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return unit_rows


def main() -> None:
    """Print seconds of each step and the memory at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True, help="Complete Journey's raw files")
    files = sorted((parser.parse_args().landing / "products").glob("*.csv"))
    items = pd.read_csv(files[-1], dtype=str).rename(columns={"product_id": "item_id", **FIELDS})
    items = items.assign(title=items["title"].fillna(items["department"]))
    vectors = unit(len(items), 0)
    clock = [perf_counter()]
    index = SearchIndex.fit(items, vectors)
    clock.append(perf_counter())
    texts = sorted(set((items["title"] + " " + items["category"].fillna("")).tolist()))
    speller = Speller.fit(texts)
    clock.append(perf_counter())
    vocabulary = sorted({word for text in texts for word in words(normalised_text(text))})
    chosen = np.random.default_rng(1).integers(0, len(vocabulary), (QUERIES, 2))
    queries = pd.DataFrame({"query": [" ".join(vocabulary[at] for at in row) for row in chosen]})
    clock.append(perf_counter())
    rows = len(index.match(queries, unit(QUERIES, 2)))
    clock.append(perf_counter())
    index.match(queries.head(NEW), unit(NEW, 3))
    clock.append(perf_counter())
    for query in queries["query"].head(NEW):
        speller.correct(query[:-1])
    clock.append(perf_counter())
    fit, spell, _, all_of_them, new, corrected = np.diff(clock)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(items):,} items, {len(index.first) - 1:,} distinct texts: index {fit:.1f} s, words {spell:.1f} s")
    print(f"{QUERIES:,} queries matched in {all_of_them:.1f} s ({rows:,} rows), {NEW} new ones in {new:.2f} s")
    print(f"{NEW} misspelt queries corrected in {corrected:.2f} s; {memory:.1f} GiB at most")


if __name__ == "__main__":
    main()
