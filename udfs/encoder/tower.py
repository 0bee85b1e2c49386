"""The item tower: BERT fine-tuned so that the vector of a product's text is close to those of its buyers.

Two stages, both on days before the cut. First purchases move each item's vector away from its text's
(udfs/encoder/copurchase.py). Then BERT and a linear adapter learn to compute these vectors from the text, while the
same next-purchase loss corrects them; a step takes a slice of the catalogue through BERT, the other items keep their
last vectors. An item is known by its text alone, so one never sold gets a vector too.

The budget is counted in steps: the same seed, data, machine and number of threads give the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from udfs.encoder import encoder, model_folder, model_reader
from udfs.encoder.copurchase import Examples, Learned, learn_vectors
from udfs.encoder.model_folder import write_model
from udfs.encoder.tower_bert import Tower
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_maps import centred, learn_maps
from udfs.encoder.tower_search import TowerSearch
from udfs.encoder.tower_settings import TowerPoint, TowerReport, TowerSettings
from udfs.encoder.tower_steps import TuningSteps
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Floats, Interactions


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
    safetensors file, written every settings.evaluate_every steps and removed at the end; a run that finds it
    continues from there, so it must be of the same arguments. done: called now and then with the share of the work
    that is done. Raises FileExistsError if `output` exists.
    """
    settings = settings or TowerSettings()
    if output.exists():
        raise FileExistsError(f"{output} is there already; a model is written once, under a name of its own")
    if len(texts) != len(interactions.items):
        raise ValueError(f"{len(texts)} texts for {len(interactions.items)} items")
    share = _Share(done, settings, len(texts))
    training = _Training(texts, interactions, day, base, settings, seed, log, checkpoint, share)
    training.search()
    training.refit()
    training.write(output, untuned)
    return training.report()


class _Training:
    """One run of train_tower, stage by stage."""

    def __init__(
        self,
        texts: Sequence[str],
        interactions: Interactions,
        day: int,
        base: Path,
        settings: TowerSettings,
        seed: int,
        log: Callable[[str], None],
        checkpoint: Path | None,
        share: _Share,
    ) -> None:
        """Read all texts and learn vectors of their items, on the days before the 28 that check each step."""
        self.started = time.perf_counter()
        self.interactions, self.day, self.base = interactions, day, base
        self.settings, self.seed, self.log, self.share = settings, seed, log, share
        self.tower = Tower(texts, base, settings, seed)
        share.read()
        cut = day - HORIZON_DAYS
        self.examples = Examples(interactions, cut, settings.pooling)
        checks = Checks(interactions.as_known(day), cut)
        self.maps = learn_maps(centred(self.tower.base_vectors), self.examples, settings, seed, share.learned)
        self.tower.set_adapter(self.maps.texts.adapter(self.maps.linear))
        self.state = TowerSearch(self.tower, checks, self.maps.learned.scale, log, checkpoint)
        self.ceiling = self.state.point(self.maps.learned.vectors)
        self.frozen, self.frozen_scale, self.frozen_popularity = self._frozen(checks)
        self.tuned, self.step_seconds, self.scale, self.popularity = False, 0.0, 0.0, 0.0

    def _frozen(self, checks: Checks) -> tuple[TowerPoint, float, float]:
        """The evaluation of the map over the frozen weights, its scale, and the popularity that goes best with it."""
        frozen, scale = self.maps.frozen, self.maps.frozen.scale
        alone, blended, popularity = checks.measure(frozen.vectors, self.settings.pooling, scale)
        self.log(f"frozen: NDCG@10 {alone:.4f}, with popularity {blended:.4f}")
        self.log(f"learned: NDCG@10 {self.ceiling.ndcg:.4f}, with popularity {self.ceiling.ndcg_with_popularity:.4f}")
        return TowerPoint(0, float("nan"), alone, blended), scale, popularity

    def _steps(self, vectors: Floats, learned: Learned, seed: int) -> TuningSteps:
        return TuningSteps(self.tower, vectors, learned, self.examples, seed, self.log, self.share.stepped)

    def search(self) -> None:
        """Tune, and go back to the step that was best."""
        state = self.state
        steps = self._steps(state.best_vectors, self.maps.learned, self.seed)
        state.resume(steps)
        state.run(steps)
        self.step_seconds = steps.seconds / max(steps.done, 1)
        best, frozen = state.best, self.frozen.ndcg_with_popularity
        tuned = best.step > 0 and best.ndcg_with_popularity > frozen
        if not tuned:
            self.log(f"tuning is no better than the frozen weights ({best.ndcg_with_popularity:.4f} with popularity)")
        self.tuned = tuned or not self.settings.may_stay_frozen
        self.tower.load(state.best_state)
        self.scale = state.scale
        self.popularity = state.checks.measure(state.best_vectors, self.settings.pooling, self.scale)[2]

    def refit(self) -> None:
        """Learn also the days that have checked each step, if settings.refit_steps is not 0."""
        if not self.settings.refit_steps:
            return
        seed = self.seed + 1
        self.examples = Examples(self.interactions, self.day, self.settings.pooling)
        self.maps = self.maps.refitted(self.examples, self.settings, seed, frozen_only=not self.tuned)
        if self.tuned:
            self.state.refit(self._steps(self.state.best_vectors, self.maps.learned, seed))

    def write(self, output: Path, untuned: Path | None) -> None:
        """Write the model folder; without tuning the base's weights, with the map learned over them."""
        tower, most = self.tower, self.settings.max_item_tokens
        frozen = self.maps.texts.adapter(self.maps.frozen)
        state, adapter, known = tower.plain_model().state_dict(), tower.adapter_tensors(), None
        if not self.tuned:
            state, adapter = model_reader.read_model(self.base)[0].state_dict(), frozen
            self.scale, self.popularity = self.frozen_scale, self.frozen_popularity
            tower.set_adapter(adapter)
            known = dict(zip(tower.texts, tower.mapped(tower.base_vectors), strict=True))  # of these very weights
        if untuned is not None:
            frozen = self._adapter_over(untuned)
        names = model_folder.Settings(output.name, tower.dims, max_item_tokens=most)
        write_model(state, self.base, output, names, adapter, frozen, known=known)
        self.state.end()

    def _adapter_over(self, untuned: Path) -> dict[str, Any]:
        """The adapter learned over these weights, from the texts and days of the tower."""
        vectors = encoder.load_encoder(untuned).encode(self.tower.texts, self.settings.max_item_tokens)
        texts, epochs = centred(vectors), self.settings.adapter_epochs + self.settings.epochs
        return texts.adapter(
            learn_vectors(self.examples, texts.vectors, epochs=epochs, seed=self.seed, residuals=False)
        )

    def report(self) -> TowerReport:
        """The figures of the run so far."""
        return TowerReport(
            steps=self.state.step,
            best_step=self.state.best.step,
            examples=len(self.examples),
            seconds=time.perf_counter() - self.started,
            step_seconds=self.step_seconds,
            frozen=self.frozen,
            learned=self.ceiling,
            best=self.state.best,
            scale=self.scale,
            popularity=self.popularity,
            frozen_scale=self.frozen_scale,
            frozen_popularity=self.frozen_popularity,
            tuned=self.tuned,
            curve=tuple(self.state.curve),
        )


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
