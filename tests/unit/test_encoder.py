"""One text in, one vector out: unpadded batches against a padded float32 reference; what is refused."""

import hashlib
import json
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from udfs.encoder import base_model, model_folder, model_reader, stored_vectors
from udfs.encoder import encoder as enc

TEXTS = [
    "",
    "kids cereal 14.5 oz",
    "milk",
    "frozen pizza, frozen pizza, ice cream",
    "milk",
    "a " * 300,
    "Zażółć 🍎",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random BERT, 2 layers x 32 wide, with the real tokenizer, as a model folder without a manifest."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder


def write_tiny(folder: Path, layers: int = 2, positions: int = 128, seed: int = 3) -> None:
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(BertModel(config, add_pooling_layer=False).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json_string())
    shutil.copyfile(base_model.base_folder() / "tokenizer.json", folder / "tokenizer.json")


def write_manifest(folder: Path) -> None:
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps(hashes))


def padded_reference(folder: Path, texts: list[str], max_tokens: int) -> np.ndarray:
    """Oracle: every text padded to max_tokens, float32, masked mean; only read_model is shared."""
    model, tokenizer, _ = model_reader.read_model(folder)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(length=max_tokens)
    rows = tokenizer.encode_batch(texts)
    mask = torch.tensor([row.attention_mask for row in rows])
    with torch.no_grad():
        hidden = model(torch.tensor([row.ids for row in rows]), attention_mask=mask).last_hidden_state
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def test_unpadded_batches_equal_the_padded_reference(tiny: Path) -> None:
    vectors = enc.load_encoder(tiny, dtype="float32").encode(TEXTS, 64)
    np.testing.assert_allclose(vectors, padded_reference(tiny, TEXTS, 64), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors.dtype == np.float32


def test_the_real_model_in_bfloat16_is_the_padded_float32_reference_to_a_cosine_of_0_999() -> None:
    folder = base_model.base_folder()
    vectors = enc.load_encoder(folder, dtype="bfloat16").encode(TEXTS, 64)
    assert (vectors * padded_reference(folder, TEXTS, 64)).sum(axis=1).min() >= 0.999


def test_bfloat16_vectors_do_not_depend_on_batch_mates_order_or_repeats(tiny: Path) -> None:
    words = ["milk", "beer", "bread", "soap", "cat food", "wine", "eggs"]
    draw = random.Random(5)
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 9))) for _ in range(120)]
    encoder = enc.load_encoder(tiny, dtype="bfloat16")
    together = encoder.encode(texts, 32)
    alone = np.concatenate([encoder.encode([text], 32) for text in texts])
    np.testing.assert_array_equal(together, alone)
    order = draw.sample(range(len(texts)), len(texts))
    np.testing.assert_array_equal(encoder.encode([texts[at] for at in order], 32), together[order])


def test_a_few_texts_have_the_bits_that_they_have_among_many() -> None:
    # With AMX, oneDNN adds up BERT's widest product of 33 to some 380 rows in another order than that of more.
    texts = [
        f"{one} {other}" for one in ("milk", "tea", "soap", "rice") for other in ("red", "blue", "old", "new") * 20
    ]
    texts = [f"{text} {number % 10}" for number, text in enumerate(texts)]
    encoder = enc.Encoder(*model_reader.read_model(base_model.base_folder()), dtype="bfloat16")
    together = encoder.encode(texts, 32)
    for count in (1, 7, 20, 60):
        np.testing.assert_array_equal(encoder.encode(texts[:count], 32), together[:count])


def test_the_work_done_is_counted_with_what_a_small_batch_is_filled_up_with(tiny: Path) -> None:
    encoder = enc.Encoder(*model_reader.read_model(tiny))
    encoder.encode(["milk", "tea", "milk"], 32)  # three tokens each, one batch
    assert encoder.work == enc.Work(texts=2, real_tokens=6, read_tokens=513, passes=1)
    encoder.encode(["milk"] + [f"milk {number}" for number in range(10)] * 2, 32)
    assert (encoder.work.texts, encoder.work.passes) == (13, 3)


