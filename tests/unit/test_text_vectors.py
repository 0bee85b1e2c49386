"""Vectors of texts in a model folder: found by text, checked by the manifest, and not encoded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.test_encoder import write_tiny
from udfs.encoder import encoder, text_vectors
from udfs.encoder.model_folder import write_manifest


def drawn(count: int, dims: int = 32) -> np.ndarray:
    vectors = np.random.default_rng(count).normal(size=(count, dims))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def written(folder: Path, texts: list[str], vectors: np.ndarray) -> text_vectors.TextVectors:
    text_vectors.write(folder, texts, vectors)
    write_manifest(folder)
    found = text_vectors.read(str(folder))
    assert found is not None
    return found


def test_known_texts_are_found_and_others_are_not(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(300)] + ["", "Käse", "tea"]
    vectors = drawn(len(texts))
    stored = written(tmp_path, texts, vectors)
    wanted = ["tea", "unknown", "", "text 7", "tea", "Text 7", "Käse"]
    known, found = stored.find(wanted)
    assert known.tolist() == [text in texts for text in wanted]
    for text, there, vector in zip(wanted, known, found, strict=True):
        np.testing.assert_array_equal(vector, vectors[texts.index(text)] if there else np.zeros(32))
    assert stored.find([])[0].tolist() == []


def test_a_folder_without_texts_knows_none(tmp_path: Path) -> None:
    stored = written(tmp_path, [], drawn(0))
    known, found = stored.find(["tea"])
    assert (known.tolist(), found.tolist()) == ([False], [[0.0] * 32])


def test_a_text_given_twice_is_kept_once(tmp_path: Path) -> None:
    vectors = drawn(2)[[0, 1, 0]]
    stored = written(tmp_path, ["tea", "rye", "tea"], vectors)
    assert len(stored.keys) == len(stored.vectors) == 2
    np.testing.assert_array_equal(stored.find(["rye", "tea"])[1], vectors[[1, 0]])


@pytest.mark.parametrize("name", [text_vectors.KEYS, text_vectors.VECTORS])
def test_files_that_are_not_those_of_the_manifest_are_refused(name: str, tmp_path: Path) -> None:
    text_vectors.write(tmp_path, ["tea"], drawn(1))
    write_manifest(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(encoder.ModelError, match=f"{name} is not what manifest.json says"):
        text_vectors.read(str(tmp_path))


def test_only_texts_that_the_folder_lacks_go_through_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path)
    expected = encoder.load_encoder(tmp_path).encode(["milk", "tea", "rye"], 32)
    marked = -expected[:2]  # what is stored comes back as it was stored
    written(tmp_path, ["tea", "milk"], marked[::-1])
    read: list[str] = []
    right = encoder.Encoder.encode

    def watched(self: encoder.Encoder, texts: list[str], max_tokens: int) -> encoder.Floats:
        read.extend(texts)
        return right(self, texts, max_tokens)

    monkeypatch.setattr(encoder.Encoder, "encode", watched)
    found = text_vectors.encode(tmp_path, ["rye", "milk", "tea"])
    assert read == ["rye"]
    np.testing.assert_allclose(found, [expected[2], marked[0], marked[1]], atol=1e-3)
    read.clear()
    text_vectors.encode(tmp_path, ["tea"])
    assert read == []
