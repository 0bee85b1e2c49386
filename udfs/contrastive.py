"""One result is one training step's batch, or its loss: the contrastive part of fine-tuning."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs import encoder

if TYPE_CHECKING:
    import torch

# Batches drawn together, then cut by length, so that a batch pads little; all of it seeded.
BUCKET_BATCHES = 8


@dataclass(frozen=True)
class Batch:
    """One step's b examples: token ids, log item popularity [b], pairs of one text or user [b, b]."""

    histories: list[list[int]]
    items: list[list[int]]
    log_q: npt.NDArray[np.float32]
    related: npt.NDArray[np.bool_]


def batches(train: pd.DataFrame, tokenizer: Any, settings: encoder.Settings, size: int, seed: int) -> Iterator[Batch]:
    """An endless, seeded stream of batches; a pass draws each example at most once, in full batches only."""
    history, histories = pd.factorize(train["history"])
    item, items = pd.factorize(train["item_text"])
    user = pd.factorize(train["user_id"])[0]
    history_ids = encoder.token_ids(tokenizer, list(histories), settings.max_history_tokens)
    item_ids = encoder.token_ids(tokenizer, list(items), settings.max_item_tokens)
    # Counts, not shares: log(total) would shift all of a row's logits alike, which softmax does not see.
    log_q = np.log(train["item_count"].to_numpy(np.float32))
    lengths = np.array([len(ids) for ids in history_ids])[history]
    draw = np.random.default_rng(seed)
    while True:
        order = draw.permutation(len(train))
        drawn = np.arange(len(train)) // (size * BUCKET_BATCHES)  # bucket number of each place in the order
        order = order[np.lexsort((lengths[order], drawn))]
        full = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
        for rows in (full[at] for at in draw.permutation(len(full))):
            yield Batch(
                histories=[history_ids[at] for at in history[rows]],
                items=[item_ids[at] for at in item[rows]],
                log_q=log_q[rows],
                related=(item[rows, None] == item[rows]) | (user[rows, None] == user[rows]),
            )


def embed(model: Any, ids: list[list[int]], device: str) -> "torch.Tensor":
    """One unit vector per row of ids, float32 [b, dims]: padded to the longest, pooled over real tokens."""
    import torch

    longest = max(len(row) for row in ids)
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
    hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state.float() * mask.unsqueeze(-1)
    return torch.nn.functional.normalize(hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True), dim=-1)


def contrastive_loss(
    histories: "torch.Tensor",
    items: "torch.Tensor",
    temperature: float,
    log_q: "torch.Tensor",
    related: "torch.Tensor",
) -> "torch.Tensor":
    """The mean cross entropy, a scalar, of each history [b, d] choosing its own of the batch's items [b, d].

    log_q [b], each item's log popularity, is taken off its logits: popular items are drawn as negatives more
    often than they should be (Bengio & Senecal 2003; Yi et al. 2019). related [b, b] marks pairs that are no
    negatives: the same text, or another purchase of the same user; its diagonal is ignored.
    """
    import torch

    logits = histories @ items.T / temperature - log_q
    own = torch.eye(len(items), dtype=torch.bool, device=items.device)
    logits = logits.masked_fill(related & ~own, -math.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(items), device=items.device))
