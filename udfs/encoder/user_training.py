"""Training of a user tower on past baskets: the new items of the next 28 days, by sampled softmax.

The item vectors stay as they are. The budget is counted in steps: the same seed, data, machine and number of threads
give the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from udfs.encoder.copurchase import example_rows
from udfs.encoder.user_examples import UserBatch, UserExamples
from udfs.encoder.user_history import Longs
from udfs.encoder.user_tower import UserTower, dense_attention
from udfs.interactions import Floats

if TYPE_CHECKING:
    import torch

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class UserLearning:
    """How a user tower learns: steps of `batch_size` users; rates of BERT's layers and of the new weights."""

    steps: int = 100
    batch_size: int = 64
    layer_rate: float = 2e-4
    new_rate: float = 1e-3
    warmup_share: float = 0.1
    decay: float = 0.01


@dataclass(frozen=True)
class Learned:
    """What a training has done: mean loss of its last tenth, token-layers forward, seconds, and the blend's weights."""

    loss: float
    token_layers: int
    seconds: float
    scale: float
    popularity: float


def learn(
    tower: UserTower,
    examples: UserExamples,
    item_vectors: Floats,
    how: UserLearning,
    seed: int,
    scale: float = 12.0,
    done: Callable[[int], None] = lambda _step: None,
) -> Learned:
    """Fit the tower to the examples, in place; `scale`: of the cosine at the start. ArithmeticError on a NaN."""
    import torch

    vectors, started = torch.from_numpy(item_vectors), time.perf_counter()
    log_scale = torch.tensor(float(np.log(scale)), requires_grad=True)
    popularity = torch.tensor(0.7, requires_grad=True)
    layers = list(tower.parts["layers"].parameters())
    new = [value for name, value in tower.parts.named_parameters() if not name.startswith("layers.")]
    groups: list[dict[str, Any]] = [
        {"params": layers, "lr": how.layer_rate},
        {"params": new, "lr": how.new_rate},
        {"params": [log_scale, popularity], "lr": 0.01, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.99), weight_decay=how.decay
    )
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    losses: list[float] = []
    warmup, tokens = max(1, round(how.warmup_share * how.steps)), 0
    for step, rows in enumerate(_of_like_length(examples, how, seed)):
        share = min((step + 1) / warmup, (how.steps - step) / max(1, how.steps - warmup))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        batch = examples.batch(rows, np.random.default_rng((seed, step)))
        users = tower.forward(batch.read, vectors, dense_attention)
        loss = new_items_loss(batch, users, vectors, log_scale.exp(), popularity)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(tower.parts.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise ArithmeticError(f"loss {losses[-1]} at step {step + 1}: set a lower rate than {how.layer_rate}")
        tokens += len(batch.read.item)
        done(step + 1)
    return Learned(
        loss=float(np.mean(losses[-max(1, len(losses) // 10) :])) if losses else float("nan"),
        token_layers=tokens * tower.settings.layers,
        seconds=time.perf_counter() - started,
        scale=log_scale.exp().item(),
        popularity=popularity.item(),
    )


POOL = 8  # batches that are drawn together and divided by length: attention pads less


def _of_like_length(examples: UserExamples, how: UserLearning, seed: int) -> list[Longs]:
    """The examples of each step: each POOL of steps holds a seeded draw, divided by the number of lines."""
    size = min(how.batch_size, len(examples))
    drawn = example_rows(len(examples), size, seed, how.steps)
    lines, steps = examples.lines, []
    for start in range(0, len(drawn), POOL):
        rows = np.concatenate(drawn[start : start + POOL])
        by_length = rows[np.argsort(lines[rows], kind="stable")]
        order = np.random.default_rng((seed, 2, start)).permutation(len(by_length) // size)
        steps += [by_length[number * size : (number + 1) * size] for number in order]
    return steps


def new_items_loss(
    batch: UserBatch, users: torch.Tensor, vectors: torch.Tensor, scale: torch.Tensor, popularity: torch.Tensor
) -> torch.Tensor:
    """The cross entropy of each target among the batch's columns that its user does not own, a scalar.

    users: unit rows [b, dims]; vectors: [items, dims]; logit = scale x cosine + popularity x log of recent purchases +
    logQ. A user's weight is the root of the number of targets.
    """
    import torch

    logits = scale * users @ vectors[torch.from_numpy(batch.columns)].T + popularity * torch.from_numpy(batch.prior)
    logits = (logits + torch.from_numpy(batch.correction)).masked_fill(torch.from_numpy(batch.owned), -1e9)
    at, target = torch.from_numpy(batch.target_user), torch.from_numpy(batch.target)
    counts = torch.bincount(at, minlength=len(users)).float()
    losses = logits.logsumexp(dim=1)[at] - logits[at, target]
    return (losses / counts[at].sqrt()).sum() / counts.sqrt().sum()
