"""Measure full rankings of Icecat's judged queries: NDCG@10 of words, of vectors, and of both fused.

    python -m bench.search_icecat --data icecat --cache build/icecat

No judgement, and no click simulated from one, is used: the fusion's weight is learned from masked titles. Gain
2^grade - 1; the interval of the lead over reciprocal rank fusion is a bootstrap over queries. The vectors of 19,406
texts take ten minutes on two cores and are stored in --cache.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.encoder.base_model import base_folder
from udfs.encoder.encoder import load_encoder
from udfs.evaluation.metrics import Bootstrap
from udfs.search import gains, lexical
from udfs.search.dense_weight import dense_weight, masked_titles
from udfs.search.index import SearchIndex
from udfs.search.spelling import Speller
from udfs.search.words import normalised, terms

RRF_PLACE = 60  # k of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)
TEXT_TOKENS, QUERY_TOKENS, TEXT_SIGNS = 40, 32, 400
Floats = npt.NDArray[np.float32]
Grades = dict[str, int]


def catalogue(folder: Path) -> pd.DataFrame:
    """item_id, title, text, brand and keywords: the words of the attributes' values."""
    with gzip.open(folder / "products.csv.gz", "rt", encoding="utf-8") as opened:
        rows = pd.read_csv(opened, dtype=str, keep_default_na=False)
    keywords = [" ".join(_words(value) for value in json.loads(text).values()) for text in rows["attributes"]]
    return rows.rename(columns={"description": "text"}).assign(keywords=keywords)


def _words(value: object) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, list) else ""


def judged(folder: Path, items: pd.DataFrame) -> dict[str, Grades]:
    """Grades of items of the catalogue by query; queries with a relevant item alone."""
    rows = pd.read_csv(folder / "judgments.csv", dtype=str, keep_default_na=False)
    rows = rows[rows["docid"].isin(items["item_id"])]
    grades = {
        str(query): dict(zip(part["docid"], part["rating"].astype(int), strict=True))
        for query, part in rows.groupby("query", sort=False)
    }
    return {query: known for query, known in grades.items() if max(known.values()) > 0}


def ndcg(ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """NDCG@10 with gain 2^grade - 1 (Burges et al., 2005); an item without a grade is worth nothing.

    grades: of one query, the judged items; at least one above 0, else NaN.
    """
    gain = np.array([2.0 ** grades.get(item, 0) - 1 for item in ranked])
    ideal = np.array([gains.best(2.0 ** np.array(list(grades.values()), float) - 1)])
    return float(gains.ndcg(np.zeros(len(gain), np.int64), np.arange(1, len(gain) + 1), gain, ideal)[0])


def stored(cache: Path, name: str, compute: Callable[[], Floats]) -> Floats:
    """The array in the cache, computed once."""
    path = cache / f"{name}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, compute())
    return np.asarray(np.load(path), np.float32)


def encoded(texts: list[str], tokens: int) -> Floats:
    """Unit vectors of the texts by the published encoder."""
    encoder = load_encoder(base_folder())
    encoder.use_threads(2)
    return encoder.encode(texts, tokens)


def main() -> None:
    """Print a row a contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the vectors")
    args = parser.parse_args()
    items = catalogue(args.data)
    grades = judged(args.data, items)
    queries = list(grades)
    texts = [f"{title} {text}"[:TEXT_SIGNS] for title, text in zip(items["title"], items["text"], strict=True)]
    vectors = stored(args.cache, "items", lambda: encoded(texts, TEXT_TOKENS))
    masked = masked_titles(items)
    left = stored(args.cache, "masked", lambda: encoded(masked.texts, TEXT_TOKENS))
    asked = stored(args.cache, "masked_queries", lambda: encoded(masked.queries, QUERY_TOKENS))
    weight = dense_weight(masked, left, asked, items)
    started = perf_counter()
    index = SearchIndex.fit(items, vectors)
    fitted = perf_counter() - started
    speller = Speller.fit((items["title"] + " " + items["text"] + " " + items["brand"]).tolist())
    corrected = [speller.correct(query).query for query in queries]
    query_vectors = stored(args.cache, "queries", lambda: encoded(queries, QUERY_TOKENS))
    meant_vectors = stored(args.cache, "corrected", lambda: encoded(corrected, QUERY_TOKENS))
    rankings = _plain(items, queries, query_vectors, vectors)
    frame = pd.DataFrame({"query": queries})
    spelt = frame.assign(corrected_query=corrected)
    started = perf_counter()
    matched = {
        "BM25F": index.match(frame),
        "BM25F and vectors, learned weight": index.match(frame, query_vectors, weight),
        "the same, queries corrected": index.match(spelt, meant_vectors, weight),
    }
    seconds = (perf_counter() - started) / 3
    rankings |= {name: _lists(rows, queries) for name, rows in matched.items()}
    values = {
        name: np.array([ndcg(ranked, grades[query]) for query, ranked in zip(queries, lists, strict=True)])
        for name, lists in rankings.items()
    }
    changed = sum(normalised(query) != meant for query, meant in zip(queries, corrected, strict=True))
    print(f"weight of the cosine {weight}, from {len(masked.queries)} queries; {changed} of {len(queries)} corrected")
    print(f"{len(items):,} items indexed in {fitted:.1f} s, {len(queries)} queries matched in {seconds:.2f} s\n")
    print("| contender | NDCG@10 | lead over RRF (95 % interval) |")
    print("|---|---|---|")
    bootstrap = Bootstrap(len(queries))
    for name, value in values.items():
        lead = bootstrap.difference(value, values["RRF of both"])
        print(f"| {name} | {value.mean():.4f} | {lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f}) |")


def _plain(items: pd.DataFrame, queries: list[str], asked: Floats, vectors: Floats) -> dict[str, list[list[str]]]:
    """Rankings of what is to be beaten: BM25 over all fields as one, vectors, reciprocal rank fusion of both."""
    names = ("title", "text", "brand", "keywords")
    documents = [{"text": terms(" ".join(row))} for row in items[list(names)].itertuples(index=False)]
    plain = lexical.Index(documents, lexical.corpus_of(documents), covering=False)
    by_words = plain.scores([terms(normalised(query)) for query in queries]).toarray()
    by_meaning = asked @ vectors.T
    places = [np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) for scores in (by_words, by_meaning)]
    both = sum(1 / (RRF_PLACE + 1 + place) for place in places)
    ids = items["item_id"].to_numpy(object)
    scored = {"BM25": by_words, "MiniLM": by_meaning, "RRF of both": both}
    return {
        name: [ids[np.argsort(-row, kind="stable")[:10]].tolist() for row in np.asarray(scores)]
        for name, scores in scored.items()
    }


def _lists(matched: pd.DataFrame, queries: list[str]) -> list[list[str]]:
    by_query = dict(iter(matched.groupby("query")["item_id"]))
    return [by_query[query].tolist()[:10] for query in queries]


if __name__ == "__main__":
    main()
