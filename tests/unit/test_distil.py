"""A student learns to write its teacher's vectors, its folder is an ordinary one, and every draw is seeded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from udfs.encoder import base_model, distil, model_folder, model_reader
from udfs.encoder import encoder as enc

WORDS = ("milk", "beer", "soap", "rice", "tea", "fish")
TEXTS = [f"{one} {other}" for one in WORDS for other in ("red", "old", "new", "big")]
SETTINGS = distil.DistilSettings(layers=2, steps=60, batch_size=8, learning_rate=3e-3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random BERT, 4 layers x 32 wide, that ends in 8 dimensions, as a model folder."""
    folder = tmp_path_factory.mktemp("teacher")
    config = BertConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BertModel(config, add_pooling_layer=False)
        for layer in model.encoder.layer:  # as they start, layers hardly change what passes them
            torch.nn.init.normal_(layer.output.dense.weight, std=0.3)
        save_file(model.state_dict(), folder / model_folder.WEIGHTS)
        save_file({"weight": torch.randn(8, 32), "bias": torch.randn(8)}, folder / model_folder.ADAPTER)
        save_file({"weight": torch.randn(32, 32), "bias": torch.randn(32)}, folder / model_folder.FROZEN_ADAPTER)
    (folder / model_folder.CONFIG).write_text(config.to_json_string())
    (folder / model_folder.SETTINGS).write_text(json.dumps({"name": "teacher", "dims": 8, "max_item_tokens": 16}))
    shutil.copyfile(base_model.base_folder() / model_folder.TOKENIZER, folder / model_folder.TOKENIZER)
    return folder


def cosine(a: Path, b: Path) -> float:
    found = [enc.load_encoder(folder).encode(TEXTS, 16) for folder in (a, b)]
    return float((found[0] * found[1]).sum(axis=1).mean())


def test_a_student_learns_its_teachers_vectors_and_its_folder_is_an_ordinary_one(teacher: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    report = distil.distil(TEXTS * 2, teacher, tmp_path / "small", settings=SETTINGS, log=lines.append)
    untaught = replace(SETTINGS, steps=0)
    distil.distil(TEXTS, teacher, tmp_path / "untaught", settings=untaught, log=lines.append)
    assert 1 - cosine(tmp_path / "small", teacher) < (1 - cosine(tmp_path / "untaught", teacher)) / 10
    assert report.cosine > report.cosine_before
    assert (report.layers, report.steps, report.texts, report.held_out) == (2, 60, 24, 2)
    assert json.loads((tmp_path / "small" / model_folder.CONFIG).read_text())["num_hidden_layers"] == 2
    settings = enc.load_encoder(tmp_path / "small").settings
    assert (settings.name, settings.dims, settings.max_item_tokens) == ("small", 8, 16)
    assert lines[-1].endswith("on 2 texts not learned from")
    # What was learned over the base's weights goes along as it is; so do the words.
    frozen = [load_file(folder / model_folder.FROZEN_ADAPTER) for folder in (teacher, tmp_path / "small")]
    assert all(torch.equal(frozen[0][name], frozen[1][name]) for name in frozen[0])
    words = [
        load_file(f / model_folder.WEIGHTS)["embeddings.word_embeddings.weight"] for f in (teacher, tmp_path / "small")
    ]
    assert torch.equal(*words)


def test_a_student_of_a_base_model_has_no_adapter_either(teacher: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in (model_folder.CONFIG, model_folder.TOKENIZER, model_folder.WEIGHTS):
        shutil.copyfile(teacher / name, base / name)
    distil.distil(TEXTS, base, tmp_path / "small", settings=replace(SETTINGS, steps=2), log=str)
    assert model_reader.read_adapter(tmp_path / "small") is None
    assert enc.load_encoder(tmp_path / "small").encode(["milk"], 16).shape == (1, 32)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(teacher: Path, tmp_path: Path) -> None:
    few = replace(SETTINGS, steps=3)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        distil.distil(TEXTS, teacher, tmp_path / name, settings=few, seed=seed, log=str)
    a, b, c = (load_file(tmp_path / name / model_folder.WEIGHTS) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_student_starts_from_evenly_spaced_layers_of_its_teacher(teacher: Path, tmp_path: Path) -> None:
    assert distil.kept_layers(3, 6) == [0, 2, 5]
    assert distil.kept_layers(1, 6) == [5]
    assert distil.kept_layers(4, 6) == [0, 2, 3, 5]
    distil.distil(TEXTS, teacher, tmp_path / "small", settings=replace(SETTINGS, steps=0), log=str)
    whole, small = (load_file(folder / model_folder.WEIGHTS) for folder in (teacher, tmp_path / "small"))
    for number, of in enumerate((0, 3)):
        name = "attention.self.query.weight"
        assert torch.equal(small[f"encoder.layer.{number}.{name}"], whole[f"encoder.layer.{of}.{name}"])


def test_what_cannot_be_distilled_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layers is 4; a student of a BERT of 4 layers has 1 to 3"):
        distil.distil(TEXTS, teacher, tmp_path / "x", settings=replace(SETTINGS, layers=4), log=str)
    with pytest.raises(ValueError, match="2 different texts; at least 10 are needed"):
        distil.distil(["milk", "tea", "tea"], teacher, tmp_path / "x", settings=SETTINGS, log=str)
    assert not (tmp_path / "x").exists()
