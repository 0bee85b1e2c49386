"""Encoding in Spark: only new texts, each once, with an account of the forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runner.model_store import ship
from jobs.transforms import vectors
from schemas.run import Model
from tests.spark.test_vectors import MODEL, unit
from tests.unit.test_encoder import write_tiny
from udfs.encoder import text_vectors
from udfs.encoder.encoder import load_encoder
from udfs.encoder.model_folder import write_manifest
from udfs.encoder.stored_vectors import to_bytes


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """In place of BERT: a text's vector is its MD5. The texts encoded since the last call, with kind, sorted."""
    log = tmp_path / "encoded.txt"  # executors are other processes: what they did must stand somewhere

    def cheap(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        path = str(log)

        def batches(arriving: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import hashlib

            for batch in arriving:
                texts = batch.column("text").to_pylist()
                with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 (nothing of ours is imported there)
                    file.writelines(f"{text}\n" for text in texts)
                made = [hashlib.md5(text.encode()).digest() for text in texts]
                report = pa.array([{"texts": len(made)}, *[None] * (len(made) - 1)], vectors.BATCH_TYPE)
                yield pa.RecordBatch.from_pydict(
                    {"text_key": batch.column("text_key"), "vector": made, "batch": report}
                )

        return batches

    monkeypatch.setattr(vectors, "_encoder", cheap)

    def since() -> list[str]:
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return sorted(lines)

    return since


def texts(spark: SparkSession, *pairs: tuple[str, str]) -> DataFrame:
    return spark.createDataFrame(list(pairs), "item_id STRING, text STRING")


def by_item(frame: DataFrame) -> dict[str, tuple[str, bytes]]:
    table = frame.collect()
    answer = {row.item_id: (row.text_key, bytes(row.vector)) for row in table}
    assert len(answer) == len(table)
    return answer


def test_only_new_texts_are_encoded_each_once(spark: SparkSession, encoded: Callable[[], list[str]]) -> None:
    nothing = spark.createDataFrame([], "item_id STRING, text_key STRING, vector BINARY")
    yesterday = by_item(vectors.encode(texts(spark, ("a", "tea"), ("b", "tea"), ("c", "rye")), nothing, MODEL)[0])
    assert encoded() == ["rye", "tea"]  # a and b share one text
    assert yesterday["a"] == yesterday["b"]

    # A mark on what is known shows that it comes back as it was: what is known stands twice, as two items' text.
    marked = [(item, key, b"known " + vector) for item, (key, vector) in yesterday.items()]
    known = spark.createDataFrame(marked, nothing.schema)
    tonight = texts(
        spark,
        ("a", "tea"),  # as it was
        ("c", "rye bread"),  # a new text
        ("d", "rye"),  # a new item with a text known from another
        ("e", "rye bread"),  # the new text again
        ("f", ""),
    )
    found, told = vectors.encode(tonight, known, MODEL)
    assert [(row.texts, row.texts_reused, row.texts_encoded) for row in told.collect()] == [(4, 2, 2)]
    assert sorted(found.columns) == ["item_id", "model_version", "text_key", "vector"]
    after = by_item(found)
    assert encoded() == ["", "rye bread"]
    assert {row.model_version for row in found.collect()} == {"m1"}
    full = by_item(vectors.encode(tonight, nothing, MODEL)[0])
    assert encoded() == ["", "rye", "rye bread", "tea"]
    assert {item: (key, vector.removeprefix(b"known ")) for item, (key, vector) in after.items()} == full
    assert {item for item, (_, vector) in after.items() if vector.startswith(b"known ")} == {"a", "d"}


def test_when_nothing_is_new_nothing_is_encoded(spark: SparkSession, encoded: Callable[[], list[str]]) -> None:
    same_texts = texts(spark, ("a", "tea"), ("b", "rye"))
    keyed = same_texts.withColumn("text_key", vectors.text_key(same_texts["text"], MODEL))
    known = spark.createDataFrame(
        [(row.text_key, b"as it was") for row in keyed.collect()], "text_key STRING, vector BINARY"
    )
    found, told = vectors.encode(same_texts, known, MODEL)
    assert {vector for _, vector in by_item(found).values()} == {b"as it was"}
    assert encoded() == []
    row = told.collect()[0]
    assert (row.texts, row.texts_reused, row.texts_encoded, row.forward_passes, row.workers) == (2, 2, 0, 0, 0)


def test_what_was_encoded_is_still_told_once_the_vectors_are_in_the_table(
    spark: SparkSession, encoded: Callable[[], list[str]], tmp_path: Path
) -> None:
    table, schema = str(tmp_path / "item_vectors"), "item_id STRING, text_key STRING, vector BINARY"
    spark.createDataFrame([], schema).write.format("delta").save(table)
    known = spark.read.format("delta").load(table)
    found, told = vectors.encode(texts(spark, ("a", "tea"), ("b", "rye")), known, MODEL)
    held = told.withColumn("run_date", F.lit(None)).persist()  # as a job's output is, before any is written
    assert held.count() == 1
    found.select("item_id", "text_key", "vector").write.format("delta").mode("append").save(table)
    assert [(row.texts, row.texts_reused, row.texts_encoded) for row in held.select("*").collect()] == [(2, 0, 2)]
    assert encoded() == ["rye", "tea"]


def test_a_key_tells_apart_text_and_model(spark: SparkSession) -> None:
    frame = texts(spark, ("a", "tea"), ("b", "rye"))
    other = Model(version="m2", folder="/nowhere/m2")
    found = frame.select(*(vectors.text_key(frame["text"], model) for model in (MODEL, other))).collect()
    assert len({key for row in found for key in row}) == 4


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Model:
    """A small BERT of random weights, made known to the executors."""
    folder = tmp_path_factory.mktemp("models") / "tiny-m1"
    folder.mkdir()
    write_tiny(folder)
    model = Model(version="tiny-m1", folder=str(folder))
    ship(spark, model)
    return model


def catalogue(spark: SparkSession, count: int) -> DataFrame:
    return texts(spark, *((f"i{number:03}", " ".join(["milk", "tea"] * (number % 7))) for number in range(count)))


@given(st.dictionaries(st.integers(0, 50), st.floats(0.5, 1_000), min_size=1), st.integers(1, 9))
def test_tasks_by_length_have_about_as_many_tokens_each(tokens: dict[int, float], tasks: int) -> None:
    starts = vectors.starts_of(tokens, tasks)
    assert len(starts) < tasks
    assert starts == sorted(set(starts))
    each = [0.0] * (len(starts) + 1)
    for length, count in tokens.items():
        each[sum(length >= start for start in starts)] += count
    assert min(each) > 0
    assert max(each) <= sum(tokens.values()) / tasks + max(tokens.values()) + 1e-6


def test_an_account_of_the_forward_passes_goes_with_the_vectors(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tiny_model: Model
) -> None:
    monkeypatch.setattr(vectors, "TOKENS_PER_TASK", 10)
    nothing = spark.createDataFrame([], "text_key STRING, vector BINARY")
    found, told = vectors.encode(catalogue(spark, 40), nothing, tiny_model)
    encoder = load_encoder(tiny_model.folder)
    wanted = [" ".join(["milk", "tea"] * number) for number in range(7)]
    alone = dict(zip(wanted, to_bytes(encoder.encode(wanted, encoder.settings.max_item_tokens)), strict=True))
    assert {item: vector for item, (_, vector) in by_item(found).items()} == {
        row.item_id: alone[row.text] for row in catalogue(spark, 40).collect()
    }
    row = told.collect()[0]
    assert (row.texts, row.texts_reused, row.texts_encoded) == (7, 0, 7)
    assert row.forward_passes == 7, "one text of each length, whatever the tasks"
    assert row.real_tokens == encoder.work.real_tokens
    assert 0 < row.real_token_share < 1, "few texts: batches are filled up"
    assert 1 <= row.model_loads <= row.workers <= 4
    assert row.texts_per_worker_second == pytest.approx(7 / row.encode_seconds)
    assert row.peak_memory_bytes > 10 * 2**20
    again, told = vectors.encode(catalogue(spark, 40), found.select("text_key", "vector"), tiny_model)
    assert by_item(again) == by_item(found)
    assert [(row.texts_reused, row.forward_passes) for row in told.collect()] == [(7, 0)]


def test_what_training_has_encoded_is_not_encoded_again(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-m2"
    folder.mkdir()
    write_tiny(folder)
    wanted = [" ".join(["milk", "tea"] * number) for number in range(7)]
    stored = unit(5, 7, 32)  # other than the encoder's own: so it shows which are used
    text_vectors.write(folder, wanted, stored)
    write_manifest(folder)
    model = Model(version="tiny-m2", folder=str(folder))
    ship(spark, model)
    nothing = spark.createDataFrame([], "text_key STRING, vector BINARY")
    found, told = vectors.encode(catalogue(spark, 40), nothing, model)
    cells = dict(zip(wanted, to_bytes(stored), strict=True))
    assert {item: vector for item, (_, vector) in by_item(found).items()} == {
        row.item_id: cells[row.text] for row in catalogue(spark, 40).collect()
    }
    row = told.collect()[0]
    assert (row.texts, row.texts_reused, row.texts_encoded) == (7, 7, 0)
    assert (row.forward_passes, row.model_loads, row.workers) == (0, 0, 0)

    more = catalogue(spark, 40).unionByName(texts(spark, ("new", "rye"), ("newer", "rye bread"), ("again", "rye")))
    found, told = vectors.encode(more, nothing, model)
    after = by_item(found)
    assert {item: after[item][1] for item in ("i000", "i008")} == {"i000": cells[""], "i008": cells["milk tea"]}
    alone = to_bytes(load_encoder(folder).encode(["rye", "rye bread"], 32))
    assert [after["new"][1], after["again"][1], after["newer"][1]] == [alone[0], alone[0], alone[1]]
    row = told.collect()[0]
    assert (row.texts, row.texts_reused, row.texts_encoded) == (9, 7, 2)
    assert row.texts_per_worker_second == pytest.approx(2 / row.encode_seconds)


def test_few_texts_go_to_all_slots_by_their_length(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tiny_model: Model
) -> None:
    monkeypatch.setattr(vectors, "FEWEST_TOKENS_PER_TASK", 10)
    nothing = spark.createDataFrame([], "text_key STRING, vector BINARY")
    slots = spark.sparkContext.defaultParallelism
    assert slots > 1
    row = vectors.encode(catalogue(spark, 40), nothing, tiny_model)[1].collect()[0]
    assert (row.texts_encoded, row.forward_passes, row.workers) == (7, 7, slots)


def test_a_worker_that_dies_in_the_middle_costs_a_retry_and_no_row(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tiny_model: Model, tmp_path: Path
) -> None:
    nothing = spark.createDataFrame([], "text_key STRING, vector BINARY")
    expected = by_item(vectors.encode(catalogue(spark, 40), nothing, tiny_model)[0])
    spark.catalog.clearCache()
    shared, encode_batches = str(tmp_path / "died"), vectors._encoder(tiny_model.file_name)

    def dying(file_name: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        def batches(arriving: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import os
            import signal

            for made in encode_batches(arriving):
                if not os.path.exists(shared):  # noqa: PTH110 (nothing of ours is imported there)
                    os.mkdir(shared)  # noqa: PTH102
                    yield made.slice(0, 1)  # a row has left already
                    os.kill(os.getpid(), signal.SIGKILL)
                yield made

        return batches

    monkeypatch.setattr(vectors, "_encoder", dying)
    found, told = vectors.encode(catalogue(spark, 40), nothing, tiny_model)
    assert by_item(found) == expected
    row = told.collect()[0]
    assert (row.texts_encoded, row.forward_passes) == (7, 7), "what the dead worker did does not count twice"
    assert Path(shared).is_dir(), "a worker did die"
