"""One result is a BERT in which low-rank matrices alone learn (LoRA), or the plain BERT that they add up to.

peft is imported here when LoRA is chosen: it takes all of transformers with it, some ten seconds.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

# Every matrix of a layer: with query and value alone the tower learned less from the same steps (docs/quality.md).
TARGETS = ("query", "key", "value", "dense")
ALPHA_PER_RANK = 2.0  # what the matrices add is scaled by alpha / rank, here the same for every rank


def with_lora(model: Any, first_layer: int, rank: int, seed: int) -> Any:
    """The model as peft wraps it: in its layers from `first_layer` on matrices of this rank learn, nothing else does.

    The model itself is changed in place and gives the vectors it gave before, until the matrices learn.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=round(ALPHA_PER_RANK * rank),
        lora_dropout=0.0,
        target_modules=list(TARGETS),
        layers_to_transform=list(range(first_layer, model.config.num_hidden_layers)),
    )
    with torch.random.fork_rng():  # one matrix of each pair starts at random
        torch.manual_seed(seed)
        return get_peft_model(model, config).eval()


def merged(wrapped: Any) -> Any:
    """A plain copy of the model: what the matrices add is in its weights, none of peft is left."""
    return deepcopy(wrapped).merge_and_unload()
