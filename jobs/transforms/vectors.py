"""Texts into vectors and vectors into nearest neighbours, on the executors; the code for one batch is in udfs/."""

from __future__ import annotations

import math
import os
import platform
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import Column, DataFrame, GroupedData, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import BinaryType, StringType, StructField, StructType

from jobs.transforms import devices
from jobs.transforms.top_n import top_n
from schemas import ops
from schemas.run import Model
from udfs.encoder import text_vectors
from udfs.encoder.encoder import Encoder, load_encoder
from udfs.encoder.stored_vectors import stored_rows, to_bytes
from udfs.top_k.exact import QUERY_BLOCK, top_k

# Tokens of one encoding task: some ten seconds of work on one core. Tasks are sized by tokens because text lengths
# differ: a task of as many rows as the others may have several times their work.
TOKENS_PER_TASK = 40_000
FEWEST_TOKENS_PER_TASK = 4_000  # below this another task costs more to start than it saves, even with the model loaded
LONGEST = 2_048  # characters: the most that a text counts for, whatever the model reads of it
TOKENS_PER_GPU_TASK = 4_000_000  # some seconds of a GPU, as data sheets have it; not measured
BYTES_PER_TOKEN = 4  # of plain words, about; enough to size tasks without tokenising twice
# A worker's report of one batch in which it encoded texts, on the first row of the batch; null on the others. So a
# batch that is computed twice, since a worker died or was too slow, counts once: with the rows that Spark accepts.
BATCH_TYPE = pa.struct(
    {
        "worker": pa.string(),
        "texts": pa.int64(),
        "passes": pa.int64(),
        "real_tokens": pa.int64(),
        "read_tokens": pa.int64(),
        "loads": pa.int64(),
        "load_seconds": pa.float64(),
        "encode_seconds": pa.float64(),
        "peak_memory_bytes": pa.int64(),
    }
)
ENCODED = StructType(
    [
        StructField("text_key", StringType()),
        StructField("vector", BinaryType()),
        StructField("batch", from_arrow_type(BATCH_TYPE)),
    ]
)
# One task of a nearest-neighbour search: 131,072 x 384 in float32 are 192 MiB (three at most), in 8 bits 48.
QUERIES_PER_BLOCK, ITEMS_PER_BLOCK = 16_384, 131_072


def text_key(text: Column, model: Model) -> Column:
    """The hash of a text and of all that its vector depends on: the model and the precision as stored."""
    return F.md5(F.concat_ws("|", F.lit(model.version), F.lit("float16"), text))


def encode(texts: DataFrame, known: DataFrame, model: Model) -> tuple[DataFrame, DataFrame]:
    """`texts` with text_key, model_version and vector in place of the column `text`; and the row of ops.encodes.

    Each different text is encoded once, and only if neither `known` (text_key, vector) nor the model's folder has its
    vector (udfs/text_vectors.py). The model says how many tokens of a text it reads.
    """
    keyed = texts.withColumn("text_key", text_key(F.col("text"), model)).persist()
    wanted = keyed.select("text_key", "text").distinct().persist()
    reused = known.select("text_key", "vector").dropDuplicates(["text_key"]).join(wanted, "text_key", "left_semi")
    missing = wanted.join(known, "text_key", "left_anti").persist()
    lengths = missing.groupBy(_length().alias("length")).agg(F.count("*").alias("texts")).collect()
    encoded = missing.sparkSession.createDataFrame([], ENCODED)
    if lengths:
        tokens = {row.length: row.texts * (2 + row.length / BYTES_PER_TOKEN) for row in lengths}
        encoded = _encoded(missing, tokens, model).persist()
    vectors = reused.unionByName(encoded.select("text_key", "vector"))
    item_vectors = (
        keyed.join(vectors, "text_key", "inner").drop("text").withColumn("model_version", F.lit(model.version))
    )
    return item_vectors, _account(wanted, encoded, model)


def _length() -> Column:
    """A text's characters, as far as they count."""
    return F.least(F.length("text"), F.lit(LONGEST))


