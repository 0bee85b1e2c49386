"""Steps of an item tower that a budget of seconds pays for, by a cost model: equal data give equal steps.

Seconds are those of a reference machine, two AVX2 cores that multiply float32 alone; on another machine the same steps
take another time. No clock is read: how fast a machine was never decides what is learned.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from udfs.encoder.copurchase import FIT_BATCH
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_settings import TowerSettings
from udfs.interactions import Interactions

# Tokens through one layer of 384 x 1,536 in a second, forward: 8,192 texts of 16 tokens take 42 s in six layers.
# Layers of other widths cost in proportion to width squared.
TOKEN_LAYERS_PER_SECOND = 19_000.0
REFERENCE_WIDTH = 384
FORWARDS_PER_STEP = 3.0  # forward, backward to the inputs and to the weights
STEP_SECONDS = 0.1  # of the loss over the catalogue, and of the optimiser
FIT_SECONDS = 1.7e-5  # of one step of learn_vectors, per text
LEAST_PASSES = 3  # over the texts, whatever the budget
MOST_CHECKS = 4
REFIT_SHARE = 1 / 4  # of the steps, if the tuned weights are used


def planned(
    settings: TowerSettings, lower: LowerLayers, history: Interactions, *, seconds: float, steps: int, learn_steps: int
) -> TowerSettings:
    """The settings with as many steps as `seconds` pay for, or with `steps` if not 0.

    seconds: of all that train_tower does, the first reading of all texts included; it makes LEAST_PASSES passes at
    least. learn_steps: bounds the steps of each fit of vectors over the days of `history`.
    """
    seen = history.known()
    examples = max(len(np.unique(seen.user.astype(np.int64) * 100_000 + seen.day)), 1)
    epochs = learn_steps * FIT_BATCH / examples
    bounded = replace(
        settings,
        epochs=min(settings.epochs, epochs),
        refit_epochs=min(settings.refit_epochs, epochs / 2),
        adapter_epochs=min(settings.adapter_epochs, epochs),
    )
    texts = len(lower.texts)
    per_pass = math.ceil(texts / min(settings.slice_items, max(texts, 1)))
    search = steps or per_pass * _passes(seconds, per_pass, lower, bounded, examples)
    every = min(search, max(math.ceil(search / MOST_CHECKS), LEAST_PASSES * per_pass))
    return replace(bounded, max_steps=search, evaluate_every=every, refit_steps=math.ceil(search * REFIT_SHARE))


def _passes(seconds: float, per_pass: int, lower: LowerLayers, settings: TowerSettings, examples: int) -> int:
    """Passes of the search over the texts that are paid for."""
    width, layers = lower.vectors.shape[1], lower.model.config.num_hidden_layers
    size = (width / REFERENCE_WIDTH) ** 2
    layer_seconds = lower.tokens * size / TOKEN_LAYERS_PER_SECOND
    fits = settings.adapter_epochs + 2 * settings.epochs + 2 * settings.refit_epochs
    fit_seconds = fits * examples / FIT_BATCH * len(lower.texts) * size * FIT_SECONDS
    pass_seconds = FORWARDS_PER_STEP * (layers - lower.count) * layer_seconds + per_pass * STEP_SECONDS
    rest = seconds - layers * layer_seconds - fit_seconds
    return max(LEAST_PASSES, int(rest / ((1 + REFIT_SHARE) * pass_seconds)))
