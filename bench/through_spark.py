"""Encoding from texts in Delta to vectors in Delta, against peers, and with fewer texts to encode.

    python -m bench.through_spark                     # texts of the shops' lakes, or of the example
    python -m bench.through_spark --texts 200000      # as many as it takes: real texts, then two of them in a row
    python -m bench.through_spark --only border       # one part of it
    python -m bench.through_spark --texts 200000 --layers 3 --only loop    # with three layers, in minutes

The peers: the same encoder in a plain loop without Spark, with as many threads as there are cores; Spark's own
predict_batch_udf at its fastest batch size, with the same weights in the same precision, padded as its users do; and,
for the overhead without a model, one that answers at once. The incremental night changes a share of the texts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType

from bench.encode import Padded
from bench.harness import Contenders, Row, alternate, compare, console, gate, on_cpu, report
from bench.texts import real_texts
from jobs.runner.model_store import ship
from jobs.runner.session import session
from jobs.transforms import vectors
from schemas.deployment import load
from schemas.run import Model
from udfs.encoder import base_model, encoder, model_folder, model_reader
from udfs.encoder.encoder import Floats, load_encoder
from udfs.encoder.stored_vectors import from_bytes, to_bytes

CONF = Path(__file__).parents[1] / "conf" / "complete_journey.toml"
NIGHT, LOOP, FREE_NIGHT = "Delta to Delta", "the same encoder in a plain loop", "free model, binary"
STOCK, FREE_STOCK = "predict_batch_udf", "free model, predict_batch_udf"
STOCK_ROWS = (32, 128, 512)
SAMPLE = 2_000  # texts on which the peer's batch size is chosen
BORDER_ROWS = 500_000  # so many that the start of a query does not count
PARTS = ("loop", "stock", "short", "border", "incremental")
SHORT_LAYERS = 3  # the first of the six: for speed alone, what they say is not looked at
SHARES = (0.0, 0.01, 0.05, 0.2)
MIN_COSINE, DIMS = 0.999, 384


class Night:
    """Texts in a Delta table, and what turns them into vectors in another one."""

    def __init__(self, spark: SparkSession, folder: Path, texts: Sequence[str]) -> None:
        self.spark, self.folder = spark, folder
        rows = pa.table({"item_id": [f"{number:08}" for number in range(len(texts))], "text": list(texts)})
        self.write(spark.createDataFrame(rows), "texts")
        self.write(spark.createDataFrame(rows.slice(0, SAMPLE)), "sample")
        self.write(spark.createDataFrame([], "item_id STRING, text_key STRING, vector BINARY"), "none")

    def write(self, frame: DataFrame, name: str) -> None:
        """Replace a table."""
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", True).save(f"{self.folder}/{name}")

    def read(self, name: str) -> DataFrame:
        """A table's current rows."""
        return self.spark.read.format("delta").load(f"{self.folder}/{name}")

    def encode(self, model: Model, texts: str = "texts", known: str = "none", to: str = "vectors") -> int:
        """What the job encode_items does, from table to table; the forward passes that it took."""
        encoded, figures = vectors.encode(self.read(texts), self.read(known), model)
        self.write(encoded, to)
        passes = int(figures.collect()[0]["forward_passes"])
        self.spark.catalog.clearCache()
        return passes

    def vectors(self) -> Floats:
        """What `encode` wrote last, in the order of the texts."""
        stored = self.read("vectors").orderBy("item_id").select("vector").toArrow().column("vector").to_pylist()
        return from_bytes(stored, DIMS)

    def stock(self, model: Model, rows: int, texts: str = "texts") -> None:
        """The same by predict_batch_udf, `rows` texts a call."""
        predict = predict_batch_udf(stock_model(model.folder), return_type=ArrayType(FloatType()), batch_size=rows)
        self.write(self.read(texts).select("item_id", predict("text").alias("vector")), "stock")

    def free(self, stock: bool) -> None:
        """Every vector is the same one, and nothing is written: what the border between Spark and Python costs."""
        frame = self.read("many")
        if stock:
            predict = predict_batch_udf(free_model, return_type=ArrayType(FloatType()), batch_size=4096)
            frame = frame.select(predict("text").alias("vector"))
        else:
            frame = frame.select("item_id", "text").mapInArrow(free_batches, "item_id STRING, vector BINARY")
        frame.write.format("noop").mode("overwrite").save()

    def change(self, share: float, seed: int) -> None:
        """The table `changed`: the texts, a share of them with a word more than any had before."""
        word = F.concat("text", F.lit(f" new {seed}"))
        chosen = F.pmod(F.xxhash64("item_id", F.lit(seed)), F.lit(10_000)) < int(share * 10_000)
        self.write(self.read("texts").withColumn("text", F.when(chosen, word).otherwise(F.col("text"))), "changed")


