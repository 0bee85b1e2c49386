"""Measure the personal order of a query's items on a shop's purchases, against what sells and the user's own history.

    python -m bench.search_personal --landing landing/complete_journey --cut 2017-12-04
    python -m bench.search_personal --landing landing/online_retail --cut 2011-11-11

A query is a product type or category (of a catalogue with categories), or a common pair of words of the titles; what
is right is what a user bought of it in the 28 days from the cut. The ranker learns from the 28 days before the cut, and
the 28 days before those. NDCG@10 over lists of users and queries, with the interval of the difference over users.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from examples.simulated_stock import NOT_STOCKED
from udfs.days import day_number
from udfs.evaluation.metrics import Bootstrap
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Interactions
from udfs.search import fit_ranker
from udfs.search.head_queries import head_queries
from udfs.search.past_lists import PastLists, Sample, interactions, past_lists
from udfs.search.ranker import QUERY_ITEM, untrained
from udfs.search.train import CUTS, ndcg
from udfs.search.words import terms

LISTS, PAIRS_OF_WORDS = 5_000, 300
LATELY = QUERY_ITEM.index("lately")
Doubles = npt.NDArray[np.float64]


def complete_journey(landing: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound purchases (user, item, basket, day) of the raw files, and items (item_id, product type and category)."""
    parts = []
    for file in sorted((landing / "transactions").glob("transactions_*.csv")):
        rows = pd.read_csv(file, dtype={"household_id": str, "product_id": str, "basket_id": str})
        sound = rows["quantity"].between(1, 1000) & (rows["sales_value"] > 0)
        parts.append(rows[sound].assign(day=day_number(dt.date.fromisoformat(file.stem[-10:]))))
    lines = pd.concat(parts).rename(columns={"household_id": "user", "product_id": "item", "basket_id": "basket"})
    items = pd.concat([pd.read_csv(file, dtype=str) for file in sorted((landing / "products").glob("*.csv"))])
    items = items.rename(columns={"product_id": "item_id"}).drop_duplicates("item_id", keep="last")
    described = items["product_type"].notna() | items["product_category"].notna()
    return lines[["user", "item", "basket", "day"]], items[described & ~items["department"].isin(NOT_STOCKED)]


def online_retail(landing: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound purchases of the raw files, null for a guest's user, and items (item_id, title)."""
    parts = []
    for file in sorted(landing.glob("*.csv.gz")):
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding_errors="replace")
        sold = (rows["Quantity"].astype(float) > 0) & (pd.to_numeric(rows["UnitPrice"], errors="coerce") > 0)
        sound = sold & rows["StockCode"].str.match("[0-9]{5}") & ~rows["InvoiceNo"].str.startswith("C")
        parts.append(rows[sound].assign(day=day_number(dt.date.fromisoformat(file.name[:10]))))
    rows = pd.concat(parts)
    rows = rows.assign(item=rows["StockCode"].str.upper(), user=rows["CustomerID"].where(rows["CustomerID"] != ""))
    titled = rows[rows["Description"] != ""].groupby("item")["Description"]
    items = titled.agg(lambda titles: titles.mode().iloc[0]).rename("title").rename_axis("item_id").reset_index()
    return rows.rename(columns={"InvoiceNo": "basket"})[["user", "item", "basket", "day"]], items


def queries(items: pd.DataFrame) -> dict[str, sp.csr_matrix]:
    """Name of a kind of query: [queries, items], what each asks for."""
    if "product_type" in items:
        return {name: _of_values(items[name]) for name in ("product_type", "product_category")}
    pairs = [query for query in head_queries(items, 100_000)["query"] if " " in query]
    titles = [frozenset(terms(title)) for title in items["title"]]
    wanted = [set(terms(query)) for query in pairs[:PAIRS_OF_WORDS]]
    return {"pair of words": sp.csr_matrix(np.array([[words <= title for title in titles] for words in wanted], float))}


def _of_values(values: pd.Series) -> sp.csr_matrix:
    code, names = pd.factorize(values, sort=True)
    known = np.flatnonzero(code >= 0)
    return sp.csr_matrix((np.ones(len(known)), (code[known], known)), (len(names), len(values)))


def contenders(past: PastLists) -> dict[str, Doubles]:
    """What sells of the query, and the user's own items before it."""
    popular = past.lists.query_item[:, LATELY].astype(float)
    times = np.nan_to_num(past.lists.user_item[:, 0]).astype(float)
    return {"popular": popular, "own history, then popular": 1e6 * times + popular}


def measure(lines: Interactions, of_query: sp.csr_matrix, kind: str, cut: int) -> None:
    """Print a row for each contender, for all items and for what is new to the user."""
    for new in (False, True):
        started = perf_counter()
        learned = [
            past_lists(lines, of_query, cut - HORIZON_DAYS * back, Sample(LISTS, seed=back), new=new)
            for back in range(1, CUTS + 1)
        ]
        ranker = fit_ranker.fit(fit_ranker.concatenated([past.lists for past in learned]), untrained())
        seconds = perf_counter() - started
        past = past_lists(lines, of_query, cut, Sample(LISTS), new=new)
        scores = contenders(past) | {"search ranker": ranker.pair_score(past.lists.query_item, past.lists.user_item)}
        values = {name: ndcg(past, score) for name, score in scores.items()}
        starts = np.flatnonzero(np.r_[True, np.diff(past.lists.list) != 0])
        _, user = np.unique(past.user[starts], return_inverse=True)
        sums = {name: np.bincount(user, value).astype(float) for name, value in values.items()}
        lists = np.bincount(user).astype(float)
        peer = "popular" if new else "own history, then popular"
        gap = Bootstrap(len(lists)).ratio(sums["search ranker"] - sums[peer], lists)
        for name, value in values.items():
            ends = f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})" if name == "search ranker" else ""
            print(
                f"| {kind} | {'new' if new else 'all'} | {name} | {value.mean():.4f} | {ends} | {seconds:.0f} |",
                flush=True,
            )


def main() -> None:
    """Print one table for a shop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True, help="raw files of one of the two shops")
    parser.add_argument("--cut", type=dt.date.fromisoformat, required=True, help="first day that is predicted")
    args = parser.parse_args()
    shop = complete_journey if (args.landing / "transactions").is_dir() else online_retail
    bought, items = shop(args.landing)
    ids = items["item_id"].to_numpy(str)
    lines = interactions(bought.rename(columns={"user": "user_id", "item": "item_id"}), ids)
    print("| query | items | contender | NDCG@10 | lead (95 % interval) | s to learn |")
    print("|---|---|---|---|---|---|")
    for kind, of_query in queries(items).items():
        measure(lines, of_query, kind, day_number(args.cut))


if __name__ == "__main__":
    main()
