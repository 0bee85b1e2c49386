"""Steps of an item tower that a budget of seconds pays for, by a cost model: equal data give equal steps.

Seconds are those of a reference machine, two AVX2 cores that multiply float32 alone; on another machine the same steps
take another time. The time that steps take is never measured in a training, so it never decides what is learned.
"""

from __future__ import annotations

import math

from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_settings import Steps, TowerSettings

# One token through one layer of 384 x 1,536, forward, on the reference machine: measured 2026-11-30 by
# bench.encoder_methods on texts of Complete Journey. Layers of other widths cost in proportion to width squared.
TOKEN_LAYERS_PER_SECOND = 24_000.0
REFERENCE_WIDTH = 384
FORWARDS_PER_STEP = 3.0  # forward, backward to the inputs and to the weights
STEP_SECONDS = 0.3  # of the loss over the catalogue, and of the optimiser
LEAST_PASSES = 3  # over the texts, whatever the budget
MOST_CHECKS = 4
REFIT_SHARE = 1 / 4  # of the steps, if the tuned weights are used


def steps_of(search: int, texts: int, slice_items: int) -> Steps:
    """The plan of a search of so many steps: an evaluation each LEAST_PASSES passes, MOST_CHECKS at most."""
    per_pass = _steps_per_pass(texts, slice_items)
    every = max(math.ceil(search / MOST_CHECKS), LEAST_PASSES * per_pass)
    return Steps(search, min(every, search), math.ceil(search * REFIT_SHARE))


def steps_within(seconds: float, lower: LowerLayers, settings: TowerSettings) -> Steps:
    """The plan that `seconds` pay for, the first reading of all texts included, of LEAST_PASSES passes at least."""
    width, layers = lower.vectors.shape[1], lower.model.config.num_hidden_layers
    tuned, texts = layers - lower.count, len(lower.texts)
    layer_seconds = lower.tokens * (width / REFERENCE_WIDTH) ** 2 / TOKEN_LAYERS_PER_SECOND
    per_pass = _steps_per_pass(texts, settings.slice_items)
    pass_seconds = FORWARDS_PER_STEP * tuned * layer_seconds + per_pass * STEP_SECONDS
    fixed = (layers + tuned) * layer_seconds
    passes = max(LEAST_PASSES, int((seconds - fixed) / ((1 + REFIT_SHARE) * pass_seconds)))
    return steps_of(passes * per_pass, texts, settings.slice_items)


def _steps_per_pass(texts: int, slice_items: int) -> int:
    return math.ceil(texts / min(slice_items, max(texts, 1)))