def stock_model(folder: str) -> Callable[[], Callable[[Any], Floats]]:
    """What a user of predict_batch_udf writes: a padded batch through the model, on one thread."""

    def make() -> Callable[[Any], Floats]:
        import torch

        torch.set_num_threads(1)
        bert, tokenizer, settings = model_reader.read_model(Path(folder))
        bert = bert.to(encoder.serving_dtype(torch.device("cpu"), "auto"))
        padded = Padded(bert, tokenizer, rows=max(STOCK_ROWS), max_tokens=settings.max_item_tokens)
        return lambda texts: padded([str(text) for text in texts])

    return make


def free_model() -> Callable[[Any], Floats]:
    """A predict_batch_udf model that answers at once."""
    return lambda texts: np.zeros((len(texts), DIMS), np.float32)


def free_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The night's binary path with a model that answers at once."""
    for batch in batches:
        cells = pa.array(to_bytes(np.zeros((batch.num_rows, DIMS), np.float32)), pa.binary())
        yield pa.RecordBatch.from_pydict({"item_id": batch.column("item_id"), "vector": cells})


def plain_loop(folder: str, texts: Sequence[str]) -> Floats:
    """The encoder on a list in memory, with the threads that torch has here."""
    loaded = load_encoder(folder)
    return loaded.encode(texts, loaded.settings.max_item_tokens)


def shortened(folder: Path, layers: int, to: Path) -> Path:
    """A model folder with the first layers only."""
    from safetensors.torch import load_file, save_file

    to.mkdir(parents=True)
    config = json.loads((folder / model_folder.CONFIG).read_text("utf-8")) | {"num_hidden_layers": layers}
    (to / model_folder.CONFIG).write_text(json.dumps(config), "utf-8")
    shutil.copyfile(folder / model_folder.TOKENIZER, to / model_folder.TOKENIZER)
    dropped = tuple(f"encoder.layer.{number}." for number in range(layers, 1000))
    kept = {
        name: value for name, value in load_file(folder / model_folder.WEIGHTS).items() if not name.startswith(dropped)
    }
    save_file(kept, to / model_folder.WEIGHTS)
    return to


def measure(night: Night, texts: Sequence[str], folder: Path, given: argparse.Namespace) -> list[Row]:
    """The rows of the parts asked for."""
    device, rows = on_cpu(os.cpu_count() or 1), []
    full = folder if given.layers is None else shortened(folder, given.layers, night.folder / "full")
    if "loop" in given.only:
        rows.append(_against_loop(night, texts, full, device, given.repeats))
    if "stock" in given.only:
        rows.append(_against_stock(night, texts, full, device, given.repeats, 1.5))
    if "short" in given.only:
        short = shortened(folder, SHORT_LAYERS, night.folder / "short")
        rows.append(_against_stock(night, texts, short, device, given.repeats, 5.0))
    if "border" in given.only:
        rows.append(_border(night, texts, device, given.repeats))
    if "incremental" in given.only:
        rows.extend(_incremental(night, shipped(night, full), len(texts), device, given.repeats))
    return rows


def shipped(night: Night, folder: Path) -> Model:
    """The model of a folder where the executors find it, and in their memory."""
    model = Model(version=f"bench-{folder.name}", folder=str(folder))
    ship(night.spark, model)
    night.encode(model, texts="sample")
    return model


def _against_loop(night: Night, texts: Sequence[str], folder: Path, device: str, repeats: int) -> Row:
    model, expected = shipped(night, folder), []
    contenders: Contenders = {
        NIGHT: (partial(night.encode, model), len(texts)),
        LOOP: (lambda: expected.append(plain_loop(model.folder, texts)), len(texts)),
    }
    timings = alternate(contenders, repeats)
    check(NIGHT, night.vectors(), expected[0])
    return compare(f"{_named(folder, texts)} {LOOP}", device, timings[NIGHT], timings[LOOP], "texts/s", 0.85)


