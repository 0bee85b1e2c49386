"""Packed passes equal passes over one text at a time; what does not fit into memory is tried in halves."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_encoder import write_tiny
from udfs.encoder import base_model, model_reader, packed
from udfs.encoder import encoder as enc

WORDS = ("milk", "beer", "bread", "soap", "cat food", "wine", "eggs")
CPU = torch.device("cpu")


def some_texts(count: int) -> list[str]:
    draw = random.Random(5)
    return ["", "a", *(" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(count))]


@pytest.fixture(params=["tiny", "real"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "real":
        return base_model.base_folder()
    write_tiny(tmp_path)
    return tmp_path


def made_packed(encoder: enc.Encoder) -> None:
    """The path of a GPU, on this CPU: all of it but the kernel."""
    encoder._packed = packed.PackedBert(encoder.model, packed.plain_attention)


@pytest.mark.parametrize("tokens", [7, 90, 100_000])
def test_a_packed_pass_equals_one_text_at_a_time(folder: Path, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enc, "TEXTS_AHEAD", 9)
    texts = some_texts(25) * 2
    one, other = (enc.Encoder(*model_reader.read_model(folder), dtype="float32") for _ in range(2))
    expected = np.concatenate([one.encode([text], 10) for text in texts])
    made_packed(other)
    other.tokens_per_batch = tokens
    found = other.encode(texts, 10)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert (found * expected).sum(axis=1).min() > 0.999999
    assert (other.work.texts, other.work.real_tokens) == (len(set(texts)), other.work.read_tokens)
    assert other.work.passes >= 3, "a chunk of texts at a time"


def test_packed_bfloat16_is_float32_to_a_cosine_of_0_999() -> None:
    one, other = (
        enc.Encoder(*model_reader.read_model(base_model.base_folder()), dtype=kind) for kind in ("float32", "bfloat16")
    )
    made_packed(other)
    texts = some_texts(40)
    assert (one.encode(texts, 32) * other.encode(texts, 32)).sum(axis=1).min() >= 0.999


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 40), st.integers(1, 60))
def test_what_does_not_fit_is_tried_in_halves_and_every_row_runs_once(
    lengths: list[int], tokens: int, memory: int
) -> None:
    sizes = np.array(lengths, np.int64)
    order = np.argsort(-sizes, kind="stable")

    def run(rows: packed.Rows) -> list[int]:
        assert len(rows) == 1 or sizes[rows].sum() <= tokens
        if sizes[rows].sum() > memory:
            raise torch.cuda.OutOfMemoryError("too much")
        return list(rows)

    def tried() -> tuple[list[list[int]], int]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packed.warnings, "warn", lambda *_, **__: None)
            return packed.within_memory(run, order, sizes, tokens)

    if lengths and max(lengths) > memory:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            tried()
        return
    made, left = tried()
    assert [row for rows in made for row in rows] == list(order)
    assert left <= tokens


def test_running_out_of_memory_is_said() -> None:
    full: Iterator[bool] = iter([True, False, False])

    def run(rows: packed.Rows) -> int:
        if next(full):
            raise torch.cuda.OutOfMemoryError("too much")
        return len(rows)

    with pytest.warns(UserWarning, match="out of memory on the GPU: 4 tokens a pass from here on"):
        made, left = packed.within_memory(run, np.arange(4), np.array([2, 2, 2, 2]), 8)
    assert (made, left) == ([2, 2], 4)


def test_another_kind_of_bert_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    model = model_reader.read_model(tmp_path)[0]
    model.config.hidden_act = "relu"
    with pytest.raises(ValueError, match="gelu and absolute positions expected, not relu"):
        packed.PackedBert(model, packed.plain_attention)
