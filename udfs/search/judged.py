"""Rankings of judged queries: NDCG with graded gains, of the shop's lists and of plain rankings of the same matches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.search import gains

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


def ndcg(lists: pd.DataFrame, judgements: pd.DataFrame, queries: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """[queries]: NDCG@10 of each query's list, gain 2^rating - 1; NaN where nothing is relevant.

    lists: query_key, item_id, rank; judgements: query, item_id, rating; queries: judged query -> its key. An item that
    was not judged gains nothing; a query without a list has 0.
    """
    worth = judgements.assign(gain=2.0 ** judgements["rating"] - 1)
    ideal = worth.groupby("query")["gain"].agg(gains.best).reindex(list(queries)).fillna(0.0)
    numbered = pd.DataFrame({"query": list(queries), "query_key": list(queries.values())}).reset_index(names="number")
    shown = numbered.merge(lists[lists["rank"] <= gains.K], on="query_key").merge(worth, on=["query", "item_id"])
    number, rank, gain = (shown[name].to_numpy() for name in ("number", "rank", "gain"))
    return gains.ndcg(number, rank, gain, ideal.to_numpy(float))
