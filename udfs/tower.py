"""One result is one item tower: BERT fine-tuned so that a product's text alone lies where its buyers would look for it.

Two stages, both on days before the cut. First purchases move each item's vector away from its text's
(udfs/copurchase.py). Then BERT and a linear adapter learn to write these vectors from the text, while the same
next-purchase loss corrects them; a step takes a slice of the catalogue through BERT, the other items keep their
last vectors. Nothing else knows an item than its text, so one never sold gets a vector too.

The budget is counted in steps: the same seed, data, machine and number of threads give the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from udfs import checkpoint as checkpoints
from udfs import encoder, lora, metrics
from udfs.copurchase import (
    Examples,
    Learned,
    Pooling,
    example_rows,
    learn_vectors,
    next_purchase_loss,
    recent_buyers,
    user_vectors,
)
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Floats, Interactions
from udfs.model_folder import write_model
from udfs.topk import best_columns

Method = Literal["full", "lora"]

POPULARITY_WEIGHTS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
TRUST_PURCHASES = 5.0  # an item's learned vector is believed n / (n + this)
MAX_GRADIENT_NORM = 1.0
CACHE_BYTES = 2 << 30  # of what the frozen layers give


@dataclass(frozen=True)
class TowerSettings:
    """How a tower is trained; the pooling also serves."""

    max_steps: int = 240
    refit_steps: int = 120
    slice_items: int = 512
    batch_size: int = 256
    learning_rate: float = 4e-4
    adapter_rate: float = 2e-3
    warmup_share: float = 0.1
    frozen_layers: int = 2  # these and the embeddings stay the base's; their output is computed once
    distil: float = 10.0  # weight of (1 - cosine) to the learned vectors against the next-purchase loss
    adapter_epochs: float = 3.0
    epochs: float = 4.0
    refit_epochs: float = 2.0
    evaluate_every: int = 40
    patience: int = 2
    may_stay_frozen: bool = True  # whether a map over the weights as they were is written where tuning is no better
    max_item_tokens: int = 32
    method: Method = "full"  # what of the layers above the frozen ones learns: all, or low-rank matrices beside them
    lora_rank: int = 8
    lora_rate: float = 5e-3
    pooling: Pooling = field(default_factory=Pooling)

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(get_args(Method))}")
        if self.lora_rank < 1:
            raise ValueError(f"lora_rank is {self.lora_rank}; it must be at least 1")

    @property
    def top_rate(self) -> float:
        """The learning rate of what learns within BERT."""
        return self.lora_rate if self.method == "lora" else self.learning_rate


@dataclass(frozen=True)
class TowerPoint:
    """One evaluation: after which step, the mean loss since the last, NDCG@10 of items new to their users."""

    step: int
    loss: float
    ndcg: float
    ndcg_with_popularity: float


@dataclass(frozen=True)
class TowerReport:
    """One training run; `frozen` is an adapter alone over the base's weights, `learned` the vectors BERT imitates.

    Both had the same passes over the same examples. tuned: whether the steps were worth more than `frozen`, and so are
    what was written. Serve scale x cosine + popularity x recent_buyers; frozen_scale and frozen_popularity are what
    goes best with `frozen`.
    """

    steps: int
    best_step: int
    examples: int
    seconds: float
    step_seconds: float  # a step's mean before the refit; 0 where a resumed run had none left
    frozen: TowerPoint
    learned: TowerPoint
    best: TowerPoint
    scale: float
    popularity: float
    frozen_scale: float
    frozen_popularity: float
    tuned: bool
    curve: tuple[TowerPoint, ...]

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> TowerReport:
        """What asdict() made of a report, as a report."""
        points = {name: TowerPoint(**told[name]) for name in ("frozen", "learned", "best")}
        return cls(**{**told, **points, "curve": tuple(TowerPoint(**row) for row in told["curve"])})


def train_tower(
    texts: Sequence[str],
    interactions: Interactions,
    day: int,
    base: Path,
    output: Path,
    *,
    settings: TowerSettings | None = None,
    seed: int = 7,
    log: Callable[[str], None],
    checkpoint: Path | None = None,
    untuned: Path | None = None,
    done: Callable[[float], None] = lambda _share: None,
) -> TowerReport:
    """The report of one run; the model folder at `output` holds the weights, adapter and settings of the tower.

    texts: one per interactions.items. The 28 days before `day` first choose the step to stop at, then are
    learned too (refit_steps; 0: no refit). Beside the tower's own adapter lies the one learned over the weights of
    `untuned` (default: `base`, which may be tuned already), frozen, from the same texts and days. checkpoint: a
    safetensors file, written every settings.evaluate_every steps and gone at the end; a run that finds it goes on
    from there, so it must be of the same arguments. done: called now and then with the share of the work that is
    done. Raises FileExistsError if `output` is there already.
    """
    settings = settings or TowerSettings()
    started = time.perf_counter()
    if output.exists():
        raise FileExistsError(f"{output} is there already; a model is written once, under a name of its own")
    if len(texts) != len(interactions.items):
        raise ValueError(f"{len(texts)} texts for {len(interactions.items)} items")
    share = _Share(done, settings, len(texts))
    tower = _Tower(texts, base, settings, seed)
    share.read()
    zero_shot, centre = _centred(tower.base_vectors)
    cut = day - HORIZON_DAYS
    examples = Examples(interactions, cut, settings.pooling)
    checks = Checks(interactions.before(day), cut)
    linear = learn_vectors(examples, zero_shot, epochs=settings.adapter_epochs, seed=seed, residuals=False)
    share.learned()
    tower.set_adapter(_after_centring(linear, centre))
    frozen_map = learn_vectors(examples, zero_shot, epochs=settings.epochs, seed=seed, start=linear, residuals=False)
    share.learned()
    learned = learn_vectors(examples, zero_shot, epochs=settings.epochs, seed=seed, start=linear)
    share.learned()

    def point(vectors: Floats, step: int, loss: float = float("nan")) -> TowerPoint:
        alone, blended, _ = checks.measure(vectors, settings.pooling, learned.scale)
        return TowerPoint(step, loss, alone, blended)

    vectors, frozen_scale = tower.mapped(tower.base_vectors), frozen_map.scale
    alone, blended, frozen_popularity = checks.measure(frozen_map.vectors, settings.pooling, frozen_scale)
    frozen, ceiling = TowerPoint(0, float("nan"), alone, blended), point(learned.vectors, 0)
    run = _Run(tower, vectors, learned, examples, seed, log, share.stepped)
    log(f"frozen: NDCG@10 {frozen.ndcg:.4f}, with popularity {frozen.ndcg_with_popularity:.4f}")
    log(f"learned: NDCG@10 {ceiling.ndcg:.4f}, with popularity {ceiling.ndcg_with_popularity:.4f}")
    best = point(vectors, 0)
    best_state, best_vectors, curve, stale, step = tower.state(), vectors, [best], 0, 0
    saved, refitted = checkpoints.read(checkpoint), 0
    if saved is not None:
        curve = [TowerPoint(**row) for row in saved.note["curve"]]
        best, stale, step = TowerPoint(**saved.note["best"]), saved.note["stale"], curve[-1].step
        best_state, refitted = saved.part("best"), saved.note["refitted"]
        log(f"resumed after step {step}" + (f" and {refitted} of the refit" if refitted else ""))
        if best.step:
            tower.load(best_state)
            best_vectors = tower.encode()
        if not refitted:
            run.restore(saved)

    def save() -> None:
        points = {"curve": [asdict(row) for row in curve], "best": asdict(best)}
        tensors = run.tensors() | {f"best.{name}": value for name, value in best_state.items()}
        checkpoints.write(checkpoint, tensors, points | {"stale": stale, "refitted": refitted})

    while step < settings.max_steps and stale < settings.patience:
        stop = min(step + settings.evaluate_every, settings.max_steps)
        loss = run.steps(step, stop, settings.max_steps)
        step = stop
        vectors = tower.encode()
        curve.append(point(vectors, step, loss))
        log(f"step {step}: loss {loss:.3f}, NDCG@10 {curve[-1].ndcg:.4f}, {curve[-1].ndcg_with_popularity:.4f}")
        stale += 1
        if curve[-1].ndcg_with_popularity > best.ndcg_with_popularity:
            best, best_state, best_vectors, stale = curve[-1], tower.state(), vectors, 0
        save()
    step_seconds = run.seconds / max(run.done, 1)
    tuned = best.step > 0 and best.ndcg_with_popularity > frozen.ndcg_with_popularity
    if not tuned:
        log(f"tuning is no better than the frozen weights ({best.ndcg_with_popularity:.4f} with popularity)")
    tuned = tuned or not settings.may_stay_frozen
    tower.load(best_state)
    vectors = best_vectors
    scale, popularity = learned.scale, checks.measure(vectors, settings.pooling, learned.scale)[2]
    if settings.refit_steps:
        examples = Examples(interactions, day, settings.pooling)
        frozen_map = learn_vectors(
            examples, zero_shot, epochs=settings.refit_epochs, seed=seed + 1, start=frozen_map, residuals=False
        )
    if settings.refit_steps and tuned:
        again = learn_vectors(examples, zero_shot, epochs=settings.refit_epochs, seed=seed + 1, start=learned)
        run = _Run(tower, vectors, again, examples, seed + 1, log, share.stepped)
        if saved is not None and refitted:
            run.restore(saved)
        while refitted < settings.refit_steps:
            stop = min(refitted + settings.evaluate_every, settings.refit_steps)
            loss = run.steps(refitted, stop, settings.refit_steps)
            refitted = stop
            log(f"refit on all days before the cut, step {refitted}: loss {loss:.3f}")
            save()
    state, adapter, known = tower.plain_model().state_dict(), tower.adapter_tensors(), None
    if not tuned:
        state, adapter = encoder.read_model(base)[0].state_dict(), _after_centring(frozen_map, centre)
        scale, popularity = frozen_scale, frozen_popularity
        tower.set_adapter(adapter)
        known = dict(zip(tower.texts, tower.mapped(tower.base_vectors), strict=True))  # read with these very weights
    if untuned is not None:
        zero_shot, centre = _centred(encoder.load_encoder(untuned).encode(tower.texts, settings.max_item_tokens))
        epochs = settings.adapter_epochs + settings.epochs
        frozen_map = learn_vectors(examples, zero_shot, epochs=epochs, seed=seed, residuals=False)
    names = encoder.Settings(output.name, tower.dims, max_item_tokens=settings.max_item_tokens)
    write_model(state, base, output, names, adapter, _after_centring(frozen_map, centre), known=known)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    return TowerReport(
        steps=step,
        best_step=best.step,
        examples=len(examples),
        seconds=seconds,
        step_seconds=step_seconds,
        frozen=frozen,
        learned=ceiling,
        best=best,
        scale=scale,
        popularity=popularity,
        frozen_scale=frozen_scale,
        frozen_popularity=frozen_popularity,
        tuned=tuned,
        curve=tuple(curve),
    )


def _centred(vectors: Floats) -> tuple[Floats, Floats]:
    """The vectors less their mean, unit rows [items, dims], and the mean [dims]."""
    centre = vectors.mean(axis=0)
    centred = vectors - centre
    lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return np.asarray(centred / lengths, np.float32), centre


def _after_centring(learned: Learned, centre: Floats) -> dict[str, Any]:
    """The map of centred vectors as an adapter's tensors: the bias takes the mean off."""
    import torch

    return {"weight": torch.from_numpy(learned.weight), "bias": torch.from_numpy(-learned.weight @ centre)}


