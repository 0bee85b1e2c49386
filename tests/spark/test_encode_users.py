"""User vectors on the executors: those of the plain functions, and only changed histories are read again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.encode_users import encode_users
from jobs.runner.model_store import ship
from jobs.transforms import user_vectors
from schemas import features, silver
from schemas.run import Model
from tests.conftest import Rows, broken, run_of
from tests.unit.test_user_tower import DIMS, tower_of, unit_rows
from udfs.encoder import user_tower
from udfs.encoder.model_folder import write_manifest
from udfs.encoder.stored_vectors import from_bytes, to_bytes
from udfs.encoder.user_encoder import load_user_encoder, max_lines
from udfs.encoder.user_history import histories_before
from udfs.interactions import from_frame

RUN_DATE = dt.date(2024, 3, 31)
ITEMS = [f"i{number}" for number in range(8)]
VECTORS = unit_rows(len(ITEMS)).astype(np.float16)


def model_in(root: Path, kind: str) -> Model:
    """A model folder without or with a user tower."""
    folder = root / f"users-{kind}"
    folder.mkdir()
    tower = tower_of(folder)
    if kind == "tower":
        user_tower.write_tower(tower, folder)
    write_manifest(folder)
    return Model(folder.name, str(folder))


def sale(user: str | None, item: str, days_ago: int, units: int = 1) -> dict[str, Any]:
    day = RUN_DATE - dt.timedelta(days=days_ago)
    row = {"event_type": "purchase", "user_id": user, "item_id": item, "event_date": day, "run_date": day}
    return row | {"quantity": units, "basket_id": f"{user} {item} {day}"}


def sales() -> list[dict[str, Any]]:
    draw = np.random.default_rng(3)
    drawn = [
        sale(f"u{int(draw.integers(0, 9))}", str(draw.choice([*ITEMS, "gone"])), int(draw.integers(0, 60)))
        for _ in range(150)
    ]
    return [*drawn, drawn[0], sale(None, "i1", 3), sale("only gone", "gone", 3)]


def tables(rows: Rows) -> tuple[DataFrame, DataFrame]:
    """silver.items and features.item_vectors."""
    cells = zip(ITEMS, to_bytes(VECTORS), strict=True)
    return rows(silver.ITEMS, *({"item_id": item} for item in ITEMS)), rows(
        features.ITEM_VECTORS, *({"item_id": item, "text_key": f"key {item}", "vector": cell} for item, cell in cells)
    )


def by_user(found: DataFrame) -> dict[str, tuple[str, bytes]]:
    return {row.user_id: (row.history_hash, bytes(row.vector)) for row in found.collect()}


@pytest.mark.parametrize(("kind", "users_per_task"), [("mean", 1_000), ("tower", 2)])
def test_vectors_are_those_of_the_plain_functions(
    rows: Rows, tmp_path: Path, kind: str, users_per_task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_vectors, "USERS_PER_TASK", users_per_task)
    model = model_in(tmp_path, kind)
    events, (items, vectors) = rows(silver.EVENTS, *sales()), tables(rows)
    ship(events.sparkSession, model)
    found = encode_users(events, items, vectors, rows(features.USER_VECTORS), model, run=run_of(RUN_DATE)).persist()
    assert broken(features.USER_VECTORS, found) == []
    assert {row.model_version for row in found.collect()} == {model.version}

    bought = events.where("user_id IS NOT NULL").select("user_id", "item_id", "event_date", "basket_id", "quantity")
    lines = from_frame(bought.withColumn("quantity", F.col("quantity").cast("double")).toPandas(), np.array(ITEMS))
    wide = VECTORS.astype(np.float32)
    day = (RUN_DATE - dt.date(1970, 1, 1)).days + 1
    users, read = histories_before(lines, wide, day, max_lines(model.folder))
    expected = load_user_encoder(model.folder).encode(read, wide)
    stored = by_user(found)
    assert sorted(stored) == [str(lines.users[user]) for user in users], "everybody who bought an item of the catalogue"
    actual = from_bytes([stored[str(lines.users[user])][1] for user in users], DIMS)
    np.testing.assert_allclose(actual, expected, atol=2e-3)


def test_only_changed_histories_are_read_again(rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_in(tmp_path, "mean")
    items, vectors = tables(rows)
    before = sales()
    events = rows(silver.EVENTS, *before)
    ship(events.sparkSession, model)
    nothing = rows(features.USER_VECTORS)
    first = encode_users(events, items, vectors, nothing, model, run=run_of(RUN_DATE)).persist()
    yesterday = by_user(first)

    def marked(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        def batches(arriving: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in arriving:
                users = batch.filter(pc.is_valid(batch.column("user_id")))
                columns = users.select(["user_id", "history_hash"])
                yield columns.append_column("vector", pa.array([b"new"] * len(users), pa.binary()))

        return batches

    monkeypatch.setattr(user_vectors, "_encoder", marked)

    def tonight(added: list[dict[str, Any]], described: DataFrame = vectors, by: Model = model) -> set[str]:
        day = RUN_DATE + dt.timedelta(days=1)
        later = rows(silver.EVENTS, *before, *added)
        now = by_user(encode_users(later, items, described, first, by, run=run_of(day)))
        assert {user: cell for user, cell in now.items() if cell[1] != b"new"}.items() <= yesterday.items()
        return {user for user, (_, vector) in now.items() if vector == b"new"}

    assert tonight([]) == set()
    assert tonight([sale("u1", "i2", -1), sale("first", "i3", -1)]) == {"u1", "first"}
    assert tonight([before[3] | {"event_type": "return"}]) == {before[3]["user_id"]}
    other_text = F.when(F.col("item_id") == "i5", "described anew").otherwise(F.col("text_key"))
    buyers = {row["user_id"] for row in before if row["item_id"] == "i5"}
    assert tonight([], vectors.withColumn("text_key", other_text)) == buyers
    assert tonight([], by=Model("another", model.folder)) == set(yesterday)
