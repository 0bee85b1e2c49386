"""New queries read, corrected, encoded and matched with the catalogue, in one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import devices
from schemas.run import Model
from udfs.encoder.encoder import load_encoder
from udfs.encoder.stored_vectors import stored_rows, to_bytes
from udfs.search.index import SearchIndex
from udfs.search.spelling import Speller
from udfs.search.understand import understand

CATALOGUE = ("item_id", "title", "text", "category", "brand")
MET = "STRUCT<item_id: STRING, bm25: DOUBLE, cosine: DOUBLE, covered: DOUBLE, match: STRING>"
MATCHED = (
    "query_key STRING, corrected_query STRING, correction STRING, correction_p DOUBLE, category STRING, brand STRING, "
    f"is_code BOOLEAN, result_count BIGINT, vector BINARY, dense_weight DOUBLE, met ARRAY<{MET}>"
)
_STRUCT = pa.struct(
    [
        ("item_id", pa.string()),
        *((name, pa.float64()) for name in ("bm25", "cosine", "covered")),
        ("match", pa.string()),
    ]
)


@dataclass(frozen=True)
class Matching:
    """How queries are matched: items of each list, Snowball's language, the cosine's weight beside the words."""

    top_k: int
    language: str
    dense_weight: float


def matched(queries: DataFrame, catalogue: DataFrame, model: Model, how: Matching) -> DataFrame:
    """MATCHED of queries (query_key, query), each for itself.

    catalogue: CATALOGUE and vector, null where there is none. One task holds it, about 2 KB a different text: up to a
    million items.
    """
    left, right = (frame.withColumn("all", F.lit(0)).groupBy("all") for frame in (queries, catalogue))
    return left.cogroup(right).applyInArrow(_matcher(model, how), MATCHED)


def _matcher(model: Model, how: Matching) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def match(queries: pa.Table, items: pa.Table) -> pa.Table:
        asked = queries.to_pandas().sort_values("query_key", ignore_index=True)
        known = items.select(list(CATALOGUE)).to_pandas()
        spelled = _spelled(asked, known)
        vectors = encoded(spelled["corrected_query"].tolist(), model)
        spelled["vector"] = to_bytes(vectors)
        found = _found(spelled, vectors, known, _stored(items, vectors.shape[1]), how)
        return _rows(spelled, *found, how.dense_weight)

    return match


def _spelled(asked: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The queries with corrected_query, correction and correction_p.

    By the catalogue's words alone: what is read of a query depends on no other one, nor on the run that first met it.
    """
    texts = items["title"] + " " + items["text"] + " " + items["category"].fillna("") + " " + items["brand"].fillna("")
    speller = Speller.fit(texts.unique(), brands=items["brand"].dropna().unique())
    corrections = [speller.correct(query) for query in asked["query"]]
    return asked.assign(
        corrected_query=[each.query for each in corrections],
        correction=[each.kind for each in corrections],
        correction_p=[each.p for each in corrections],
    )


def encoded(texts: Sequence[str], model: Model) -> npt.NDArray[np.float32]:
    """Unit vectors [texts, dims] by the model's encoder, on the device of this task."""
    device, threads = devices.of_this_task()
    encoder = load_encoder(SparkFiles.get(model.file_name), device)
    encoder.use_threads(threads)
    return encoder.encode(texts, encoder.settings.max_item_tokens)


def _stored(items: pa.Table, dims: int) -> npt.NDArray[np.float16]:
    """The items' vectors, zeros where an item has none."""
    none = bytes(2 * dims)
    return stored_rows([cell or none for cell in items.column("vector").to_pylist()], dims)


def _found(
    spelled: pd.DataFrame,
    vectors: npt.NDArray[np.float32],
    items: pd.DataFrame,
    item_vectors: npt.NDArray[np.float16],
    how: Matching,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the queries mean, and the items that they meet."""
    pairs = spelled[["query", "corrected_query"]]
    if not len(items):
        nothing = pairs[["query"]].assign(category=None, brand=None, is_code=False, result_count=0)
        return nothing, pd.DataFrame({"query": [], "item_id": [], "match": []})
    index = SearchIndex.fit(items, item_vectors, how.language)
    met = index.match(pairs, vectors, how.dense_weight, how.top_k, kept=how.top_k)
    return understand(index, pairs, met), met


def _rows(spelled: pd.DataFrame, meaning: pd.DataFrame, met: pd.DataFrame, weight: float) -> pa.Table:
    """MATCHED."""
    counts = met.groupby("query").size().reindex(spelled["query"]).fillna(0).astype(int)
    place = pd.Series(np.arange(len(spelled)), spelled["query"])
    ordered = met.iloc[np.argsort(place.reindex(met["query"]).to_numpy(), kind="stable")]
    columns = [
        pa.array(np.asarray(ordered.get(field.name, []), object), field.type, from_pandas=True) for field in _STRUCT
    ]
    offsets = pa.array(np.r_[0, np.cumsum(counts.to_numpy())], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(_STRUCT)))
    known = meaning.set_index("query").reindex(spelled["query"])
    texts = {name: pa.array(spelled[name], pa.string()) for name in ("query_key", "corrected_query", "correction")}
    return pa.table(
        {
            **texts,
            "correction_p": pa.array(spelled["correction_p"], pa.float64()),
            "category": pa.array(known["category"], pa.string(), from_pandas=True),
            "brand": pa.array(known["brand"], pa.string(), from_pandas=True),
            "is_code": pa.array(known["is_code"].astype(bool), pa.bool_()),
            "result_count": pa.array(known["result_count"].astype("int64"), pa.int64()),
            "vector": pa.array(spelled["vector"], pa.binary()),
            "dense_weight": pa.array(np.full(len(spelled), weight)),
            "met": lists,
        }
    )