def _encoded(missing: DataFrame, tokens: dict[int, float], model: Model) -> DataFrame:
    """ENCODED: a vector for each text, by tasks of about as many tokens each; `tokens`: of the texts of each length."""
    context, total = missing.sparkSession.sparkContext, sum(tokens.values())
    share = devices.share(dict(context.getConf().getAll()))
    slots = max(1, context.defaultParallelism // share.cpus)  # it counts cores
    tasks = min(math.ceil(total / (TOKENS_PER_GPU_TASK if share.gpus else TOKENS_PER_TASK)), 4 * slots)
    if share.gpus or tasks >= slots:
        spread = missing.repartition(tasks, "text_key")
    else:  # few texts of each length: apart, they would fill more batches with less
        starts = starts_of(tokens, min(slots, math.ceil(total / FEWEST_TOKENS_PER_TASK)))
        task = sum(((_length() >= start).cast("int") for start in starts), F.lit(0))
        spread = missing.repartitionById(len(starts) + 1, task)
    profile = devices.profile(share)
    encoded = spread.mapInArrow(_encoder(model.file_name), ENCODED, profile=profile)
    # A stage takes the resource profile of its inputs, up to a shuffle: without one here, the jobs that use the vectors
    # would run one task per GPU, too.
    return encoded.repartition("text_key") if share.gpus else encoded


def starts_of(tokens: dict[int, float], tasks: int) -> list[int]:
    """The lengths with which each further task begins, so that all have about as many tokens; fewer where one length
    has as many as several tasks.
    """
    total, before = sum(tokens.values()), 0.0
    starts: list[int] = []
    for length in sorted(tokens):
        if before >= total / tasks * (len(starts) + 1):
            starts.append(length)
        before += tokens[length]
    return starts


def _account(wanted: DataFrame, encoded: DataFrame, model: Model) -> DataFrame:
    """The row of ops.encodes without its date; computed now, since no vector is missing once the table has them.

    (Delta recomputes cached frames of a table that is written to: a lazy row, written after the vectors, would record
    that nothing was encoded.)
    """
    batch = encoded.where("batch IS NOT NULL").select("batch.*")

    def total(name: str) -> Column:
        return F.coalesce(F.sum(name), F.lit(0)).cast(ops.ENCODES.column(name).type).alias(name)

    summed = ("texts_encoded", "forward_passes", "real_tokens", "model_loads", "load_seconds", "encode_seconds")
    renamed = {"texts": "texts_encoded", "passes": "forward_passes", "loads": "model_loads"}
    sums = batch.withColumnsRenamed(renamed).agg(
        *(total(name) for name in summed),
        F.sum("read_tokens").alias("read_tokens"),
        F.count_distinct("worker").alias("workers"),
        F.max("peak_memory_bytes").alias("peak_memory_bytes"),
    )
    seconds = F.when(F.col("encode_seconds") > 0, F.col("encode_seconds"))
    account = (
        wanted.agg(F.count("*").alias("texts"))
        .crossJoin(sums)
        .select(
            "*",
            F.lit(model.version).alias("model_version"),
            (F.col("texts") - F.col("texts_encoded")).alias("texts_reused"),
            (F.col("real_tokens") / F.col("read_tokens")).alias("real_token_share"),
            (F.col("texts_encoded") / seconds).alias("texts_per_worker_second"),
            (F.col("real_tokens") / seconds).alias("tokens_per_worker_second"),
        )
    )
    return account.sparkSession.createDataFrame(account.collect(), account.schema)


def _encoder(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder = SparkFiles.get(file_name)
        stored, worker = text_vectors.read(folder), _Worker(folder)
        for batch in batches:
            texts = batch.column("text").to_pylist()
            cells: list[bytes | None] = [None] * len(texts)
            if stored is not None:
                known, vectors = stored.find(texts)
                for row, cell in zip(np.flatnonzero(known).tolist(), to_bytes(vectors[known]), strict=True):
                    cells[row] = cell
            missing = [row for row, cell in enumerate(cells) if cell is None]
            report = None
            if missing:
                encoded, report = worker.encode([texts[row] for row in missing])
                for row, cell in zip(missing, encoded, strict=True):
                    cells[row] = cell
            yield pa.RecordBatch.from_pydict(
                {
                    "text_key": batch.column("text_key"),
                    "vector": pa.array(cells, pa.binary()),
                    "batch": pa.array([report, *[None] * (len(cells) - 1)][: len(cells)], BATCH_TYPE),
                }
            )

    return encode_batches


class _Worker:
    """The encoder of one task, loaded when the first text has to be encoded, and what it reports of its batches."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._encoder: Encoder | None = None

    def encode(self, texts: list[str]) -> tuple[list[bytes], dict[str, Any]]:
        """The texts' vectors as they are stored, and the fields of BATCH_TYPE."""
        loads, load_seconds = 0, 0.0
        if self._encoder is None:
            device, threads = devices.of_this_task()
            parallel = "true" if threads > 1 else "false"
            os.environ |= {"TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": str(threads)}
            started = perf_counter()
            self._encoder = load_encoder(self._folder, device)
            self._encoder.use_threads(threads)  # so that task slots x threads are the cores; the tokenizer's, too
            load_seconds = perf_counter() - started
            loads = int(not self._encoder.work.passes)  # an earlier task of this process may have loaded it
        encoder = self._encoder
        before, started = replace(encoder.work), perf_counter()
        vectors = encoder.encode(texts, encoder.settings.max_item_tokens)
        return to_bytes(vectors), {
            "worker": f"{platform.node()} {os.getpid()}",
            "texts": len(texts),
            "passes": encoder.work.passes - before.passes,
            "real_tokens": encoder.work.real_tokens - before.real_tokens,
            "read_tokens": encoder.work.read_tokens - before.read_tokens,
            "loads": loads,
            "load_seconds": load_seconds,
            "encode_seconds": perf_counter() - started,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def nearest(queries: DataFrame, items: DataFrame, k: int) -> DataFrame:
    """query_key, text_key, score: the k vectors of `items` (text_key, vector) nearest to each of `queries`
    (query_key, vector), by cosine, exactly; equal scores by text_key. Keys must be unique on each side.

    Where `queries` has a column `exclude` (array of text_key), these are left out of that query's list, in the search
    itself. Every block of queries meets every block of items in some task, so no worker has to hold a complete side.
    If one block holds all items, as for most catalogues, the result of a task is final.
    """
    count, slots = queries.count(), queries.sparkSession.sparkContext.defaultParallelism
    rounds = math.ceil(count / (QUERIES_PER_BLOCK * slots))
    query_blocks = max(1, min(rounds * slots, math.ceil(count / QUERY_BLOCK)))
    item_blocks = max(1, math.ceil(items.count() / ITEMS_PER_BLOCK))

    def met(vectors: DataFrame, block: Column, others: range) -> GroupedData:
        """Each vector once for every block of the other side. A pair of blocks is a group, and a task."""
        # Renamed: the two sides may come from one table, and a cogroup would treat their columns as the same.
        renamed = vectors.select(*(F.col(name).alias(name) for name in vectors.columns))
        met_blocks = F.sequence(block, block + others[-1], F.lit(others.step))
        pairs = renamed.withColumn("pair", F.explode(met_blocks))
        return pairs.repartitionById(query_blocks * item_blocks, "pair").groupBy("pair")

    def block_of(key: str, blocks: int) -> Column:
        return F.pmod(F.xxhash64(key), F.lit(blocks)).cast("int")

    left = met(queries, block_of("query_key", query_blocks) * item_blocks, range(item_blocks))
    others = range(0, query_blocks * item_blocks, item_blocks)
    right = met(items.select("text_key", "vector"), block_of("text_key", item_blocks), others)
    scored = left.cogroup(right).applyInArrow(_scorer(k), "query_key STRING, text_key STRING, score DOUBLE")
    return scored if item_blocks == 1 else top_n(scored, ["query_key"], [F.desc("score"), "text_key"], k)


def _scorer(k: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def score(queries: pa.Table, items: pa.Table) -> pa.Table:
        items = items.sort_by("text_key")
        names, keys = queries.column("query_key").combine_chunks(), items.column("text_key").combine_chunks()
        dims = len(items.column("vector")[0].as_py()) // 2 if len(keys) else 0
        if not len(names) or not dims:
            return pa.table({"query_key": names[:0], "text_key": keys[:0], "score": pa.array([], pa.float64())})
        banned = None
        if "exclude" in queries.column_names:
            banned = [excluded or [] for excluded in queries.column("exclude").to_pylist()]
        device = devices.of_this_task()[0]
        nearest_rows, scores = top_k(
            stored_rows(queries.column("vector").to_pylist(), dims),
            stored_rows(items.column("vector").to_pylist(), dims),
            np.array(keys.to_pylist()),
            k,
            exclude=banned,
            device=None if device == "cpu" else device,
        )
        query, place = np.nonzero(nearest_rows >= 0)  # all of them, unless a query's exclude leaves fewer than k
        return pa.table(
            {
                "query_key": names.take(pa.array(query)),
                "text_key": keys.take(pa.array(nearest_rows[query, place])),
                "score": pa.array(scores[query, place].astype(np.float64)),
            }
        )

    return score


def nearest_items(queries: DataFrame, item_vectors: DataFrame, k: int) -> DataFrame:
    """query_key, item_id, score: the k items nearest to each query; equal scores by item_id.

    Items that share a text share a vector, and are searched once: the nearest k items are among those of the
    nearest k keys.
    """
    # A text takes the key of its first item, so that a tie between two texts resolves like one between their items.
    named = item_vectors.withColumn("text_key", F.min("item_id").over(Window.partitionBy("text_key")))
    distinct = named.select("text_key", "vector").dropDuplicates(["text_key"])
    members = top_n(named.select("text_key", "item_id"), ["text_key"], ["item_id"], k)
    neighbours = nearest(queries, distinct, k).join(members, "text_key", "inner").drop("text_key")
    return top_n(neighbours, ["query_key"], [F.desc("score"), "item_id"], k)