class _Tower:
    """BERT whose lower layers' output is kept, its adapter, and the catalogue's texts."""

    def __init__(self, texts: Sequence[str], base: Path, settings: TowerSettings, seed: int) -> None:
        import torch

        self.model, self.tokenizer, found = encoder.read_model(base)
        self.settings, self.dims, self.texts = settings, found.dims, list(texts)
        self.ids = encoder.token_ids(self.tokenizer, self.texts, settings.max_item_tokens)
        self.adapter = torch.nn.Linear(self.dims, self.dims)
        self.top = self.model.encoder.layer[settings.frozen_layers :]
        self.with_lora: Any = None
        if settings.method == "lora":
            self.with_lora = lora.with_lora(self.model, settings.frozen_layers, settings.lora_rank, seed)
        precision = encoder.serving_dtype(torch.device("cpu"), "auto")
        self._autocast: dict[str, Any] = {
            "device_type": "cpu",
            "dtype": precision,
            "enabled": precision is torch.bfloat16,
        }
        self.hidden: list[torch.Tensor | None] = [None] * len(self.ids)
        self.base_vectors = self._read_base()

    def _read_base(self) -> Floats:
        """The texts' vectors without the adapter, unit rows [items, dims].

        On the way it keeps the frozen layers' output in half precision, of as many texts as CACHE_BYTES hold; of the
        others it is computed each time.
        """
        import torch

        plain = encoder.Encoder(self.plain_model(), self.tokenizer, encoder.Settings("tower", self.dims))
        kept: list[torch.Tensor] = []
        frozen = self.settings.frozen_layers
        last = plain.model.encoder.layer[frozen - 1] if frozen else plain.model.embeddings
        last.register_forward_hook(lambda _module, _given, hidden: kept.append(hidden))
        vectors, room = np.empty((len(self.ids), plain.model.config.hidden_size), np.float32), CACHE_BYTES
        with torch.inference_mode():
            for rows in encoder.equal_length_batches(self.ids, encoder.TOKENS_PER_BATCH["cpu"]):
                vectors[rows] = plain.read_batch([self.ids[row] for row in rows]).numpy()
                for row, hidden in zip(rows, kept.pop().to(torch.float16), strict=False):  # copies fill small batches
                    room -= 2 * hidden.numel()
                    if room >= 0:
                        self.hidden[row] = hidden.clone()
        return vectors

    def _lower(self, rows: Sequence[int]) -> Any:
        """What the frozen layers give of texts of one length, float32 [rows, tokens, hidden size]."""
        import torch

        kept = [hidden for row in rows if (hidden := self.hidden[row]) is not None]
        if len(kept) == len(rows):
            return torch.stack(kept).float()
        with torch.no_grad(), torch.autocast(**self._autocast):
            hidden = self.model.embeddings(input_ids=torch.tensor([self.ids[row] for row in rows]))
            for layer in self.model.encoder.layer[: self.settings.frozen_layers]:
                hidden = layer(hidden)
        return hidden.float()

    def plain_model(self) -> Any:
        """A copy of the BertModel as it is served, with what has been learned in its weights."""
        return lora.merged(self.with_lora) if self.with_lora else deepcopy(self.model)

    def set_adapter(self, tensors: dict[str, Any]) -> None:
        """Start from this map."""
        self.adapter.load_state_dict(tensors)

    def adapter_tensors(self) -> dict[str, Any]:
        """As the model folder holds them."""
        return {name: tensor.detach() for name, tensor in self.adapter.state_dict().items()}

    def mapped(self, vectors: Floats) -> Floats:
        """These vectors through the adapter as it is now, unit rows [items, dims]."""
        tensors = self.adapter_tensors()
        return encoder.Adapter(**{name: tensor.numpy().copy() for name, tensor in tensors.items()})(vectors)

    def encode(self) -> Floats:
        """Every item's vector as the weights are now, unit rows [items, dims]."""
        import torch

        with torch.inference_mode():
            return self.mapped(self._pooled(np.arange(len(self.ids))).numpy())

    def forward(self, rows: npt.NDArray[np.int64]) -> Any:
        """The vectors of these items, unit rows, with gradients."""
        import torch

        return torch.nn.functional.normalize(self.adapter(self._pooled(rows)), dim=-1)

    def _pooled(self, rows: npt.NDArray[np.int64]) -> Any:
        """The vectors of these items without the adapter, unit rows."""
        import torch

        parts, order = [], []
        for places in encoder.equal_length_batches([self.ids[row] for row in rows], encoder.TOKENS_PER_BATCH["cpu"]):
            hidden = self._lower(rows[places].tolist())
            with torch.autocast(**self._autocast):
                for layer in self.top:
                    hidden = layer(hidden)
            parts.append(hidden.float().mean(dim=1))
            order.append(places)
        pooled = torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order)))]
        return torch.nn.functional.normalize(pooled, dim=-1)

    def trained(self) -> dict[str, Any]:
        """The parameters that learn, by name."""
        named = {f"top.{name}": value for name, value in self.top.named_parameters() if value.requires_grad}
        return named | {f"adapter.{name}": value for name, value in self.adapter.named_parameters()}

    def state(self) -> dict[str, Any]:
        """A copy of what has been learned."""
        return {name: value.detach().clone() for name, value in self.trained().items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go back to a copy."""
        import torch

        with torch.no_grad():
            for name, value in self.trained().items():
                value.copy_(state[name])


class _Run:
    """One optimiser over one window of days; step n draws the same whether the run was interrupted or not."""

    def __init__(
        self,
        tower: _Tower,
        vectors: Floats,
        learned: Learned,
        examples: Examples,
        seed: int,
        log: Callable[[str], None],
        stepped: Callable[[], None],
    ) -> None:
        import torch

        self.tower, self.examples, self.seed, self.log, self.stepped = tower, examples, seed, log, stepped
        self.target = torch.from_numpy(learned.vectors)
        self.trust = torch.from_numpy((examples.bought / (examples.bought + TRUST_PURCHASES)).astype(np.float32))
        self.log_scale = torch.tensor(float(np.log(learned.scale)), requires_grad=True)
        self.popularity = torch.tensor(learned.popularity, requires_grad=True)
        self.sold = np.flatnonzero(examples.bought)
        self.table = torch.from_numpy(vectors.copy())
        knobs, trained = tower.settings, tower.trained()
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [trained[n] for n in trained if n.startswith("top.")], "lr": knobs.top_rate},
                {"params": [trained[n] for n in trained if n.startswith("adapter.")], "lr": knobs.adapter_rate},
                {"params": [self.log_scale, self.popularity], "lr": 0.01},
            ],
            weight_decay=0.01,
        )
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.done, self.seconds = 0, 0.0

    def steps(self, first: int, stop: int, total: int) -> float:
        """Steps first + 1 to stop of total; their mean loss."""
        import torch

        knobs, losses, started = self.tower.settings, [], time.perf_counter()
        warmup = max(1, round(knobs.warmup_share * total))
        examples = example_rows(len(self.examples), knobs.batch_size, self.seed, stop, first)
        slices = example_rows(len(self.sold), knobs.slice_items, self.seed + 101, stop, first)
        for step, users, items in zip(range(first, stop), examples, slices, strict=True):
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * min((step + 1) / warmup, (total - step) / max(1, total - warmup))
            rows = self.sold[items]
            place = torch.from_numpy(rows)
            vectors = self.tower.forward(rows)
            batch = self.examples.batch(users, np.random.default_rng((self.seed, step)))
            table = self.table.index_copy(0, place, vectors)
            near = (self.trust[place] * (1 - (vectors * self.target[place]).sum(dim=1))).mean()
            loss = knobs.distil * near + next_purchase_loss(batch, table, self.log_scale.exp(), self.popularity)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.tower.trained().values(), MAX_GRADIENT_NORM)
            self.optimizer.step()
            self.table[place] = vectors.detach()
            losses.append(loss.item())
            self.stepped()
            if not np.isfinite(losses[-1]):
                raise ArithmeticError(
                    f"loss {losses[-1]} at step {step + 1}: set a lower learning rate than {knobs.top_rate}"
                )
            if (step + 1) % 10 == 0:
                rate = (time.perf_counter() - started) / (step + 1 - first)
                self.log(
                    f"step {step + 1}/{total}: loss {losses[-1]:.3f}, distance {near.item():.3f}, {rate:.1f} s/step"
                )
        self.done, self.seconds = self.done + stop - first, self.seconds + time.perf_counter() - started
        return float(np.mean(losses))

    def tensors(self) -> dict[str, Any]:
        """What a resumed run needs, by name."""
        found = {f"now.{name}": value.detach().clone() for name, value in self._learning().items()}
        found["table"] = self.table
        for name, value in self._learning().items():
            for key, moment in self.optimizer.state[value].items():
                found[f"{key}/{name}"] = moment
        return found

    def _learning(self) -> dict[str, Any]:
        return self.tower.trained() | {"log_scale": self.log_scale, "popularity": self.popularity}

    def restore(self, saved: checkpoints.Saved) -> None:
        """Go on from a checkpoint."""
        import torch

        self.table = saved.tensors["table"]
        for name, value in self._learning().items():
            with torch.no_grad():
                value.copy_(saved.tensors[f"now.{name}"])
            self.optimizer.state[value] = {
                key: saved.tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }


class _Share:
    """The share of a run's work that is done, in units of one tuning step; a refit of vectors is not counted."""

    TEXTS_READ, VECTORS_LEARNED = 700, 4.0  # texts that BERT reads, and learned vectors of 120 steps, in those units

    def __init__(self, done: Callable[[float], None], settings: TowerSettings, texts: int) -> None:
        self._done, self._units, self._texts = done, 0.0, texts
        steps = settings.max_steps + settings.refit_steps
        self._total = max(steps + texts / self.TEXTS_READ + 3 * self.VECTORS_LEARNED, 1)

    def read(self) -> None:
        """All texts have been read."""
        self._add(self._texts / self.TEXTS_READ)

    def learned(self) -> None:
        """One set of vectors has been learned."""
        self._add(self.VECTORS_LEARNED)

    def stepped(self) -> None:
        """One tuning step."""
        self._add(1)

    def _add(self, units: float) -> None:
        self._units += units
        self._done(self._units / self._total)


class Checks:
    """What known users bought in the 28 days after a cut, of items new to them: the measure of every step."""

    def __init__(self, interactions: Interactions, cut: int) -> None:
        """Users with a purchase before the cut and a new item after it."""
        self.cut, self.history = cut, interactions.before(cut)
        users, truths = metrics.truths(interactions, cut)
        truth = truths[metrics.TASK_NEW]
        some = np.flatnonzero(truth.getnnz(axis=1))
        self.users, self.truth = users[some], truth[some]
        self.owned = self.history.matrix()[self.users]
        self.recent = recent_buyers(self.history, cut)
        self.offered = np.bincount(self.history.item, minlength=len(interactions.items)) > 0

    def measure(self, vectors: Floats, pooling: Pooling, scale: float) -> tuple[float, float, float]:
        """Mean NDCG@10 of the vectors alone, and blended with the best of POPULARITY_WEIGHTS, and that weight."""
        users = user_vectors(self.history, vectors, self.cut, pooling)[self.users]
        scores = np.float32(scale) * (users @ vectors.T)
        scores[:, ~self.offered] = -np.inf
        scores[self.owned.nonzero()] = -np.inf
        blends = [(self._ndcg(scores + weight * self.recent), weight) for weight in POPULARITY_WEIGHTS]
        best, weight = max(blends)
        return self._ndcg(scores), best, weight

    def _ndcg(self, scores: Floats) -> float:
        if not len(scores):
            return 0.0
        return float(np.mean(metrics.ranking(best_columns(scores, 10), self.truth, 10)["ndcg"]))
