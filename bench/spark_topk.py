"""Exact top-K through Spark against Spark ALS's recommendForAllUsers, in users per second.

    python -m bench.spark_topk                                                   # 8,192 users x 8,192 items x 384
    python -m bench.spark_topk --users 100000 --items 100000 --peer-users 16384  # longer without --peer-users

Both read the same vectors from disk and give each user the K items of the largest product: ours
(jobs.transforms.vectors.nearest) from a Delta table of binary float16, ALS from the factors of a saved model that are
put in place of its own. What comes out is counted and thrown away. ALS may be given fewer of the users, but not so few
that the start of its stages counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.harness import Contenders, Row, alternate, compare, console, on_cpu, report
from bench.topk import OURS, check, directions, oracle
from jobs.runner.session import session
from jobs.transforms import vectors
from schemas.deployment import load
from udfs.encoder.stored_vectors import to_bytes
from udfs.top_k.scan import Floats, Indices

CONF = Path(__file__).parents[1] / "conf" / "complete_journey.toml"
PEER, TARGET = "Spark ALS recommendForAllUsers", 10.0


def write_vectors(spark: SparkSession, folder: Path, key: str, stored: Floats) -> DataFrame:
    """A Delta table of these vectors as a night's are stored, by their numbers as text; the table, read."""
    numbers = [f"{number:08}" for number in range(len(stored))]
    frame = spark.createDataFrame(pa.table({key: numbers, "vector": pa.array(to_bytes(stored), pa.binary())}))
    frame.write.format("delta").mode("overwrite").save(f"{folder}/{key}")
    return spark.read.format("delta").load(f"{folder}/{key}")


def als_of(spark: SparkSession, folder: Path, users: Floats, items: Floats) -> ALSModel:
    """An ALS model with these factors: a fitted one, saved, its factors replaced, loaded."""
    ratings = spark.createDataFrame([(0, 0, 1.0)], "user INT, item INT, rating FLOAT")
    ALS(rank=users.shape[1], maxIter=1, numUserBlocks=1, numItemBlocks=1).fit(ratings).write().overwrite().save(
        f"{folder}/als"
    )
    slots = spark.sparkContext.defaultParallelism
    for name, factors in (("userFactors", users), ("itemFactors", items)):
        ids = np.arange(len(factors), dtype=np.int32)
        cells = pa.FixedSizeListArray.from_arrays(pa.array(factors.ravel()), factors.shape[1])
        table = pa.table({"id": ids, "features": cells.cast(pa.list_(pa.float32()))})
        frame = spark.createDataFrame(table).repartition(slots)  # so that it may use every core
        frame.write.mode("overwrite").parquet(f"{folder}/als/{name}")
    return ALSModel.load(f"{folder}/als")


def spend(frame: DataFrame) -> None:
    """Compute every row without storing it."""
    frame.write.format("noop").mode("overwrite").save()


def listed(neighbours: DataFrame, count: int, k: int) -> Indices:
    """[count, k]: the items of the users 0 to count - 1, from rows of user, item, score; by score, then item."""
    rows = neighbours.toArrow().to_pandas().astype({"user": int, "item": int})
    rows = rows.sort_values(["user", "score", "item"], ascending=[True, False, True])
    lists: Indices = rows["item"].to_numpy(np.int64).reshape(count, k)
    return lists


def measure(
    spark: SparkSession, folder: Path, users: Floats, items: Floats, k: int, sample: int, peer_users: int, repeats: int
) -> list[Row]:
    """The row, after the lists of some users of both have been compared with the oracle's."""
    stored_users = write_vectors(spark, folder, "query_key", users)
    stored_items = write_vectors(spark, folder, "text_key", items)
    expected = oracle(users[:sample], items, k)
    neighbours = vectors.nearest(stored_users, stored_items, k)  # of all users, as timed: few may be scanned otherwise
    mine = neighbours.where(F.col("query_key") < f"{sample:08}").select(
        F.col("query_key").alias("user"), F.col("text_key").alias("item"), "score"
    )
    console().print(check(OURS, listed(mine, sample, k), expected), style="dim")
    model = als_of(spark, folder, users[:peer_users], items)
    theirs = model.recommendForUserSubset(spark.range(sample).select(F.col("id").cast("int").alias("user")), k)
    flat = theirs.select("user", F.inline("recommendations")).withColumnRenamed("rating", "score")
    console().print(check(PEER, listed(flat, sample, k), expected), style="dim")

    contenders: Contenders = {
        OURS: (lambda: spend(vectors.nearest(stored_users, stored_items, k)), len(users)),
        PEER: (lambda: spend(model.recommendForAllUsers(k)), len(users[:peer_users])),
    }
    timings = alternate(contenders, repeats)
    size = f"through Spark: top-{k}, {len(users):,} x {len(items):,} x {items.shape[1]}"
    fewer = "" if peer_users >= len(users) else f" for {peer_users:,} of the users"
    threads = spark.sparkContext.defaultParallelism
    return [compare(f"{size} vs {PEER}{fewer}", on_cpu(threads), timings[OURS], timings[PEER], "users/s", TARGET)]


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.spark_topk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=8_192)
    parser.add_argument("--items", type=int, default=8_192)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--sample", type=int, default=200, help="users whose lists are compared with the oracle's")
    parser.add_argument("--peer-users", type=int, help="of the users, how many ALS is given; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    users, items = directions(given.users, given.seed), directions(given.items, given.seed + 1)
    with tempfile.TemporaryDirectory() as folder:
        spark = session(load(str(CONF)), log_file=Path(folder) / "spark.log")
        peers = given.peer_users or given.users
        sample = min(given.sample, peers, given.users)
        rows = measure(spark, Path(folder), users, items, given.k, sample, peers, given.repeats)
        spark.stop()
    report(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
