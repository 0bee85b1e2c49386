"""Measure spelling correction on misspelt words of titles, against SymSpell with the catalogue's words.

    python -m bench.search_spelling --data icecat

Queries are one to three words side by side in titles of a tenth of the items; the catalogue is the other nine tenths,
so that clean queries have words that it lacks. One word of each is misspelt by a letter left out, doubled, turned with
the next, hit beside its key, or added; of one in seven two letters. A query is recovered where its key is the clean
query's. No query of a log is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from symspellpy import SymSpell, Verbosity  # type: ignore[import-untyped]

from bench.search_icecat import catalogue
from udfs.search.edits import neighbours
from udfs.search.spelling import Speller
from udfs.search.words import normalised, normalised_text, query_key, words

QUERIES, TWICE, SHORTEST = 1_000, 1 / 7, 4


def noisy(word: str, draw: np.random.Generator) -> str:
    """A word with one typing error."""
    keys = neighbours()
    while True:
        at = int(draw.integers(0, len(word)))
        beside = sorted(key for key, other in keys if other == word[at])
        key = beside[int(draw.integers(0, len(beside)))] if beside else "e"
        kind = int(draw.integers(0, 5))
        turned = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
        wrong = (
            word[:at] + word[at + 1 :],
            word[: at + 1] + word[at:],
            turned,
            word[:at] + key + word[at + 1 :],
            word[:at] + key + word[at:],
        )[kind]
        if wrong != word:
            return wrong


def pairs(titles: list[str], seed: int = 0) -> list[tuple[str, str]]:
    """Clean and misspelt queries."""
    draw = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    while len(found) < QUERIES:
        typed = words(normalised_text(titles[int(draw.integers(0, len(titles)))]))
        start, count = int(draw.integers(0, max(len(typed), 1))), int(draw.integers(1, 4))
        query = typed[start : start + count]
        long = [at for at, word in enumerate(query) if len(word) >= SHORTEST and word.isascii() and word.isalpha()]
        if long:
            at = long[int(draw.integers(0, len(long)))]
            wrong = noisy(query[at], draw)
            wrong = noisy(wrong, draw) if draw.random() < TWICE else wrong
            found.append((" ".join(query), " ".join([*query[:at], wrong, *query[at + 1 :]])))
    return found


def symspell(texts: list[str]) -> Callable[[str], str]:
    """Each word that the catalogue lacks, by the commonest of the nearest words."""
    known = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    for text in texts:
        for word in set(words(normalised_text(text))):
            known.create_dictionary_entry(word, 1)

    def correct(query: str) -> str:
        meant = []
        for word in words(normalised(query)):
            near = known.lookup(word, Verbosity.TOP, max_edit_distance=2)
            meant.append(near[0].term if near else word)
        return " ".join(meant)

    return correct


def main() -> None:
    """Print a row a contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz")
    items = catalogue(parser.parse_args().data)
    held = np.arange(len(items)) % 10 == 0
    texts = (items["title"] + " " + items["text"] + " " + items["brand"])[~held].tolist()
    queries = pairs(items["title"][held].tolist())
    speller = Speller.fit(texts)
    contenders: dict[str, Callable[[str], str]] = {
        "none": str,
        "SymSpell": symspell(texts),
        "noisy channel": lambda query: speller.correct(query).query,
    }
    print("| contender | misspelt queries recovered | clean queries changed |")
    print("|---|---|---|")
    for name, correct in contenders.items():
        recovered = np.mean([query_key(correct(wrong)) == query_key(clean) for clean, wrong in queries])
        changed = np.mean([query_key(correct(clean)) != query_key(clean) for clean, _ in queries])
        print(f"| {name} | {100 * recovered:.1f} % | {100 * changed:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