def test_no_texts_give_no_rows_and_the_bounds_of_max_tokens_are_the_models(tiny: Path) -> None:
    encoder = enc.load_encoder(tiny)
    assert encoder.encode([], 32).shape == (0, 32)
    with pytest.raises(ValueError, match=r"max_tokens is 129; model .* takes 3 to 128"):
        encoder.encode(["milk"], 129)


def test_an_encoder_is_loaded_once(tiny: Path) -> None:
    assert enc.load_encoder(tiny) is enc.load_encoder(str(tiny))


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 30))
def test_batches_hold_one_length_within_the_budget_and_every_row_once(lengths: list[int], tokens: int) -> None:
    batches = list(enc.equal_length_batches([[0] * length for length in lengths], tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len({lengths[row] for row in batch}) == 1
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= tokens


@given(st.lists(st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3), max_size=5))
def test_bytes_round_trip(rows: list[list[float]]) -> None:
    vectors = np.array(rows, np.float32).reshape(-1, 3)
    cells = stored_vectors.to_bytes(vectors)
    assert [len(cell) for cell in cells] == [6] * len(rows)
    np.testing.assert_array_equal(stored_vectors.from_bytes(cells, 3), vectors)


def test_bytes_are_little_endian_float16_and_another_length_is_refused() -> None:
    assert stored_vectors.to_bytes(np.array([[1.0, -2.0]])) == [b"\x00\x3c\x00\xc0"]
    with pytest.raises(ValueError, match="vector 1 has 2 bytes; 2 float16 take 4"):
        stored_vectors.from_bytes([b"\x00\x3c\x00\xc0", b"\x00\x00"], 2)


def test_a_tampered_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    write_manifest(tmp_path)
    model_folder.check_files(tmp_path)
    before = hashlib.sha256((tmp_path / "config.json").read_bytes()).hexdigest()
    (tmp_path / "config.json").write_text("{}")
    after = hashlib.sha256(b"{}").hexdigest()
    with pytest.raises(model_folder.ModelError, match=f"config.json: sha256 is {after}, manifest.json says {before}"):
        enc.load_encoder(tmp_path)


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    write_manifest(tmp_path)
    (tmp_path / "encoder.json").write_text("{}")  # added after the manifest was written
    with pytest.raises(model_folder.ModelError, match=r"does not list encoder\.json"):
        enc.load_encoder(tmp_path)


def test_pickled_weights_are_refused_under_any_name(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(model_folder.ModelError, match=r"holds pytorch_model\.bin: a pickle can run code"):
        enc.load_encoder(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps({}))  # a pickle that calls itself safetensors
    with pytest.raises(model_folder.ModelError, match="is no safetensors file"):
        enc.load_encoder(tmp_path)


def test_weights_that_lack_a_tensor_are_refused_not_left_random(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    save_file({"embeddings.word_embeddings.weight": torch.zeros(30522, 32)}, tmp_path / "model.safetensors")
    with pytest.raises(model_folder.ModelError, match=r"lacks .* tensors"):
        enc.load_encoder(tmp_path)


def test_settings_of_another_pooling_are_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "encoder.json").write_text(json.dumps({"name": "x", "dims": 32, "pooling": "cls"}))
    with pytest.raises(model_folder.ModelError, match="pooling mean, normalised true, dims 32 expected"):
        enc.load_encoder(tmp_path)


def test_missing_or_different_base_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "BASE_SHA256", "0" * 64)
    with pytest.raises(model_folder.ModelError, match=f"published file's is {'0' * 64}; run `make setup` again"):
        base_model.base_folder()
    monkeypatch.setattr(base_model, "BASE_PACKAGE", "no_such_package")
    with pytest.raises(model_folder.ModelError, match=r"no_such_package .* is missing: run `make setup`"):
        base_model.base_folder()


def test_importing_the_module_imports_neither_torch_nor_transformers_nor_pyspark() -> None:
    heavy = "{'torch', 'transformers', 'pyspark', 'tokenizers', 'pandas'}"
    code = f"import sys, udfs.encoder.encoder; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
