"""The base model that a deployment names: what is accepted, and that what is not is refused by file and key."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.offline.base_of import base_of
from schemas.deployment import load
from schemas.errors import ConfError
from tests.support import tiny_shop
from tests.support.small_base import small_base
from tests.unit.test_encoder import write_tiny
from udfs.encoder import base_model, encoder, model_reader
from udfs.encoder.model_folder import CONFIG, TOKENIZER, WEIGHTS, ModelError

TEXTS = ["milk", "", "rye bread 500 g"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One random BERT, 32 wide."""
    write_tiny(tmp_path)
    return tmp_path


def config(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_the_default_is_the_pinned_model_and_any_other_folder_is_itself(folder: Path) -> None:
    assert base_model.base_sha256(base_model.base_folder()) == base_model.BASE_SHA256
    assert base_model.base_folder("default") == base_model.base_folder()
    assert base_model.base_folder(str(folder)) == folder
    base_model.base_folder(str(small_base()))


def test_the_small_base_of_tests_is_the_first_layers_of_the_pinned_one() -> None:
    small, _, settings = model_reader.read_model(small_base())
    pinned, _, _ = model_reader.read_model(base_model.base_folder())
    ids = torch.tensor([[101, 2000, 102]])
    with torch.inference_mode():
        hidden = pinned(ids, output_hidden_states=True).hidden_states[2]
        assert torch.equal(small(ids).last_hidden_state, hidden)
    assert settings.dims == 384


def test_weights_of_a_bert_with_a_head_and_of_an_early_release_are_read_by_their_plain_names(folder: Path) -> None:
    expected = encoder.load_encoder(folder, dtype="float32").encode(TEXTS, 32)
    old = folder / "old"
    old.mkdir()
    for name in (CONFIG, TOKENIZER):
        (old / name).write_bytes((folder / name).read_bytes())
    tensors = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(folder / WEIGHTS).items()
    }
    save_file(tensors | {"cls.predictions.bias": torch.zeros(3)}, old / WEIGHTS)
    found = encoder.load_encoder(base_model.base_folder(str(old)), dtype="float32").encode(TEXTS, 32)
    np.testing.assert_array_equal(found, expected)


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda at: (at / TOKENIZER).unlink(), r"lacks tokenizer\.json"),
        (lambda at: (at / WEIGHTS).unlink(), r"lacks model\.safetensors"),
        (
            lambda at: (at / WEIGHTS).rename(at / "model.onnx"),
            r"lacks model\.safetensors: a base is not read in 8 bits",
        ),
        (lambda at: torch.save({}, at / "pytorch_model.bin"), r"holds pytorch_model\.bin: a pickle can run code"),
        (lambda at: (at / WEIGHTS).write_bytes(pickle.dumps({"a": 1})), r"model\.safetensors is no safetensors file"),
        (lambda at: (at / WEIGHTS).write_bytes(b"\xff" * 32), r"model\.safetensors is no safetensors file"),
        (lambda at: (at / CONFIG).write_text("{"), r"config\.json is no JSON"),
        (lambda at: (at / CONFIG).write_text("[]"), r"config\.json: an object expected"),
        (lambda at: config(at, model_type="roberta"), r"config\.json: model_type is 'roberta'; 'bert' expected"),
        (lambda at: config(at, hidden_act="relu"), r"config\.json: hidden_act is 'relu'; 'gelu' expected"),
        (lambda at: config(at, hidden_size="32"), r"config\.json: hidden_size is '32'; a number expected"),
        (lambda at: config(at, num_attention_heads=5), r"hidden_size 32 is no multiple of 5 heads"),
        (lambda at: config(at, max_position_embeddings=16), r"max_position_embeddings is 16; 32 are needed"),
        (lambda at: config(at, vocab_size=100), r"tokenizer\.json has token ids up to 30521; vocab_size .* is 100"),
        (lambda at: (at / TOKENIZER).write_text("{}"), r"tokenizer\.json: a tokenizer of word pieces expected"),
        (lambda at: config(at, num_hidden_layers=3), r"lacks the tensor encoder\.layer\.2\."),
        (lambda at: weights(at, lambda all_: all_.pop(QUERY)), rf"lacks the tensor {QUERY}"),
        (lambda at: config(at, intermediate_size=65), r"weight is \[64, 32\]; \[65, 32\] expected by config\.json"),
    ],
)
def test_what_is_no_bert_that_can_be_tuned_is_refused_by_name(
    spoil: Callable[[Path], object], message: str, folder: Path
) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=message):
        base_model.base_folder(str(folder))


@pytest.mark.parametrize("named", ["sentence-transformers/all-MiniLM-L6-v2", "../nowhere"])
def test_a_hub_name_or_a_folder_that_is_not_there_is_refused_with_file_and_key(named: str, tmp_path: Path) -> None:
    conf = tiny_shop.make(tmp_path, days=0)
    conf.write_text(conf.read_text().replace('base = "base"', f'base = "{named}"'))
    deployment = load(conf)
    assert deployment.encoder.base == str((tmp_path / named).resolve())
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: \[encoder\] base: .*is no folder.*hubs are not asked"):
        base_of(deployment)


@pytest.mark.parametrize("named", ["s3a://bucket/bert", "hf://org/bert", "https://host/bert", " "])
def test_a_uri_is_refused_when_the_deployment_is_read(named: str, tmp_path: Path) -> None:
    conf = tiny_shop.make(tmp_path, days=0)
    conf.write_text(conf.read_text().replace('base = "base"', f'base = "{named}"'))
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: encoder\.base: .* is no folder; download the model"):
        load(conf)


def test_a_deployment_that_says_nothing_has_the_pinned_model(tmp_path: Path) -> None:
    conf = tiny_shop.make(tmp_path, days=0, pinned_base=True)
    conf.write_text(conf.read_text().replace('[encoder]\nbase = "default"\n', ""))
    assert base_of(load(conf)) == base_model.base_folder()
