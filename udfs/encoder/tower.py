"""The item tower: BERT fine-tuned so that the vector of a product's text is close to those of its buyers.

Two stages, both on days before the cut. First purchases move each item's vector away from its text's
(udfs/encoder/copurchase.py). Then BERT and a linear adapter learn to compute these vectors from the text, while the
same next-purchase loss corrects them; a step takes a slice of the catalogue through BERT, the other items keep their
last vectors. An item is known by its text alone, so one never sold gets a vector too.

The budget is counted in steps: the same seed, data, machine and number of threads give the same weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from udfs.encoder import model_folder, model_reader
from udfs.encoder.copurchase import Examples, Learned, learn_vectors
from udfs.encoder.lower_layers import LowerLayers
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
    lower: LowerLayers | None = None,
    done: Callable[[float], None] = lambda _share: None,
) -> TowerReport:
    """The report of one run; the model folder at `output` holds the weights, adapter and settings of the tower.

    texts: one per interactions.items. The 28 days before `day` first choose the step to stop at, then are
    learned too (refit_steps; 0: no refit). Beside the tower's own adapter lies the one learned over the base's weights,
    frozen, from the same texts and days. checkpoint: a safetensors file, written at every evaluation and removed at the
    end; a run that finds it continues from there, so it must be of the same arguments. lower: the base's layers over
    these texts, if they have been computed. done: called now and then with the share of the work that is done. Raises
    FileExistsError if `output` exists.
    """
    settings = settings or TowerSettings()
    _expect(texts, interactions, output)
    share = _Share(done, settings, len(texts))
    lower = lower or LowerLayers(texts, base, settings.tuned_layers, settings.max_item_tokens)
    share.read()
    training = _Training(lower, interactions, day, base, settings, seed, log, checkpoint, share)
    training.search()
    training.refit()
    training.write(output)
    return training.report()


def continue_tower(
    lower: LowerLayers,
    interactions: Interactions,
    day: int,
    base: Path,
    output: Path,
    *,
    settings: TowerSettings,
    seed: int,
    log: Callable[[str], None],
    done: Callable[[float], None] = lambda _share: None,
) -> None:
    """Write to `output` the tower in `base` after `refit_steps` more on all days before `day`.

    lower: the layers of the base that the tower was trained from, over the texts, one per interactions.items. Of no
    steps, only the linear map over the base's own weights is learned anew. Raises FileExistsError if `output` exists.
    """
    _expect(lower.texts, interactions, output)
    examples, epochs = Examples(interactions, day, settings.pooling), settings.adapter_epochs + settings.epochs
    texts = centred(lower.vectors)
    frozen = texts.adapter(learn_vectors(examples, texts.vectors, epochs=epochs, seed=seed, residuals=False))
    tower = Tower(lower, model_reader.read_model(base)[0], settings, seed)
    tower.set_adapter(frozen)
    if steps := settings.refit_steps:
        maps = learn_maps(centred(tower.base_vectors()), examples, settings, seed, lambda: None, with_frozen=False)
        tower.set_adapter(maps.texts.adapter(maps.linear))
        count = itertools.count(1)
        tuning = TuningSteps(
            tower, tower.encode(), maps.learned, examples, seed, log, lambda: done(next(count) / steps)
        )
        log(f"all days before the cut, {steps} steps: loss {tuning.run(0, steps, steps):.3f}")
    _write(tower, base, output, frozen)


def _expect(texts: Sequence[str], interactions: Interactions, output: Path) -> None:
    if output.exists():
        raise FileExistsError(f"{output} is there already; a model is written once, under a name of its own")
    if len(texts) != len(interactions.items):
        raise ValueError(f"{len(texts)} texts for {len(interactions.items)} items")


def _write(tower: Tower, base: Path, output: Path, frozen: dict[str, Any]) -> None:
    """Write the model folder of a tower as it is now, with the vectors of its texts if it is served in that form."""
    names = model_folder.Settings(output.name, tower.lower.dims, max_item_tokens=tower.settings.max_item_tokens)
    known = None if tower.lower.form == "int8" else dict(zip(tower.texts, tower.encode(), strict=True))
    write_model(tower.plain_model().state_dict(), base, output, names, tower.adapter_tensors(), frozen, known=known)


class _Training:
    """One run of train_tower, stage by stage."""

    def __init__(
        self,
        lower: LowerLayers,
        interactions: Interactions,
        day: int,
        base: Path,
        settings: TowerSettings,
        seed: int,
        log: Callable[[str], None],
        checkpoint: Path | None,
        share: _Share,
    ) -> None:
        """Learn vectors of the items on the days before the 28 that check each step."""
        self.started = time.perf_counter()
        self.interactions, self.day, self.base = interactions, day, base
        self.settings, self.seed, self.log, self.share = settings, seed, log, share
        self.tower = Tower(lower, model_reader.read_model(base)[0], settings, seed)
        cut = day - HORIZON_DAYS
        self.examples = Examples(interactions, cut, settings.pooling)
        checks = Checks(interactions.as_known(day), cut)
        self.maps = learn_maps(centred(lower.vectors), self.examples, settings, seed, share.learned)
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

    def write(self, output: Path) -> None:
        """Write the model folder; without tuning the base's weights, with the map learned over them."""
        frozen = self.maps.texts.adapter(self.maps.frozen)
        if not self.tuned:
            self.tower = Tower(self.tower.lower, model_reader.read_model(self.base)[0], self.settings, self.seed)
            self.scale, self.popularity = self.frozen_scale, self.frozen_popularity
            self.tower.set_adapter(frozen)
        _write(self.tower, self.base, output, frozen)
        self.state.end()

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
