"""LoRA: a BERT in which only low-rank matrices learn, and its merge into a plain BERT.

peft is imported here when LoRA is chosen: it imports all of transformers, some ten seconds.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

# Every matrix of a layer: with query and value alone the tower learned less from the same steps (docs/quality.md).
TARGETS = ("query", "key", "value", "dense")
ALPHA_PER_RANK = 2.0  # what the matrices add is scaled by alpha / rank, here the same for every rank


def with_lora(model: Any, first_layer: int, rank: int, seed: int) -> Any:
    """The model wrapped by peft: in its layers from `first_layer` on only matrices of this rank learn.

    The model is changed in place; its vectors stay the same until the matrices learn.
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
    """A plain copy of the model, without peft: the matrices are added to its weights."""
    return deepcopy(wrapped).merge_and_unload()
