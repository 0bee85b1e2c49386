"""Pooling against plain Python, the loss against arithmetic, and whole runs of a tiny BERT that must learn."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.test_encoder import write_tiny
from udfs.encoder import copurchase, model_folder, model_reader, text_vectors, tower
from udfs.encoder import encoder as enc
from udfs.encoder.copurchase import Examples, Pooling, next_purchase_loss, recent_buyers, user_vectors
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_settings import TowerReport, TowerSettings
from udfs.interactions import Interactions, from_frame

THEMES = ("milk", "beer", "soap", "rice", "salt", "fish")
SECOND = ("red", "blue", "green", "old", "new", "big", "small", "round")
TEXTS = {f"i{n:02d}": f"{SECOND[n % 8]} {THEMES[n // 8]}" for n in range(48)}
DAY = 20_000
SETTINGS = TowerSettings(
    max_steps=24,
    refit_steps=4,
    slice_items=32,
    batch_size=64,
    learning_rate=1e-3,
    tuned_layers=2,
    distil=10.0,
    adapter_epochs=4,
    epochs=8,
    evaluate_every=12,
    patience=9,
    may_stay_frozen=False,
)
pytestmark = pytest.mark.usefixtures("float32_products")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random BERT, 2 layers x 32 wide, with the real tokenizer, as a base folder."""
    folder = tmp_path_factory.mktemp("base")
    write_tiny(folder, positions=64)
    return folder


def shop() -> Interactions:
    """A world with a rule: each customer buys, again and again, products whose texts share one word."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(150):
        for visit in range(4):
            day = DAY - 120 + 30 * visit + int(draw.integers(0, 25))
            items = 8 * (user % len(THEMES)) + draw.choice(8, 2, replace=False)
            rows += [(f"u{user:03d}", f"i{item:02d}", day, f"b{user}-{visit}", 1) for item in items]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_date", "basket_id", "quantity"])
    frame["event_date"] = pd.to_datetime([row[2] for row in rows], unit="D")
    return from_frame(frame)


def run(base: Path, output: Path, **changes: object) -> tuple[TowerReport, list[str]]:
    lines: list[str] = []
    known = {name: changes.pop(name) for name in ("seed", "checkpoint") if name in changes}
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    world = shop()
    texts = [TEXTS[item] for item in world.items]
    report = tower.train_tower(texts, world, DAY, base, output, settings=settings, log=lines.append, **known)  # type: ignore[arg-type]
    return report, lines


def test_a_customers_vector_is_the_decayed_mean_of_what_was_bought() -> None:
    world, draw = shop(), np.random.default_rng(1)
    vectors = draw.normal(size=(len(world.items), 5)).astype(np.float32)
    found = user_vectors(world, vectors, DAY - 40, Pooling(half_life_days=30.0, count_power=0.5))
    for user in (0, 7):
        weights: dict[int, float] = {}
        bought = {(world.item[at], world.day[at]) for at in np.flatnonzero(world.user == user)}
        for item, day in bought:
            if day < DAY - 40:
                weights[item] = weights.get(item, 0.0) + 0.5 ** ((DAY - 40 - day) / 30)
        pooled = [sum(w**0.5 * float(vectors[i, d]) for i, w in weights.items()) for d in range(5)]
        length = math.sqrt(sum(x * x for x in pooled))
        np.testing.assert_allclose(found[user], [x / length for x in pooled], atol=1e-6)


def test_a_customers_vector_depends_on_own_purchases_alone_and_is_zero_without_any() -> None:
    world = shop()
    vectors = np.random.default_rng(1).normal(size=(len(world.items), 5)).astype(np.float32)
    together, alone = (user_vectors(part, vectors, DAY) for part in (world, world.part(world.user == 3)))
    np.testing.assert_array_equal(together[3], alone[3])
    assert not alone[4].any()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_batch_asks_for_the_next_four_weeks_and_shows_the_days_before() -> None:
    world = shop()
    examples = Examples(world, DAY, Pooling())
    batch = examples.batch(np.array([1]), np.random.default_rng(1))  # the first user's second visit; nothing hidden
    days = np.unique(world.day[world.user == 0])
    own = [set(world.item[(world.user == 0) & (world.day == day)]) for day in days]
    assert set(batch.item) == own[0]
    near = [items for items, day in zip(own, days, strict=True) if days[1] <= day < days[1] + 28]
    assert set(batch.columns[batch.target]) == set().union(*near)


def test_the_loss_equals_plain_arithmetic() -> None:
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(6, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prior = draw.normal(size=(2, 6)).astype(np.float32)
    batch = copurchase.Batch(
        customer=np.array([0, 0, 1]),
        item=np.array([2, 3, 5]),
        weight=np.array([1.0, 0.5, 2.0], np.float32),
        target_customer=np.array([0, 0, 1]),
        target=np.array([0, 4, 1]),
        columns=np.arange(6),
        prior=prior,
        correction=np.zeros(6, np.float32),
        size=2,
    )
    total = 0.0
    for customer, inputs, targets in ((0, {2: 1.0, 3: 0.5}, (0, 4)), (1, {5: 2.0}, (1,))):
        pooled = sum(weight * vectors[item] for item, weight in inputs.items())
        logits = 7 * vectors @ (pooled / np.linalg.norm(pooled)) + 0.5 * prior[customer]
        losses = [math.log(np.exp(logits).sum()) - logits[target] for target in targets]
        total += sum(losses) / math.sqrt(len(targets))
    loss = next_purchase_loss(batch, torch.tensor(vectors, dtype=torch.float32), torch.tensor(7.0), torch.tensor(0.5))
    assert float(loss) == pytest.approx(total / (math.sqrt(2) + 1), rel=1e-5)


def test_a_large_catalogue_is_drawn_and_stands_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copurchase, "LARGEST_CATALOGUE", 20)
    examples = Examples(shop(), DAY, Pooling())
    batch = examples.batch(np.arange(4), np.random.default_rng(1))
    assert len(batch.columns) == len(np.unique(batch.columns)) == 20
    assert np.exp(batch.correction).sum() == pytest.approx(48)
    assert (batch.correction[batch.target] == 0).all()


def test_recent_buyers_counts_each_known_customer_once() -> None:
    world = shop()
    for item in (0, 9):
        buyers = {world.user[at] for at in np.flatnonzero((world.item == item) & (world.day >= DAY - 30))}
        assert recent_buyers(world, DAY, 30)[item] == pytest.approx(math.log(1 + len(buyers)))


def test_training_finds_the_rule_and_writes_a_folder_that_loads(tiny: Path, tmp_path: Path) -> None:
    report, lines = run(tiny, tmp_path / "model", refit_steps=0)
    world = shop()
    texts = [TEXTS[item] for item in world.items]
    checks = Checks(world, DAY - 28)
    zero_shot = checks.measure(enc.load_encoder(tiny).encode(texts, 32), Pooling(), 10.0)
    served = checks.measure(enc.load_encoder(tmp_path / "model").encode(texts, 32), Pooling(), report.scale)
    assert report.best.ndcg > zero_shot[0] + 0.1
    # The folder alone gives the reported figures back: the best step's weights, in serving precision.
    assert (served[0], served[1]) == (report.best.ndcg, report.best.ndcg_with_popularity)
    assert lines[0].startswith("frozen: NDCG@10 ")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "adapter.safetensors",
        "config.json",
        "encoder.json",
        "frozen_adapter.safetensors",
        "manifest.json",
        "model.safetensors",
        "text_keys.npy",
        "text_vectors.npy",
        "tokenizer.json",
    ]


def frozen_vectors(folder: Path, base: Path) -> np.ndarray:
    """The shop's texts as the base reads them, through the frozen adapter of a model folder."""
    adapter = model_reader.read_adapter(folder, model_folder.FROZEN_ADAPTER)
    assert adapter is not None
    return adapter(enc.load_encoder(base).encode([TEXTS[item] for item in shop().items], 32))


