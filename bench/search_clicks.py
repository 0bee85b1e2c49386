"""Measure what is learned from clicks alone, simulated from judgements of other queries.

    python -m bench.search_clicks --data icecat --cache build/icecat

Clicks are simulated, since no public log joins queries, users and items: each training query is shown SESSIONS times,
its judged items in the order of BM25 with noise; an item is looked at with probability 1 / place^eta, and clicked with
5 % where it is irrelevant, rising to 100 % with 2^grade - 1. Five folds by a hash of the query: figures are NDCG@10 of
the judged items of queries whose clicks nobody saw.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from bench.search_icecat import QUERY_TOKENS, catalogue, encoded, judged, ndcg, stored
from udfs.evaluation.metrics import Bootstrap
from udfs.search import fit_ranker, lexical
from udfs.search.fit_ranker import Lists, Settings
from udfs.search.ranker import QUERY_ITEM, USER_ITEM, untrained
from udfs.search.words import normalised, terms

SESSIONS, FOLDS, NOISE, SHUFFLE = 100, 5, 0.05, 0.15
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Query = tuple[str, list[str], Floats, npt.NDArray[np.int64]]  # text, items, features [items, QUERY_ITEM], grades


def features(data: Path, cache: Path) -> list[Query]:
    """Features of the judged items of each query."""
    items = catalogue(data)
    grades = judged(data, items)
    place = {item: at for at, item in enumerate(items["item_id"])}
    vectors = stored(cache, "items", lambda: np.zeros((0, 0), np.float32))
    if len(vectors) != len(items):
        raise SystemExit("run bench.search_icecat first: it stores the vectors of the items in --cache")
    asked = stored(cache, "queries", lambda: encoded(list(grades), QUERY_TOKENS))
    names = [name for name in lexical.FIELDS if name in items]
    documents = [
        {name: terms(value) for name, value in zip(names, row, strict=True)}
        for row in items[names].itertuples(index=False)
    ]
    index = lexical.Index(documents, lexical.corpus_of(documents))
    scores, covered = index.scores_and_covered([terms(normalised(query)) for query in grades])
    found = []
    for row, (query, known) in enumerate(grades.items()):
        rows = np.array([place[item] for item in known])
        by_words = scores[[row]].toarray()[0][rows]
        columns = {
            "lexical": by_words / max(by_words.max(), 1e-9),
            "covered": covered[[row]].toarray()[0][rows],
            "cosine": vectors[rows] @ asked[row],
        }
        nothing = np.full(len(rows), np.nan)
        matrix = np.column_stack([columns.get(name, nothing) for name in QUERY_ITEM]).astype(np.float32)
        found.append((query, list(known), matrix, np.array(list(known.values()))))
    return found


def clicked(queries: list[Query], eta: float, seed: int) -> tuple[Lists, npt.NDArray[np.int64]]:
    """Lists of the sessions of these queries, in the order shown, and each row's query."""
    draw = np.random.default_rng(seed)
    rows, labels, positions, lists, owner = [], [], [], [], []
    for number, (_, items, matrix, grades) in enumerate(queries):
        attraction = NOISE + (1 - NOISE) * (2.0**grades - 1) / 7
        for session in range(SESSIONS):
            order = np.argsort(-(matrix[:, 0] + SHUFFLE * draw.gumbel(size=len(items))), kind="stable")
            place = np.arange(1, len(items) + 1)
            rows.append(matrix[order])
            labels.append((draw.random(len(items)) < attraction[order] / place**eta).astype(float))
            positions.append(place)
            lists.append(np.full(len(items), number * SESSIONS + session))
            owner.append(np.full(len(items), number))
    both = np.concatenate(rows)
    nobody = np.full((len(both), len(USER_ITEM)), np.nan, np.float32)
    return Lists(
        np.concatenate(lists), both, nobody, np.concatenate(labels), np.concatenate(positions)
    ), np.concatenate(owner)


def trees(lists: Lists, position: bool) -> lgb.Booster:
    """LambdaMART as it comes, with or without its own correction of positions."""
    sizes = np.unique(lists.list, return_counts=True)[1]
    places = np.minimum(lists.position, 20) if position and lists.position is not None else None
    data = lgb.Dataset(lists.query_item[:, :3], lists.label, group=sizes, position=places)
    params = {"objective": "lambdarank", "verbosity": -1, "num_threads": 1, "num_leaves": 7, "learning_rate": 0.05}
    return lgb.train(params | {"min_data_in_leaf": 500, "deterministic": True, "force_row_wise": True}, data, 60)


def scores(train: list[Query], test: list[Query], eta: float, seed: int) -> dict[str, list[Doubles]]:
    """Scores of the items of each test query by each contender."""
    lists, _ = clicked(train, eta, seed)
    linear = Settings(trees=0)
    start = untrained()
    ours = fit_ranker.fit(lists, start, linear)
    naive = fit_ranker.fit(replace(lists, position=None), start, linear)
    boosters = {name: trees(lists, name.endswith("position")) for name in ("LightGBM, naive", "LightGBM, position")}
    found: dict[str, list[Doubles]] = {
        "BM25F": [query[2][:, 0].astype(float) for query in test],
        "cosine": [query[2][:, 2].astype(float) for query in test],
        "untrained": [start.score(query[2]) for query in test],
        **{name: [np.asarray(model.predict(query[2][:, :3])) for query in test] for name, model in boosters.items()},
        "search ranker, naive": [naive.score(query[2]) for query in test],
        "search ranker": [ours.score(query[2]) for query in test],
    }
    return found


def main() -> None:
    """Print a row a contender and eta."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv")
    parser.add_argument("--cache", type=Path, required=True, help="where bench.search_icecat stored the vectors")
    args = parser.parse_args()
    queries = features(args.data, args.cache)
    fold = np.array([crc32(query[0].encode()) % FOLDS for query in queries])
    print("| eta | contender | NDCG@10 | lead over naive trees (95 % interval) |")
    print("|---|---|---|---|")
    for eta in (1.0, 2.0):
        values: dict[str, Doubles] = {}
        for number in range(FOLDS):
            test = [query for query, own in zip(queries, fold, strict=True) if own == number]
            train = [query for query, own in zip(queries, fold, strict=True) if own != number]
            for name, lists in scores(train, test, eta, number).items():
                got = values.setdefault(name, np.zeros(len(queries)))
                got[fold == number] = [_judged(score, query) for score, query in zip(lists, test, strict=True)]
        bootstrap = Bootstrap(len(queries))
        for name, value in values.items():
            lead = bootstrap.difference(value, values["LightGBM, naive"])
            print(
                f"| {eta:g} | {name} | {value.mean():.4f} | {lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f}) |"
            )


def _judged(score: Doubles, query: Query) -> float:
    _, items, _, grades = query
    ranked = [items[at] for at in np.argsort(-score, kind="stable")]
    return ndcg(ranked, dict(zip(items, grades.tolist(), strict=True)))


if __name__ == "__main__":
    main()
