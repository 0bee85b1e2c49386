"""An 8-bit encoder against the float one it was made of, its bits among any batch mates, and what it imports."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bench.int8_choices import write_dynamic, write_float
from tests.support.tiny_shop import REPO
from tests.unit.test_encoder import TEXTS, write_tiny
from udfs.encoder import base_model, int8, lower_layers, model_folder, model_reader
from udfs.encoder import encoder as enc
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.model_folder import write_manifest
from udfs.top_k.int8_graph import LARGEST_WEIGHT, rounded, write_graph


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random BERT with an adapter, as a model folder."""
    folder = tmp_path_factory.mktemp("float")
    write_tiny(folder)
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(1))
    save_file({"weight": weight, "bias": torch.ones(8)}, folder / model_folder.ADAPTER)
    (folder / model_folder.SETTINGS).write_text(json.dumps({"name": "tiny", "dims": 8, "max_item_tokens": 24}))
    return folder


@pytest.fixture(scope="module")
def small(tiny: Path) -> Path:
    """The same in 8 bits."""
    output = tiny.with_name("int8")
    int8.write_int8(tiny, output)
    return output


def many() -> list[str]:
    draw = random.Random(5)
    words = ["milk", "beer", "bread", "soap", "cat food", "wine", "eggs"]
    return [" ".join(draw.choices(words, k=draw.randint(0, 9))) for _ in range(120)]


def test_the_graph_with_weights_as_they_are_gives_torchs_vectors(tiny: Path) -> None:
    write_float(tiny, tiny.with_name("graph"))
    found, expected = (enc.load_encoder(f, dtype="float32").encode(TEXTS, 64) for f in (tiny.with_name("graph"), tiny))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_eight_bits_are_near_float32_in_a_folder_that_has_all_else(tiny: Path, small: Path) -> None:
    found, expected = (enc.load_encoder(folder, dtype="float32") for folder in (small, tiny))
    assert found.settings == replace(expected.settings, form="int8")
    vectors = found.encode(TEXTS, 24)
    assert (vectors * expected.encode(TEXTS, 24)).sum(axis=1).min() > 0.995
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors.dtype == np.float32
    assert sorted(path.name for path in small.iterdir()) == [
        "adapter.safetensors",
        "config.json",
        "encoder.json",
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    ]


def test_the_real_model_in_eight_bits_is_float32_to_a_cosine_of_0_99(tmp_path: Path) -> None:
    int8.write_int8(base_model.base_folder(), tmp_path / "int8")
    texts = ["kids cereal 14.5 oz", "fluid milk white only, fluid milk products, 1 ga, private", "white hanging heart"]
    found, expected = (
        model.encode(texts, 32)
        for model in (
            enc.load_encoder(tmp_path / "int8"),
            enc.load_encoder(base_model.base_folder(), dtype="float32"),
        )
    )
    assert (found * expected).sum(axis=1).min() > 0.99


def test_vectors_have_the_same_bits_on_several_threads(small: Path) -> None:
    texts, encoder = many(), int8.Int8Encoder(small)
    alone, tokens = encoder.encode(texts, 24), encoder.work.read_tokens
    encoder.use_threads(3)
    np.testing.assert_array_equal(encoder.encode(texts, 24), alone)
    assert encoder.work.read_tokens == 2 * tokens


def test_vectors_have_the_same_bits_whatever_their_batch_mates_are(small: Path) -> None:
    texts, encoder = many(), enc.load_encoder(small)
    together = encoder.encode(texts, 24)
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([text], 24) for text in texts]))
    order = random.Random(1).sample(range(len(texts)), len(texts))
    np.testing.assert_array_equal(encoder.encode([texts[at] for at in order], 24), together[order])


