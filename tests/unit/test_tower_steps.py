"""Steps of a tower: resumed as if never stopped, over cached lower activations, with their share of the run."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny_shop import REPO
from tests.unit.test_encoder import write_tiny
from tests.unit.test_tower import DAY, SETTINGS, TEXTS, run, shop
from udfs.encoder import encoder as enc
from udfs.encoder import lower_layers, model_reader, tower, tower_budget
from udfs.encoder.copurchase import Pooling
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_bert import Tower
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_settings import TowerReport, TowerSettings

pytestmark = pytest.mark.usefixtures("float32_products")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny(folder, positions=64)
    return folder


def stopped_and_resumed(tiny: Path, folder: Path, last_words: str, **changes: object) -> tuple[TowerReport, str]:
    """The report of a training that was stopped at a line of its log and run again, and where it went on."""

    class StoppedError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith(last_words):
            raise StoppedError

    world, saved = shop(), folder / "saved.safetensors"
    texts, settings = [TEXTS[item] for item in world.items], replace(SETTINGS, **changes)  # type: ignore[arg-type]
    with pytest.raises(StoppedError):
        tower.train_tower(texts, world, DAY, tiny, folder / "parts", settings=settings, log=stop, checkpoint=saved)
    report, lines = run(tiny, folder / "parts", checkpoint=saved, **changes)
    assert not saved.exists()
    return report, next(line for line in lines if line.startswith("resumed"))


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same encoder and adapter, bit by bit."""
    pairs = (
        tuple(load_file(folder / name) for folder in (one, other))
        for name in ("model.safetensors", "adapter.safetensors")
    )
    return all(torch.equal(a[key], b[key]) for a, b in pairs for key in a)


@pytest.mark.parametrize(
    ("last_words", "resumed"),
    [
        ("step 20/", "resumed after step 12"),
        ("refit on all days before the cut, step 16", "resumed after step 24 and 12 of the refit"),
    ],
    ids=["in its steps", "in its refit"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(last_words: str, resumed: str, tiny: Path, tmp_path: Path) -> None:
    whole, _ = run(tiny, tmp_path / "whole", refit_steps=16)
    parts, line = stopped_and_resumed(tiny, tmp_path, last_words, refit_steps=16)
    assert line == resumed
    assert parts.curve[1:] == whole.curve[1:]
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tiny, tmp_path / name, seed=seed, max_steps=4, refit_steps=2, evaluate_every=4)
    a, b, c = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_lora_learns_low_rank_changes_of_the_upper_layers_and_serves_plain_weights(tiny: Path, tmp_path: Path) -> None:
    """One test of LoRA: which weights move and by what rank, what is served, that it resumes, when peft is imported."""
    changes: dict[str, object] = {"method": "lora", "lora_rank": 3, "tuned_layers": 1, "refit_steps": 0}
    report, _ = run(tiny, tmp_path / "model", **changes)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, tmp_path / "model"))
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    upper = {name for name in before if name.startswith("encoder.layer.1.")}
    assert moved == {name for name in upper if before[name].ndim == 2}
    for name in moved:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-4) == 3
    assert report.best_step > 0
    served = enc.load_encoder(tmp_path / "model").encode([TEXTS[item] for item in shop().items], 32)
    found = Checks(shop(), DAY - 28).measure(served, Pooling(), report.scale)
    assert found[:2] == (report.best.ndcg, report.best.ndcg_with_popularity), "what was measured is what is served"
    resumed, line = stopped_and_resumed(tiny, tmp_path, "step 20/", **changes)
    assert line == "resumed after step 12"
    assert resumed.curve[1:] == report.curve[1:]
    assert same_weights(tmp_path / "model", tmp_path / "parts")
    code = "import sys, udfs.encoder.tower, udfs.encoder.lora; print('peft' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert out.stdout.strip() == "False", "peft takes ten seconds to import: only where LoRA is chosen"


def tower_of(texts: list[str], base: Path, settings: TowerSettings) -> Tower:
    """One whose adapter changes nothing (it would start at random)."""
    lower = LowerLayers(texts, base, settings.tuned_layers, settings.max_item_tokens)
    found = Tower(lower, model_reader.read_model(base)[0], settings, 7)
    found.set_adapter({"weight": torch.eye(lower.dims), "bias": torch.zeros(lower.dims)})
    return found