def test_the_frozen_adapter_gives_the_figures_of_the_frozen_map_back(tiny: Path, tmp_path: Path) -> None:
    report, _ = run(tiny, tmp_path / "model", refit_steps=0, max_steps=2)
    found = Checks(shop(), DAY - 28).measure(frozen_vectors(tmp_path / "model", tiny), Pooling(), report.frozen_scale)
    expected = (report.frozen.ndcg, report.frozen.ndcg_with_popularity, report.frozen_popularity)
    assert found == pytest.approx(expected, abs=1e-3)  # the adapter maps in float64


@pytest.mark.parametrize("steps", [0, 3])
def test_a_tower_that_goes_on_learns_all_days_and_its_frozen_adapter_too(
    steps: int, tiny: Path, tmp_path: Path
) -> None:
    world = shop()
    texts = [TEXTS[item] for item in world.items]
    settings = replace(SETTINGS, max_steps=2, evaluate_every=2, refit_steps=steps, tuned_layers=1)
    lower = LowerLayers(texts, tiny, 1, settings.max_item_tokens)
    tower.train_tower(texts, world, DAY - 28, tiny, tmp_path / "first", settings=settings, log=print, lower=lower)
    shares, second = list[float](), tmp_path / "second"
    tower.continue_tower(
        lower, world, DAY, tmp_path / "first", second, settings=settings, seed=8, log=print, done=shares.append
    )
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert bool(moved) == bool(steps)
    assert all(name.startswith("encoder.layer.1.") for name in moved), "what is below the tuned layer is the base's"
    assert shares == [n / steps for n in range(1, steps + 1)]
    base = enc.load_encoder(tiny).encode(texts, 32)
    centred = base - base.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    epochs = SETTINGS.adapter_epochs + SETTINGS.epochs
    expected = copurchase.learn_vectors(
        Examples(world, DAY, Pooling()), centred, epochs=epochs, seed=8, residuals=False
    )
    np.testing.assert_allclose(frozen_vectors(second, tiny), expected.vectors, atol=1e-5)
    stored = text_vectors.read(str(second))
    assert stored is not None
    np.testing.assert_allclose(stored.find(texts)[1], enc.load_encoder(second).encode(texts, 32), atol=1e-3)
    with pytest.raises(FileExistsError, match="is there already"):
        tower.continue_tower(lower, world, DAY, tmp_path / "first", second, settings=settings, seed=8, log=print)