def _against_stock(night: Night, texts: Sequence[str], folder: Path, device: str, repeats: int, target: float) -> Row:
    model = shipped(night, folder)
    ways: Contenders = {str(rows): (partial(night.stock, model, rows, "sample"), 1.0) for rows in STOCK_ROWS}
    tried = alternate(ways, 1)
    best = min(STOCK_ROWS, key=lambda rows: tried[str(rows)].seconds)
    contenders: Contenders = {
        NIGHT: (partial(night.encode, model), len(texts)),
        STOCK: (partial(night.stock, model, best), len(texts)),
    }
    timings = alternate(contenders, repeats)
    stock_vectors = night.read("stock").orderBy("item_id").select("vector").toPandas()["vector"]
    check(STOCK, np.stack(stock_vectors.to_list()), night.vectors())
    peer = f"{STOCK}, batches of {best}"
    return compare(f"{_named(folder, texts)} {peer}", device, timings[NIGHT], timings[STOCK], "texts/s", target)


def _named(folder: Path, texts: Sequence[str]) -> str:
    layers = json.loads((folder / model_folder.CONFIG).read_text("utf-8"))["num_hidden_layers"]
    return f"{NIGHT}, {layers} layers, {len(texts):,} texts vs"


def _border(night: Night, texts: Sequence[str], device: str, repeats: int) -> Row:
    many = max(1, BORDER_ROWS // len(texts))
    night.write(night.read("texts").crossJoin(night.spark.range(many)).drop("id"), "many")
    contenders: Contenders = {
        FREE_NIGHT: (partial(night.free, stock=False), many * len(texts)),
        FREE_STOCK: (partial(night.free, stock=True), many * len(texts)),
    }
    alternate(contenders, 1)  # workers start
    timings = alternate(contenders, repeats)
    name = f"border: {FREE_NIGHT}, {many * len(texts):,} rows vs {FREE_STOCK}"
    return compare(name, device, timings[FREE_NIGHT], timings[FREE_STOCK], "rows/s")


def _incremental(night: Night, model: Model, count: int, device: str, repeats: int) -> Iterator[Row]:
    night.encode(model, to="yesterday")
    for share in SHARES:
        night.change(share, seed=int(share * 100) + 1)
        passes: list[int] = []

        def tonight(passes: list[int] = passes) -> None:
            passes.append(night.encode(model, "changed", "yesterday", "tonight"))

        work: Contenders = {
            "full": (partial(night.encode, model, texts="changed", to="full"), count),
            "new": (tonight, count),
        }
        timings = alternate(work, repeats)
        differing = night.read("full").exceptAll(night.read("tonight")).count()
        gate(f"{share:.0%} changed: rows as a full recompute has them", 1 - differing / count, 1.0)
        if share == 0:
            gate("0% changed: nights without a forward pass", float(not any(passes)), 1.0)
        # As a ratio: the time of a full encode over this one; the target allows the share plus five points.
        name = f"incremental night, {share:.0%} of the texts changed, {passes[-1]} forward passes, vs a full one"
        yield compare(name, device, timings["new"], timings["full"], "s", 1 / (share + 0.05))


def check(what: str, actual: Floats, expected: Floats) -> None:
    """Raise GateError unless every vector points where it should."""
    lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
    line = gate(
        f"{what}: cosine to the plain loop's", float(((actual * expected).sum(axis=1) / lengths).min()), MIN_COSINE
    )
    console().print(line, style="dim")


def enlarged(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` different texts: real ones, and where they do not suffice two real ones in a row."""
    draw = random.Random(seed)
    chosen = dict.fromkeys(draw.sample(list(texts), min(count, len(texts))))
    while len(chosen) < count:
        chosen[f"{draw.choice(texts)}, {draw.choice(texts)}"] = None
    return list(chosen)


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.through_spark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conf", help="a deployment whose lake has the texts; else both shops', where they have one")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--layers", type=int, help="of the encoder, the first ones only; default: all")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    real, where = real_texts(given.conf)
    texts = enlarged(real, given.texts, given.seed)
    console().print(f"texts of {where}: {min(len(real), given.texts):,} real ones of {len(texts):,}")
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        spark = session(load(str(given.conf or CONF)), log_file=Path(folder) / "spark.log")
        rows = measure(Night(spark, Path(folder), texts), texts, base_model.base_folder(), given)
        spark.stop()
    report(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
