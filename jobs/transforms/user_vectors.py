"""Users' purchase histories into vectors, on the executors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.top_n import top_n
from schemas.run import Model
from udfs.encoder.stored_vectors import from_bytes, to_bytes
from udfs.encoder.user_history import MEAN_LINES, mean_vectors

USERS_PER_TASK, FEWEST_USERS_PER_TASK = 2_000, 50
HISTORY = "array<struct<day: int, item_id: string>>"
ENCODED = "user_id STRING, history_hash STRING, vector BINARY"


def encode(bought: DataFrame, item_vectors: DataFrame, known: DataFrame, model: Model) -> DataFrame:
    """user_id, history_hash, vector, model_version of every user of `bought` (purchases.LINES of known users).

    A vector in `known` (user_id, history_hash, model_version, vector) is taken over where the history's hash and the
    model are the same.
    """
    read = held(_histories(bought, item_vectors, MEAN_LINES))
    same = known.where(F.col("model_version") == model.version).select("user_id", "history_hash", "vector")
    reused = read.select("user_id", "history_hash").join(same, ["user_id", "history_hash"], "inner")
    missing = held(read.join(same, ["user_id", "history_hash"], "left_anti"))
    users = missing.count()
    vectors = reused.unionByName(_encoded(missing, item_vectors, users)) if users else reused
    return vectors.withColumn("model_version", F.lit(model.version))


def _histories(bought: DataFrame, item_vectors: DataFrame, lines: int) -> DataFrame:
    """user_id, history (HISTORY: the newest `lines` lines, oldest first) and history_hash, one row per user.

    A line is one item on one day. The hash covers the texts' keys: an item described anew changes its buyers' vectors.
    """
    daily = bought.select("user_id", "event_date", "item_id").distinct()
    keyed = daily.join(item_vectors.select("item_id", "text_key"), "item_id", "inner")
    newest = top_n(keyed, ["user_id"], [F.desc("event_date"), F.desc("item_id")], lines)
    line = F.struct(F.unix_date("event_date").alias("day"), "item_id", "text_key")
    gathered = newest.groupBy("user_id").agg(F.sort_array(F.collect_list(line)).alias("lines"))
    named = F.transform(
        "lines",
        lambda line: F.concat_ws(",", line["day"].cast("string"), line["text_key"]),
    )
    return gathered.select(
        "user_id",
        F.transform("lines", lambda line: F.struct(line["day"], line["item_id"])).cast(HISTORY).alias("history"),
        F.md5(F.concat_ws("|", named)).alias("history_hash"),
    )


def _encoded(missing: DataFrame, item_vectors: DataFrame, users: int) -> DataFrame:
    """ENCODED: a vector for each of the `users` users of `missing`, by blocks of users with their items' vectors.

    A block is one partition: first a row for each item, then one for each user. So no task holds all items or users.
    """
    slots = missing.sparkSession.sparkContext.defaultParallelism
    blocks = max(math.ceil(users / USERS_PER_TASK), min(slots, math.ceil(users / FEWEST_USERS_PER_TASK)))
    placed = missing.withColumn("block", F.pmod(F.xxhash64("user_id"), F.lit(blocks)).cast("int"))
    wanted = placed.select("block", F.explode("history.item_id").alias("item_id")).distinct()
    of_items = wanted.join(item_vectors.select("item_id", "vector"), "item_id", "inner")
    rows = placed.unionByName(of_items, allowMissingColumns=True).repartitionById(blocks, "block")
    ordered = rows.sortWithinPartitions(F.asc_nulls_first("user_id"), "item_id")
    return ordered.mapInArrow(_encoder(), ENCODED)


def _encoder() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items: list[pa.RecordBatch] = []
        block: _Block | None = None
        for batch in batches:
            is_item = pc.is_null(batch.column("user_id"))
            items.append(batch.filter(is_item).select(["item_id", "vector"]))
            users = batch.filter(pc.invert(is_item))
            if len(users):
                block = block or _Block(pa.Table.from_batches(items))
                yield block.encode(users)

    return encode_batches


class _Block:
    """The items of one block of users."""

    def __init__(self, items: pa.Table) -> None:
        self._names = items.column("item_id").combine_chunks()
        cells = items.column("vector").to_pylist()
        self._vectors = from_bytes(cells, len(cells[0]) // 2)

    def encode(self, users: pa.RecordBatch) -> pa.RecordBatch:
        """ENCODED of these users."""
        column = users.column("history")
        lines, ends = column.flatten(), np.cumsum(pc.list_value_length(column).to_numpy())
        item = pc.index_in(lines.field("item_id"), self._names).to_numpy()
        vectors = mean_vectors(lines.field("day").to_numpy(), item, np.r_[0, ends], self._vectors)
        return pa.RecordBatch.from_pydict(
            {
                "user_id": users.column("user_id"),
                "history_hash": users.column("history_hash"),
                "vector": pa.array(to_bytes(vectors), pa.binary()),
            }
        )