def test_a_tower_does_not_go_on_over_the_lower_layers_of_another_base(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_tiny(other, positions=64, seed=5)
    lower = LowerLayers(list(TEXTS.values()), tiny, 1, 32)
    with pytest.raises(ValueError, match="lower 1 layers are not those of"):
        tower.continue_tower(lower, shop(), DAY, other, tmp_path / "second", settings=SETTINGS, seed=8, log=print)


@pytest.mark.parametrize("refit_steps", [0, 2])
def test_where_tuning_is_no_better_the_weights_stay_as_they_were(refit_steps: int, tiny: Path, tmp_path: Path) -> None:
    # One step at a rate that destroys what the weights knew.
    changes = {"max_steps": 1, "evaluate_every": 1, "learning_rate": 1.0, "refit_steps": refit_steps}
    report, lines = run(tiny, tmp_path / "model", may_stay_frozen=True, **changes)
    assert not report.tuned
    assert "no better than the frozen weights" in lines[-1]
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, tmp_path / "model"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (report.scale, report.popularity) == (report.frozen_scale, report.frozen_popularity)
    served, frozen = (load_file(tmp_path / "model" / f"{name}.safetensors") for name in ("adapter", "frozen_adapter"))
    assert torch.equal(served["weight"], frozen["weight"])
    if not refit_steps:  # the folder gives the reported figures back
        vectors = enc.load_encoder(tmp_path / "model").encode([TEXTS[item] for item in shop().items], 32)
        found = Checks(shop(), DAY - 28).measure(vectors, Pooling(), report.scale)
        assert found[:2] == pytest.approx((report.frozen.ndcg, report.frozen.ndcg_with_popularity), abs=1e-3)
    kept, _ = run(tiny, tmp_path / "kept", **changes)
    assert kept.tuned
    texts = [TEXTS[item] for item in shop().items]  # their vectors lie in the folder, as its weights give them
    for name in ("model", "kept"):
        stored = text_vectors.read(str(tmp_path / name))
        assert stored is not None
        known, vectors = stored.find(texts)
        assert known.all()
        np.testing.assert_allclose(vectors, enc.load_encoder(tmp_path / name).encode(texts, 32), atol=1e-3)
    moved = load_file(tmp_path / "kept" / "model.safetensors")
    # The best step is the one before any: what moves the weights is the refit.
    assert all(torch.equal(before[name], moved[name]) for name in before) == (not refit_steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "qlora"}, "method is 'qlora'; it must be one of full, lora"), ({"lora_rank": 0}, "at least 1")],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


def test_what_cannot_be_trained_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        run(tiny, tmp_path)
    with pytest.raises(ValueError, match="1 texts for 48 items"):
        tower.train_tower(["milk"], shop(), DAY, tiny, tmp_path / "model", log=print)
    with pytest.raises(ValueError, match="no purchase of a known user before day 0"):
        Examples(shop(), 0, Pooling())


def test_an_adapter_is_part_of_the_folder_and_of_every_vector(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    weight, bias = torch.randn(8, 32, generator=torch.Generator().manual_seed(1)), torch.ones(8)
    save_file({"weight": weight, "bias": bias}, folder / "adapter.safetensors")
    texts = ["milk", "", "old red soap", "fish and rice"]
    plain, adapted = (enc.load_encoder(at, dtype="bfloat16").encode(texts, 16) for at in (tiny, folder))
    expected = torch.nn.functional.normalize(torch.from_numpy(plain) @ weight.T + bias, dim=-1)
    np.testing.assert_allclose(adapted, expected.numpy(), atol=1e-6)
    alone = np.concatenate([enc.load_encoder(folder, dtype="bfloat16").encode([text], 16) for text in texts])
    np.testing.assert_array_equal(adapted, alone)


def test_an_adapter_that_does_not_fit_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    save_file({"weight": torch.zeros(8, 31), "bias": torch.zeros(8)}, folder / "adapter.safetensors")
    with pytest.raises(model_folder.ModelError, match=r"weight \(8, 31\); \(8, 32\) expected"):
        enc.load_encoder(folder)
    save_file({"weight": torch.zeros(8, 32)}, folder / "adapter.safetensors")
    with pytest.raises(model_folder.ModelError, match="with weight and bias expected"):
        enc.load_encoder(folder)
