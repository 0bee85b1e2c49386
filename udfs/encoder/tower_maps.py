"""Maps learned from purchases: linear maps of an untuned BERT's text vectors, and free vectors of items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from udfs.encoder.copurchase import Examples, Learned, learn_vectors
from udfs.encoder.tower_settings import TowerSettings
from udfs.interactions import Floats


@dataclass(frozen=True)
class Texts:
    """Vectors of texts less their mean: unit rows [items, dims], and the mean [dims]."""

    vectors: Floats
    centre: Floats

    def adapter(self, learned: Learned) -> dict[str, Any]:
        """The map of the centred vectors as an adapter's tensors: the bias takes the mean off."""
        import torch

        return {"weight": torch.from_numpy(learned.weight), "bias": torch.from_numpy(-learned.weight @ self.centre)}


def centred(vectors: Floats) -> Texts:
    """These vectors, unit rows [items, dims], less their mean."""
    centre = vectors.mean(axis=0)
    less = vectors - centre
    lengths = np.maximum(np.linalg.norm(less, axis=1, keepdims=True), 1e-12)
    return Texts(np.asarray(less / lengths, np.float32), centre)


@dataclass(frozen=True)
class Maps:
    """Three results over the same texts and days.

    linear: a map of few passes, from which the tower starts; frozen: the map after as many passes as `learned` had;
    learned: a vector of its own for each item beside the map, which BERT imitates.
    """

    texts: Texts
    linear: Learned
    frozen: Learned
    learned: Learned

    def refitted(self, examples: Examples, settings: TowerSettings, seed: int, *, frozen_only: bool) -> Maps:
        """These, after `refit_epochs` more over these examples; where `frozen_only`, `learned` stays as it is."""
        known, epochs = self.texts.vectors, settings.refit_epochs
        frozen = learn_vectors(examples, known, epochs=epochs, seed=seed, start=self.frozen, residuals=False)
        if frozen_only:
            return replace(self, frozen=frozen)
        learned = learn_vectors(examples, known, epochs=epochs, seed=seed, start=self.learned)
        return replace(self, frozen=frozen, learned=learned)


def learn_maps(
    texts: Texts,
    examples: Examples,
    settings: TowerSettings,
    seed: int,
    done: Callable[[], None],
    *,
    with_frozen: bool = True,
) -> Maps:
    """All three of these texts and examples, or without `frozen`, which is then `linear`; `done`: called after each."""
    known = texts.vectors
    linear = learn_vectors(examples, known, epochs=settings.adapter_epochs, seed=seed, residuals=False)
    done()
    frozen = linear
    if with_frozen:
        frozen = learn_vectors(examples, known, epochs=settings.epochs, seed=seed, start=linear, residuals=False)
        done()
    learned = learn_vectors(examples, known, epochs=settings.epochs, seed=seed, start=linear)
    done()
    return Maps(texts, linear, frozen, learned)
