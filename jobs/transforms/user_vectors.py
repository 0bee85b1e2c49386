"""Users' purchase histories into vectors, on the executors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import devices
from jobs.transforms.held import held
from jobs.transforms.top_n import top_n
from schemas.run import Model
from udfs.encoder.stored_vectors import from_bytes, to_bytes
from udfs.encoder.user_encoder import is_learned, load_user_encoder, max_lines
from udfs.encoder.user_history import histories

USERS_PER_TASK, FEWEST_USERS_PER_TASK = 2_000, 50
USERS_PER_GPU_TASK = 100_000
HISTORY = "array<struct<day: int, item_id: string, units: double>>"
ENCODED = "user_id STRING, history_hash STRING, vector BINARY"


def encode(bought: DataFrame, item_vectors: DataFrame, known: DataFrame, model: Model) -> DataFrame:
    """user_id, history_hash, vector, model_version of every user of `bought` (purchases.LINES of known users).

    A vector in `known` (user_id, history_hash, model_version, vector) is taken over where the history's hash and the
    model are the same. The user encoder is that of the model's folder, which Spark has shipped.
    """
    read = held(_histories(bought, item_vectors, max_lines(SparkFiles.get(model.file_name))))
    same = known.where(F.col("model_version") == model.version).select("user_id", "history_hash", "vector")
    reused = read.select("user_id", "history_hash").join(same, ["user_id", "history_hash"], "inner")
    missing = held(read.join(same, ["user_id", "history_hash"], "left_anti"))
    users = missing.count()
    vectors = reused.unionByName(_encoded(missing, item_vectors, users, model)) if users else reused
    return vectors.withColumn("model_version", F.lit(model.version))


def _histories(bought: DataFrame, item_vectors: DataFrame, lines: int) -> DataFrame:
    """user_id, history (HISTORY: the newest `lines` lines, oldest first) and history_hash, one row per user.

    A line is one item on one day. The hash covers the texts' keys: an item described anew changes its buyers' vectors.
    """
    daily = bought.groupBy("user_id", "event_date", "item_id").agg(F.sum("quantity").cast("double").alias("units"))
    keyed = daily.join(item_vectors.select("item_id", "text_key"), "item_id", "inner")
    newest = top_n(keyed, ["user_id"], [F.desc("event_date"), F.desc("item_id")], lines)
    line = F.struct(F.unix_date("event_date").alias("day"), "item_id", "units", "text_key")
    gathered = newest.groupBy("user_id").agg(F.sort_array(F.collect_list(line)).alias("lines"))
    named = F.transform(
        "lines",
        lambda line: F.concat_ws(",", line["day"].cast("string"), line["text_key"], line["units"].cast("string")),
    )
    return gathered.select(
        "user_id",
        F.transform("lines", lambda line: F.struct(line["day"], line["item_id"], line["units"]))
        .cast(HISTORY)
        .alias("history"),
        F.md5(F.concat_ws("|", named)).alias("history_hash"),
    )


def _encoded(missing: DataFrame, item_vectors: DataFrame, users: int, model: Model) -> DataFrame:
    """ENCODED: a vector for each of the `users` users of `missing`, by blocks of users with their items' vectors.

    A block is one partition: first a row for each item, then one for each user. So no task holds all items or users.
    """
    context = missing.sparkSession.sparkContext
    conf = dict(context.getConf().getAll())
    if not is_learned(SparkFiles.get(model.file_name)):  # a mean needs no GPU
        conf.pop(f"spark.executor.resource.{devices.GPU}.amount", None)
    share = devices.share(conf)
    slots = max(1, context.defaultParallelism // share.cpus)
    most = USERS_PER_GPU_TASK if share.gpus else USERS_PER_TASK
    blocks = max(math.ceil(users / most), min(slots, math.ceil(users / FEWEST_USERS_PER_TASK)))
    placed = missing.withColumn("block", F.pmod(F.xxhash64("user_id"), F.lit(blocks)).cast("int"))
    wanted = placed.select("block", F.explode("history.item_id").alias("item_id")).distinct()
    of_items = wanted.join(item_vectors.select("item_id", "vector"), "item_id", "inner")
    rows = placed.unionByName(of_items, allowMissingColumns=True).repartitionById(blocks, "block")
    ordered = rows.sortWithinPartitions(F.asc_nulls_first("user_id"), "item_id")
    encoded = ordered.mapInArrow(_encoder(model.file_name), ENCODED, profile=devices.profile(share))
    return encoded.repartition("user_id") if share.gpus else encoded  # as in vectors.py: later stages need no GPU


def _encoder(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items: list[pa.RecordBatch] = []
        block: _Block | None = None
        for batch in batches:
            is_item = pc.is_null(batch.column("user_id"))
            items.append(batch.filter(is_item).select(["item_id", "vector"]))
            users = batch.filter(pc.invert(is_item))
            if len(users):
                block = block or _Block(file_name, pa.Table.from_batches(items))
                yield block.encode(users)

    return encode_batches


class _Block:
    """The items of one block of users, and the user encoder."""

    def __init__(self, file_name: str, items: pa.Table) -> None:
        self._names = items.column("item_id").combine_chunks()
        cells = items.column("vector").to_pylist()
        self._vectors = from_bytes(cells, len(cells[0]) // 2)
        device, threads = devices.of_this_task()
        self._encoder = load_user_encoder(SparkFiles.get(file_name), device)
        self._encoder.use_threads(threads)

    def encode(self, users: pa.RecordBatch) -> pa.RecordBatch:
        """ENCODED of these users."""
        column = users.column("history")
        lines, ends = column.flatten(), np.cumsum(pc.list_value_length(column).to_numpy())
        item = pc.index_in(lines.field("item_id"), self._names).to_numpy()
        day, units = (lines.field(name).to_numpy() for name in ("day", "units"))
        vectors = self._encoder.encode(histories(day, item, units, np.r_[0, ends[:-1]], ends), self._vectors)
        return pa.RecordBatch.from_pydict(
            {
                "user_id": users.column("user_id"),
                "history_hash": users.column("history_hash"),
                "vector": pa.array(to_bytes(vectors), pa.binary()),
            }
        )
