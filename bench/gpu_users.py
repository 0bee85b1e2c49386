"""The user encoder on a device: its vectors against those of the CPU, and its speed beside the item encoder's."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles

from bench.harness import Contenders, Row, alternate, compare, console, gate
from jobs.transforms import devices, user_vectors
from udfs.encoder import encoder, model_reader, packed, user_tower
from udfs.encoder.encoder import Floats
from udfs.encoder.model_folder import MANIFEST
from udfs.encoder.stored_vectors import from_bytes, to_bytes
from udfs.encoder.user_encoder import TowerEncoder
from udfs.encoder.user_history import Longs, histories
from udfs.encoder.user_tower import UserSettings, UserTower

MIN_COSINE = 0.9999
TARGET = 0.6  # of the item encoder's token-layers per second
YEAR = 365
BATCH_ROWS = 4_096  # spark.sql.execution.arrow.maxRecordsPerBatch in conf/
HISTORY = ["day", "item_id", "units"]  # as in jobs/transforms/user_vectors.py


def some_lines(users: int, items: int, most: int, seed: int = 7) -> tuple[Longs, Longs, Floats, Longs]:
    """Day, item and units of random lines, each user's by (day, item), and the bounds of 1 to `most` lines a user."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, most + 1, users)
    user = np.repeat(np.arange(users), lengths)
    day, item = draw.integers(0, YEAR, len(user)), draw.integers(0, items, len(user))
    order = np.lexsort((item, day, user))
    units = draw.integers(1, 20, len(user)).astype(np.float32)
    return day[order], item[order], units, np.r_[0, np.cumsum(lengths)]


def some_tower(folder: Path, dims: int) -> UserTower:
    """A tower over the folder's upper layers whose result is half the mean vector and half what BERT reads."""
    import torch

    model = model_reader.read_model(folder)[0]
    settings = UserSettings(dims, model.config.num_attention_heads, min(2, model.config.num_hidden_layers))
    tower = user_tower.tower_over(model, settings, 7)
    torch.nn.init.orthogonal_(tower.parts["output"].weight, gain=0.05)
    return tower


def measure(folder: Path, texts: list[str], item_vectors: Floats, device: str, users: int, repeats: int) -> list[Row]:
    """One row: token-layers per second beside the item encoder's. GateError where vectors differ from the CPU's.

    texts: what the item encoder reads meanwhile; item_vectors: unit rows [items, dims].
    """
    import torch

    dims = item_vectors.shape[1]
    tower, other = some_tower(folder, dims), some_tower(folder, dims)
    lines = some_lines(users, len(item_vectors), tower.settings.max_lines)
    day, item, units, bounds = lines
    read = histories(day, item, units, bounds[:-1], bounds[1:])
    expected = TowerEncoder(other, dtype="float32").encode(read, item_vectors)
    ours = TowerEncoder(tower, device)
    near("user encoder", ours.encode(read, item_vectors), expected)
    if ours.tower.device.type == "cpu":
        ours._attention = packed.plain_attention
        near("user encoder, packed passes", ours.encode(read, item_vectors), expected)
        ours._attention = None
    with tempfile.TemporaryDirectory() as scratch:
        with_tower = Path(shutil.copytree(folder, Path(scratch) / "model"))
        user_tower.write_tower(some_tower(folder, dims), with_tower)
        (with_tower / MANIFEST).unlink(missing_ok=True)
        stored = item_vectors.astype(np.float16).astype(np.float32)
        expected = TowerEncoder(other, dtype="float32").encode(read, stored)
        near("the UDF of users", through_udf(with_tower, lines, item_vectors, device), expected)
    items = encoder.load_encoder(folder, device)
    longest = items.settings.max_item_tokens
    tokens = sum(map(len, encoder.token_ids(items._tokenizer, sorted(set(texts)), longest)))
    work = float(tokens * items.model.config.num_hidden_layers)
    contenders: Contenders = {
        "users": (partial(ours.encode, read, item_vectors), float(len(read.item) * tower.settings.layers)),
        "items": (partial(items.encode, texts, longest), work),
    }
    timings = alternate(contenders, repeats)
    where = f"cpu, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name(device)
    unit = "token-layers/s"
    return [compare("the user encoder vs the item encoder", where, timings["users"], timings["items"], unit, TARGET)]


def through_udf(folder: Path, lines: tuple[Longs, Longs, Floats, Longs], item_vectors: Floats, device: str) -> Floats:
    """The vectors that the UDF of encode_users gives for Arrow batches of items and users, as a table holds them."""
    day, item, units, bounds = lines
    names = pa.array([f"i{number}" for number in range(len(item_vectors))])
    line = pa.StructArray.from_arrays(
        [pa.array(day), names.take(pa.array(item)), pa.array(units.astype(float))], HISTORY
    )
    users = pa.RecordBatch.from_pydict(
        {
            "user_id": pa.array([f"u{number:09}" for number in range(len(bounds) - 1)]),
            "history": pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), line),
            "history_hash": pa.nulls(len(bounds) - 1, pa.string()),
        }
    )
    items = pa.RecordBatch.from_pydict({"item_id": names, "vector": pa.array(to_bytes(item_vectors), pa.binary())})
    rows = pa.concat_tables([pa.Table.from_batches([part]) for part in (items, users)], promote_options="default")
    with (
        mock.patch.object(devices, "of_this_task", return_value=(device, os.cpu_count() or 1)),
        mock.patch.object(SparkFiles, "get", return_value=str(folder)),
    ):
        encoded = user_vectors._encoder(str(folder))(iter(rows.to_batches(BATCH_ROWS)))
        cells = [cell for batch in encoded for cell in batch["vector"].to_pylist()]
    vectors = from_bytes(cells, item_vectors.shape[1])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def near(what: str, actual: Floats, expected: Floats) -> None:
    """Print the least cosine of unit vectors, user by user. GateError below MIN_COSINE."""
    cosine = float((actual * expected).sum(axis=1).min())
    console().print(gate(f"{what}: cosine to the CPU's float32, the least,", cosine, MIN_COSINE), style="dim")
