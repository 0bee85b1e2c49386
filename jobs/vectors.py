"""Texts into vectors and vectors into nearest neighbours, on the executors; what happens to a batch is in udfs/."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.runtime import Model
from jobs.top_n import top_n
from udfs.encoder import from_bytes, load_encoder, to_bytes
from udfs.topk import top_k

# Texts that make a further task worth its start; on one core about ten seconds of work.
TEXTS_PER_TASK = 2_000
# Vectors in one block of a nearest-neighbour search: 8,192 x 384 x float16 are 6 MiB.
VECTORS_PER_BLOCK = 8_192


def text_key(text: Column, model: Model) -> Column:
    """The hash of a text and of all that its vector depends on: the model and the precision as stored."""
    return F.md5(F.concat_ws("|", F.lit(model.version), F.lit("float16"), text))


def encode(texts: DataFrame, known: DataFrame, model: Model) -> DataFrame:
    """`texts` with text_key, model_version and vector in place of the column `text`.

    Each different text is encoded once, and only if `known` (text_key, vector) does not have it. The model says how
    many tokens of a text it reads.
    """
    keyed = texts.withColumn("text_key", text_key(F.col("text"), model)).persist()
    wanted = keyed.select("text_key", "text").distinct()
    reused = known.select("text_key", "vector").dropDuplicates(["text_key"]).join(wanted, "text_key", "left_semi")
    missing = wanted.join(known, "text_key", "left_anti").persist()
    count = missing.count()
    vectors = reused
    if count:
        slots = missing.sparkSession.sparkContext.defaultParallelism
        tasks = max(1, min(math.ceil(count / TEXTS_PER_TASK), 4 * slots))
        made = missing.repartition(tasks, "text_key").mapInArrow(
            _encoder(model.file_name), "text_key STRING, vector BINARY"
        )
        vectors = reused.unionByName(made.persist())
    return keyed.join(vectors, "text_key", "inner").drop("text").withColumn("model_version", F.lit(model.version))


def _encoder(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import torch

        torch.set_num_threads(1)  # one thread per task slot: the slots share the cores
        encoder = load_encoder(SparkFiles.get(file_name))
        for batch in batches:
            vectors = encoder.encode(batch.column("text").to_pylist(), encoder.settings.max_item_tokens)
            yield pa.RecordBatch.from_pydict(
                {"text_key": batch.column("text_key"), "vector": pa.array(to_bytes(vectors), pa.binary())}
            )

    return encode_batches


def nearest(queries: DataFrame, items: DataFrame, k: int) -> DataFrame:
    """query_key, text_key, score: the k vectors of `items` (text_key, vector) nearest to each of `queries`
    (query_key, vector), by cosine, exactly; equal scores by text_key. Keys must be unique on each side.

    Every block of queries meets every block of items on some executor, so neither side has to fit anywhere whole.
    """
    pairs = _blocks(queries, "query_key").crossJoin(_blocks(items, "text_key"))
    scored = pairs.mapInArrow(_scorer(k), "query_key STRING, text_key STRING, score DOUBLE")
    return top_n(scored, ["query_key"], [F.desc("score"), "text_key"], k)


def _blocks(vectors: DataFrame, key: str) -> DataFrame:
    """Vectors by the block: `<key>s` (array, ascending) and `<key>_vectors` (array of binary, in that order)."""
    number = max(1, math.ceil(vectors.count() / VECTORS_PER_BLOCK))
    block = F.pmod(F.xxhash64(key), F.lit(number))
    packed = vectors.groupBy(block.alias("block")).agg(
        F.sort_array(F.collect_list(F.struct(key, "vector"))).alias("rows")
    )
    return packed.repartition(number, "block").select(
        F.col(f"rows.{key}").alias(f"{key}s"), F.col("rows.vector").alias(f"{key}_vectors")
    )


def _scorer(k: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for pair in batch.to_pylist():
                queries = np.array(pair["query_keys"])
                keys = np.array(pair["text_keys"])
                dims = len(pair["query_key_vectors"][0]) // 2
                found, scores = top_k(
                    from_bytes(pair["query_key_vectors"], dims), from_bytes(pair["text_key_vectors"], dims), keys, k
                )
                yield pa.RecordBatch.from_pydict(
                    {
                        "query_key": pa.array(np.repeat(queries, found.shape[1])),
                        "text_key": pa.array(keys[found.ravel()]),
                        "score": pa.array(scores.ravel().astype(np.float64)),
                    }
                )

    return score_batches


def nearest_items(queries: DataFrame, item_vectors: DataFrame, k: int) -> DataFrame:
    """query_key, item_id, score: the k items nearest to each query; equal scores by item_id.

    Items that share a text share a vector, and are searched once: the nearest k items are among those of the
    nearest k keys.
    """
    # A text goes by the name of its first item: then a tie between two texts falls as one between their items.
    named = item_vectors.withColumn("text_key", F.min("item_id").over(Window.partitionBy("text_key")))
    distinct = named.select("text_key", "vector").dropDuplicates(["text_key"])
    members = top_n(named.select("text_key", "item_id"), ["text_key"], ["item_id"], k)
    found = nearest(queries, distinct, k).join(members, "text_key", "inner").drop("text_key")
    return top_n(found, ["query_key"], [F.desc("score"), "item_id"], k)