def test_with_one_scale_for_a_batch_they_have_not(tiny: Path) -> None:
    write_float(tiny, tiny.with_name("source"))
    write_dynamic(tiny.with_name("source"), tiny.with_name("dynamic"))
    texts, encoder = many(), int8.Int8Encoder(tiny.with_name("dynamic"))
    together = encoder.encode(texts, 24)
    assert (together[:9] != np.concatenate([encoder.encode([text], 24) for text in texts[:9]])).any()


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine with other work
@given(st.lists(st.lists(st.floats(-9, 9, width=32), min_size=4, max_size=4), min_size=1, max_size=5))
def test_each_row_is_rounded_by_its_own_largest_value(values: list[list[float]]) -> None:
    rows = np.array(values, np.float32)
    whole, scale = rounded(rows, LARGEST_WEIGHT)
    assert np.abs(whole).max() <= LARGEST_WEIGHT
    assert (np.abs(whole * scale[:, None] - rows) <= scale[:, None] * 0.501).all()


def test_the_work_done_is_counted_and_no_batch_is_filled_up(small: Path) -> None:
    encoder = int8.Int8Encoder(small)
    encoder.encode(["milk", "tea", "milk"], 24)
    assert encoder.work == enc.Work(texts=2, real_tokens=6, read_tokens=6, passes=1)
    with pytest.raises(ValueError, match="max_tokens is 129; model tiny takes 3 to 128"):
        encoder.encode(["milk"], 129)


@pytest.mark.parametrize("tuned_layers", [1, 2])
@pytest.mark.parametrize("cache_bytes", [2 << 30, 0])
def test_cached_lower_layers_give_the_vectors_of_the_8_bit_encoder(
    tuned_layers: int, cache_bytes: int, tiny: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower_layers, "CACHE_BYTES", cache_bytes)
    texts = sorted(set(many()))
    lower = LowerLayers(texts, tiny, tuned_layers, 24, "int8")
    adapter = model_reader.read_adapter(tiny)
    assert adapter is not None
    expected = enc.load_encoder(small).encode(texts, 24)
    assert lower.count == 2 - tuned_layers
    if cache_bytes:
        np.testing.assert_allclose(
            adapter(lower.vectors), expected, atol=5e-3
        )  # halves round to another step of 8 bits
        assert (adapter(lower.vectors) * expected).sum(axis=1).min() > 0.9999
    else:
        np.testing.assert_array_equal(adapter(lower.vectors), expected)


def test_the_same_weights_give_the_same_file(tiny: Path, small: Path) -> None:
    int8.write_int8(tiny, tiny.with_name("again"))
    assert model_folder.sha256(tiny.with_name("again") / model_folder.INT8) == model_folder.sha256(
        small / model_folder.INT8
    )


def test_what_is_no_graph_or_not_the_manifests_is_refused(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "model")
    (folder / model_folder.INT8).write_bytes(b"no graph")
    with pytest.raises(model_folder.ModelError, match=r"model.onnx: sha256 is .*, manifest.json says"):
        enc.load_encoder(folder)
    write_manifest(folder)
    with pytest.raises(model_folder.ModelError, match=r"model.onnx is no graph that ONNX Runtime reads"):
        enc.load_encoder(folder)


def test_an_int8_folder_is_for_reading_on_a_cpu_only_and_has_one_kind_of_weights(small: Path, tmp_path: Path) -> None:
    with pytest.raises(model_folder.ModelError, match="is for CPUs: train a model with the Spark prop"):
        enc.load_encoder(small, device="cuda")
    with pytest.raises(model_folder.ModelError, match="8-bit weights only: nothing can be trained"):
        model_reader.read_model(small)
    folder = shutil.copytree(small, tmp_path / "both")
    (folder / model_folder.WEIGHTS).write_bytes(b"")
    with pytest.raises(model_folder.ModelError, match=r"holds both model.safetensors and model.onnx"):
        enc.load_encoder(folder)


def test_another_kind_of_bert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hidden_act is relu; the 8-bit graph has gelu only"):
        write_graph({}, {"hidden_act": "relu"}, tmp_path / "x.onnx")


def test_reading_an_int8_model_imports_neither_torch_nor_transformers_nor_onnx(small: Path) -> None:
    heavy = "{'torch', 'transformers', 'onnx', 'pandas'}"
    code = (
        "import sys; from udfs.encoder.encoder import load_encoder; "
        f"load_encoder({str(small)!r}).encode(['milk'], 24); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert run.stdout.strip() == "[]"
