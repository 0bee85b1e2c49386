"""Rankings of judged queries: NDCG with graded gains, of the shop's lists and of plain rankings of the same matches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

K = 10
RRF = 60.0  # Cormack, Clarke and Buettcher 2009
BM25, COSINE, FUSED = "BM25F", "cosine", "RRF of both"


def plain_rankings(met: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """query_key, item_id, rank of each plain ranking of the matches (query_key, item_id, bm25, cosine).

    By words, by vectors, and by reciprocal rank fusion of both; equal scores by item_id.
    """
    words = _ranked(met[met["bm25"] > 0], "bm25")
    vectors = _ranked(met[met["cosine"].notna()], "cosine")
    both = pd.concat([words, vectors])
    scored = both.assign(score=1 / (RRF + both["rank"]))
    summed: pd.DataFrame = scored.groupby(["query_key", "item_id"], as_index=False)[["score"]].sum()
    return {BM25: words, COSINE: vectors, FUSED: _ranked(summed, "score")}


def _ranked(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    ordered = rows.sort_values(["query_key", score, "item_id"], ascending=[True, False, True])
    return ordered[["query_key", "item_id"]].assign(rank=ordered.groupby("query_key").cumcount() + 1)


def ndcg(
    lists: pd.DataFrame, judgements: pd.DataFrame, queries: Mapping[str, str], k: int = K
) -> npt.NDArray[np.float64]:
    """[queries]: NDCG of the first `k` of each query's list, gain 2^rating - 1; NaN where nothing is relevant.

    lists: query_key, item_id, rank; judgements: query, item_id, rating; queries: judged query -> its key. An item that
    was not judged gains nothing; a query without a list has 0.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    first = {
        key: rows["item_id"].tolist()
        for key, rows in lists[lists["rank"] <= k].sort_values("rank").groupby("query_key")
    }
    values = []
    for query, key in queries.items():
        of_query = judgements[judgements["query"] == query]
        gain = dict(zip(of_query["item_id"], 2.0 ** of_query["rating"] - 1, strict=True))
        best = np.sort(np.fromiter(gain.values(), float))[::-1][:k]
        ideal = float(best @ discounts[: len(best)])
        got = np.array([gain.get(item, 0.0) for item in first.get(key, [])])
        values.append(float(got @ discounts[: len(got)]) / ideal if ideal > 0 else np.nan)
    return np.array(values)