@pytest.mark.parametrize("tuned_layers", [0, 1, 2])
def test_kept_lower_activations_give_what_computing_them_anew_gives(
    tuned_layers: int, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [TEXTS[item] for item in shop().items]
    settings = replace(SETTINGS, tuned_layers=tuned_layers)
    rows = np.random.default_rng(3).permutation(len(texts))
    kept = tower_of(texts, tiny, settings)
    assert all(hidden is not None and hidden.dtype == torch.float16 for hidden in kept.lower.hidden)
    monkeypatch.setattr(lower_layers, "CACHE_BYTES", 0)
    anew = tower_of(texts, tiny, settings)
    assert all(hidden is None for hidden in anew.lower.hidden)
    np.testing.assert_array_equal(kept.lower.vectors, anew.lower.vectors)
    np.testing.assert_allclose(kept.base_vectors(), kept.lower.vectors, atol=1e-3)
    np.testing.assert_array_equal(kept.lower.vectors, enc.load_encoder(tiny).encode(texts, settings.max_item_tokens))
    together, apart = (one.forward(rows).detach().numpy() for one in (kept, anew))
    np.testing.assert_allclose(together, apart, atol=1e-3)
    np.testing.assert_allclose(kept.encode()[rows], apart, atol=1e-3)


def test_kept_lower_activations_take_no_more_than_they_may(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXTS[item] for item in shop().items]
    monkeypatch.setattr(lower_layers, "CACHE_BYTES", 2_000)
    some = tower_of(texts, tiny, SETTINGS)
    sizes = [hidden.untyped_storage().nbytes() for hidden in some.lower.hidden if hidden is not None]
    assert 0 < len(sizes) < len(texts)
    assert sum(sizes) <= 2_000
    monkeypatch.setattr(lower_layers, "CACHE_BYTES", 2 << 30)
    rows = np.arange(len(texts))
    np.testing.assert_allclose(
        some.forward(rows).detach().numpy(),
        tower_of(texts, tiny, SETTINGS).forward(rows).detach().numpy(),
        atol=1e-3,
    )


def test_the_share_of_a_run_that_is_done_rises_to_one(tiny: Path, tmp_path: Path) -> None:
    world, shares = shop(), list[float]()
    texts = [TEXTS[item] for item in world.items]
    settings = replace(SETTINGS, max_steps=4, refit_steps=2, evaluate_every=4)
    tower.train_tower(texts, world, DAY, tiny, tmp_path / "m", settings=settings, log=str, done=shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 1 + 3 + 4 + 2
    assert shares[-1] == pytest.approx(1)


def test_a_budget_pays_for_steps_by_the_tokens_it_reads_and_never_for_fewer_than_three_passes(tiny: Path) -> None:
    texts = [f"{first} {second}" for first in TEXTS.values() for second in TEXTS.values()]
    lower = LowerLayers(texts, tiny, 1, 32)
    settings = replace(SETTINGS, slice_items=512)
    per_pass = -(-len(texts) // 512)

    def plan(seconds: float, steps: int = 0) -> TowerSettings:
        return tower_budget.planned(settings, lower, shop(), seconds=seconds, steps=steps, learn_steps=9)

    little, much, more = (plan(seconds) for seconds in (1, 100, 200))
    assert (little.max_steps, little.evaluate_every, little.refit_steps) == (
        3 * per_pass,
        3 * per_pass,
        -(-3 * per_pass // 4),
    )
    assert more.max_steps == pytest.approx(2 * much.max_steps, rel=0.05)
    assert much.max_steps % per_pass == 0
    assert -(-much.max_steps // much.evaluate_every) == tower_budget.MOST_CHECKS
    assert much == plan(100), "no clock is read"
    assert (plan(100, steps=4).max_steps, plan(100, steps=4).evaluate_every) == (4, 4)
    assert much.epochs == pytest.approx(9 * 256 / 600)  # 150 users on four days each
    lower.vectors = np.zeros((len(texts), 64 * 32), np.float32)  # of a wider base
    assert plan(200).max_steps < more.max_steps
