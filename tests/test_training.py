"""The loss against a numeric oracle, the stream of batches, and whole runs of a tiny BERT that must learn."""

import json
import math
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from udfs import contrastive, training
from udfs import encoder as enc

WORDS = ("milk", "beer", "bread", "soap", "wine", "eggs", "rice", "tea", "coffee", "salt", "corn", "fish")
SETTINGS = {
    "batch_size": 16,
    "learning_rate": 3e-3,
    "warmup_share": 0.1,
    "temperature": 0.1,
    "evaluate_every": 20,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random BERT, 2 layers x 32 wide, with the real tokenizer, as a base folder."""
    folder = tmp_path_factory.mktemp("base")
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(BertModel(config, add_pooling_layer=False).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json_string())
    shutil.copyfile(enc.base_folder() / "tokenizer.json", folder / "tokenizer.json")
    return folder


def examples() -> pd.DataFrame:
    """One row per purchase in a world with a rule: after the word at n come the words at n + 1 and n + 5."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(240):
        last, other = int(draw.integers(len(WORDS))), int(draw.integers(len(WORDS)))
        following = f"{WORDS[(last + 1) % len(WORDS)]} {WORDS[(last + 5) % len(WORDS)]}"
        split = "train" if user < 200 else "validation"
        rows.append((split, f"u{user}", f"{WORDS[last]}, {WORDS[other]}", following, 12))
    decoys = [("validation", f"d{n}", WORDS[n], f"{WORDS[n]} {WORDS[n - 2]}", 12) for n in range(len(WORDS))]
    return pd.DataFrame(rows + decoys, columns=list(training.COLUMNS))


def run(base: Path, output: Path, **changes: object) -> tuple[training.TrainingReport, list[str]]:
    lines: list[str] = []
    knobs = {
        **SETTINGS,
        "max_steps": 60,
        "patience": 9,
        "max_history_tokens": 16,
        "max_item_tokens": 8,
        **changes,
    }
    return training.fine_tune(examples(), base, output, log=lines.append, **knobs), lines  # type: ignore[arg-type]


def test_training_improves_validation_and_writes_a_model_that_loads(tiny: Path, tmp_path: Path) -> None:
    report, lines = run(tiny, tmp_path / "model")
    assert report.after.mrr > report.before.mrr + 0.2
    assert (report.train_examples, report.validation_examples, report.steps) == (200, 52, 60)
    assert [point.step for point in report.curve] == [0, 20, 40, 60]
    assert report.curve[-1].loss < report.curve[1].loss
    assert lines[0].startswith("zero-shot: recall@20 ")
    # The folder alone gives the reported figures back: the best step's weights, in serving precision.
    validation = examples().query("split == 'validation'")
    texts = sorted(set(examples()["item_text"]))
    assert training.validate(enc.load_encoder(tmp_path / "model"), validation, texts) == report.after
    assert json.loads((tmp_path / "model" / "encoder.json").read_text()) == {
        "name": "model",
        "dims": 32,
        "max_history_tokens": 16,
        "max_item_tokens": 8,
        "pooling": "mean",
        "normalised": True,
    }
    listed = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert sorted(listed) == ["config.json", "encoder.json", "model.safetensors", "tokenizer.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # no temporary folder is left


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tiny, tmp_path / name, seed=seed, max_steps=12, evaluate_every=12)
    a, b, c = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_training_that_only_harms_stops_early_and_writes_the_base_weights(tiny: Path, tmp_path: Path) -> None:
    report, lines = run(tiny, tmp_path / "model", learning_rate=1e-12, evaluate_every=2, patience=3)
    assert (report.steps, report.best_step) == (6, 0)
    assert report.after == report.before
    assert lines[-1] == "stopped: 3 evaluations without a better one than step 0"
    written, base = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", tiny))
    assert all(torch.equal(written[name], base[name]) for name in base)


def test_the_loss_equals_ten_lines_of_arithmetic() -> None:
    draw = torch.Generator().manual_seed(0)
    histories, items = (torch.randn(4, 3, generator=draw) for _ in range(2))
    counts, texts, users = [5.0, 1.0, 5.0, 2.0], [0, 1, 0, 2], [7, 8, 9, 8]
    related = torch.tensor([[texts[r] == texts[c] or users[r] == users[c] for c in range(4)] for r in range(4)])
    total = 0.0
    for r in range(4):
        logits = {}
        for c in range(4):
            is_negative = texts[r] != texts[c] and users[r] != users[c]
            if c == r or is_negative:
                dot = sum(float(a) * float(b) for a, b in zip(histories[r], items[c], strict=True))
                logits[c] = dot / 0.5 - math.log(counts[c])
        total += math.log(sum(math.exp(x) for x in logits.values())) - logits[r]
    loss = contrastive.contrastive_loss(histories, items, 0.5, torch.log(torch.tensor(counts)), related)
    assert float(loss) == pytest.approx(total / 4, rel=1e-5)


def test_a_duplicate_of_the_positive_pushes_nothing_away() -> None:
    histories = items = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    related = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    alone = contrastive.contrastive_loss(histories[:2], items[:2], 1.0, torch.zeros(2), related[:2, :2])
    assert float(alone) == 0  # with its only rival masked out, nothing is left to lose
    masked = contrastive.contrastive_loss(histories, items, 1.0, torch.zeros(3), related)
    unmasked = contrastive.contrastive_loss(histories, items, 1.0, torch.zeros(3), torch.eye(3, dtype=torch.bool))
    assert float(masked) < float(unmasked)


def test_log_q_spares_the_popular_negative() -> None:
    histories, items = torch.eye(3), torch.eye(3).requires_grad_()
    popular = torch.log(torch.tensor([1.0, 100.0, 1.0]))  # the second item is drawn 100 times as often
    contrastive.contrastive_loss(histories, items, 1.0, popular, torch.eye(3, dtype=torch.bool)).backward()
    assert items.grad is not None
    pushed_popular, pushed_rare = items.grad[1, 0], items.grad[2, 0]  # by the first history, away from it
    assert 0 < float(pushed_popular) < float(pushed_rare) / 50


def test_a_pass_draws_full_batches_each_example_once_and_marks_relatives(tiny: Path) -> None:
    _, tokenizer, _ = enc.read_model(tiny)
    train = examples().query("split == 'train'")
    settings = enc.Settings("x", 32, 16, 8)
    drawn = list(islice(contrastive.batches(train, tokenizer, settings, 16, 7), 12))  # 200 // 16: one pass
    again = list(islice(contrastive.batches(train, tokenizer, settings, 16, 7), 12))
    assert [batch.histories for batch in drawn] == [batch.histories for batch in again]
    texts = enc.token_ids(tokenizer, list(train["history"]), 16)
    seen = [tuple(ids) for batch in drawn for ids in batch.histories]
    assert len(seen) == 192
    assert all(seen.count(text) <= texts.count(list(text)) for text in set(seen))
    batch = drawn[0]
    for r in range(16):
        for c in range(16):
            assert batch.related[r, c] == (batch.items[r] == batch.items[c])  # every user has one example here
    assert batch.log_q.tolist() == pytest.approx([math.log(12)] * 16)


def test_embedding_for_training_is_the_encoders(tiny: Path) -> None:
    model, tokenizer, settings = enc.read_model(tiny)
    texts = ["", "milk", "beer and bread with salt"]
    with torch.no_grad():
        padded = contrastive.embed(model, enc.token_ids(tokenizer, texts, 16), "cpu").numpy()
    served = enc.Encoder(model, tokenizer, settings, dtype="float32").encode(texts, 16)
    np.testing.assert_allclose(padded, served, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="item_count"), "lack the columns item_count"),
        (lambda frame: frame.assign(item_count=0), "item_count above 0 expected"),
        (lambda frame: frame.assign(history=None), r"nulls in \['history'\]"),
        (lambda frame: frame[frame["split"] == "train"], "and validation expected; {'train': 200}"),
        (lambda frame: frame[190:], "train .at least 16 rows. and validation expected"),
    ],
)
def test_examples_that_cannot_be_used_are_refused(change, message: str, tiny: Path, tmp_path: Path) -> None:
    knobs = {**SETTINGS, "max_steps": 1, "patience": 1, "log": print}
    with pytest.raises(ValueError, match=message):
        training.fine_tune(change(examples()), tiny, tmp_path / "model", **knobs)


def test_a_model_is_never_overwritten(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        run(tiny, tmp_path)
