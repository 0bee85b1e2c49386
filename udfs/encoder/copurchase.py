"""Item vectors learned from next purchases, and the loss that the item tower shares.

A customer's vector pools the items bought before a day; the softmax over the catalogue predicts what is bought in
the four weeks from that day, given the recent buyers of each item. So vectors learn what popularity does not
explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Floats, Interactions

if TYPE_CHECKING:
    import torch

POPULARITY_DAYS = 14
# A quarter of the examples hides half of the day's purchases instead of what came before: also first baskets teach.
SHARE_OF_HIDDEN_BASKETS = 0.2
FIT_BATCH = 256  # examples of a step of learn_vectors
LARGEST_CATALOGUE = 8_192  # above, a batch's softmax runs over its targets and a uniform draw of the other items
# The log popularity of an item never sold: nothing is known against it, so it is no negative. An item sold later
# is one: leaving it out gave better vectors alone, but a worse blend with popularity.
IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class Pooling:
    """How much one purchase weighs in its customer's vector: (the sum of 0.5 ^ (age / half life)) ^ count_power."""

    half_life_days: float = 120.0
    count_power: float = 0.5


def user_vectors(history: Interactions, item_vectors: Floats, day: int, pooling: Pooling | None = None) -> Floats:
    """One unit vector per user as of `day`, float32 [users, dims]; zeros for a user who bought nothing before it.

    item_vectors: [items, dims], one per history.items. A row depends on the user's own purchases alone.
    """
    pooling = pooling or Pooling()
    lines = history.before(day).user_days()
    weights = lines.matrix(0.5 ** ((day - lines.day) / pooling.half_life_days))
    weights.data **= pooling.count_power
    pooled = np.asarray(weights @ item_vectors, dtype=np.float32)
    lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
    return np.asarray(pooled / np.maximum(lengths, 1e-12), dtype=np.float32)


def recent_buyers(history: Interactions, day: int, window_days: int = POPULARITY_DAYS) -> Floats:
    """The log of 1 + each item's known buyers in the days before `day`, float32 [items]: the popularity term."""
    bought = history.within(day - window_days, day).matrix()
    return np.log1p(np.bincount(bought.indices, minlength=len(history.items))).astype(np.float32)


@dataclass(frozen=True)
class Batch:
    """One step's b customers: weighted purchases (flat, by `customer`), targets, the softmax's items, their priors."""

    customer: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    weight: Floats
    target_customer: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]  # a column of `columns`
    columns: npt.NDArray[np.int64]
    prior: Floats  # [b, columns]: log recent buyers
    correction: Floats  # [columns]: log of how many items a column stands for
    size: int


class Examples:
    """One example is one (user, day of purchase) of `history`: what was bought before it, and from it on."""

    def __init__(self, history: Interactions, end: int, pooling: Pooling) -> None:
        """Learn from days before `end` only."""
        lines = history.before(end).user_days()
        if not len(lines):
            raise ValueError(f"no purchase of a known user before day {end}: nothing to learn from")
        order = np.lexsort((lines.item, lines.day, lines.user))
        user, self._day, self._item = lines.user[order], lines.day[order], lines.item[order].astype(np.int64)
        self._pooling, self.items, self.end = pooling, len(history.items), end
        new_day = np.r_[True, (np.diff(user) != 0) | (np.diff(self._day) != 0)]
        self._at = np.flatnonzero(new_day)
        self._start = np.searchsorted(user, user[self._at])
        self._user_end = np.searchsorted(user, user[self._at], side="right")
        self.bought = np.bincount(self._item, minlength=self.items)
        self._first_day = int(self._day.min())
        self._log_buyers = self._popularity()

    def __len__(self) -> int:
        """Examples."""
        return len(self._at)

    def _popularity(self) -> Floats:
        """[days, items]: the log of 1 + purchases in the fortnight before; IMPOSSIBLE for an item never sold."""
        days = self.end - self._first_day
        counts = np.zeros((days + 1, self.items), np.float32)
        np.add.at(counts, (self._day - self._first_day + 1, self._item), 1)
        total = np.cumsum(counts, axis=0)
        before = np.maximum(np.arange(days + 1) - POPULARITY_DAYS, 0)
        return np.where(self.bought > 0, np.log1p(total - total[before]), IMPOSSIBLE).astype(np.float32)

    def batch(self, rows: npt.NDArray[np.int64], draw: np.random.Generator) -> Batch:
        """The batch of these examples; `draw` decides what is hidden and which items the softmax sees."""
        hidden = draw.random() < SHARE_OF_HIDDEN_BASKETS
        inputs, targets = [], []  # (customer, line) pairs
        for customer, row in enumerate(rows):
            at, day = self._at[row], self._day[self._at[row]]
            stop = at + np.searchsorted(self._day[at : self._user_end[row]], day + HORIZON_DAYS)
            known, future = np.arange(self._start[row], at), np.arange(at, stop)
            if hidden or not len(known):
                shown = draw.random(len(future)) < 0.5
                known, future = np.r_[known, future[shown]], future[~shown]
            inputs.append(np.stack([np.full(len(known), customer), known]))
            targets.append(np.stack([np.full(len(future), customer), future]))
        customer, line = np.concatenate(inputs, axis=1)
        today = self._day[self._at[rows]]
        age = np.maximum(today[customer] - self._day[line], 0)
        key, inverse = np.unique(customer * self.items + self._item[line], return_inverse=True)
        decayed = np.bincount(inverse, 0.5 ** (age / self._pooling.half_life_days), minlength=len(key))
        target_customer, target_line = np.concatenate(targets, axis=1)
        wanted = np.unique(target_customer * self.items + self._item[target_line])
        columns, correction = self._columns(wanted % self.items, draw)
        return Batch(
            customer=key // self.items,
            item=key % self.items,
            weight=(decayed**self._pooling.count_power).astype(np.float32),
            target_customer=wanted // self.items,
            target=np.searchsorted(columns, wanted % self.items),
            columns=columns,
            prior=self._log_buyers[np.ix_(today - self._first_day, columns)],
            correction=correction,
            size=len(rows),
        )

    def _columns(
        self, targets: npt.NDArray[np.int64], draw: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        if self.items <= LARGEST_CATALOGUE:
            return np.arange(self.items), np.zeros(self.items, np.float32)
        own = np.unique(targets)
        others = np.setdiff1d(np.arange(self.items), own)
        drawn = draw.choice(others, max(1, LARGEST_CATALOGUE - len(own)), replace=False)
        columns = np.sort(np.r_[own, drawn])
        is_drawn = np.isin(columns, drawn)
        return columns, np.where(is_drawn, np.log(len(others) / len(drawn)), 0).astype(np.float32)


def next_purchase_loss(
    batch: Batch, vectors: torch.Tensor, scale: torch.Tensor, popularity: torch.Tensor
) -> torch.Tensor:
    """The cross entropy of each target among the batch's columns, a scalar; vectors: unit rows [items, dims].

    logit = scale x cosine + popularity x log recent buyers. A customer's weight is the root of the number of
    targets: between one vote a customer and one vote a purchase.
    """
    import torch

    customer, weight = torch.from_numpy(batch.customer), torch.from_numpy(batch.weight)
    offsets = torch.searchsorted(customer, torch.arange(batch.size))
    pooled = torch.nn.functional.embedding_bag(
        torch.from_numpy(batch.item), vectors, offsets, mode="sum", per_sample_weights=weight
    )
    users = torch.nn.functional.normalize(pooled, dim=-1)
    columns = vectors if len(batch.columns) == len(vectors) else vectors[torch.from_numpy(batch.columns)]
    logits = scale * users @ columns.T + popularity * torch.from_numpy(batch.prior)
    logits = logits + torch.from_numpy(batch.correction)
    at, target = torch.from_numpy(batch.target_customer), torch.from_numpy(batch.target)
    counts = torch.bincount(at, minlength=batch.size).float()
    losses = logits.logsumexp(dim=1)[at] - logits[at, target]
    return (losses / counts[at].sqrt()).sum() / counts.sqrt().sum()


@dataclass(frozen=True)
class Learned:
    """Item vectors learned from purchases, unit rows [items, dims], and how they blend with popularity."""

    vectors: Floats
    weight: Floats  # [dims, hidden size]: vectors = the texts' own through this map, plus residual, normalised
    residual: Floats
    scale: float
    popularity: float


def learn_vectors(
    examples: Examples,
    texts: Floats,
    *,
    epochs: float,
    seed: int,
    batch_size: int = FIT_BATCH,
    learning_rate: float = 0.02,
    map_rate: float = 0.003,
    residuals: bool = True,
    start: Learned | None = None,
) -> Learned:
    """Item vectors that start at their texts' ([items, dims], centred unit rows) and move towards their buyers.

    Without residuals only the linear map is learned: the texts as they are, frozen, with an adapter. start:
    continue from an earlier result.
    """
    import torch

    root = float(np.sqrt(texts.shape[1]))  # Adam moves each coordinate by its rate: rows of this length, not 1
    fixed = torch.from_numpy(texts) * root
    first = start or Learned(texts, np.eye(texts.shape[1], dtype=np.float32), np.zeros_like(texts), 8.0, 0.7)
    weight = torch.tensor(first.weight, requires_grad=True)
    residual = torch.tensor(first.residual, requires_grad=residuals)
    log_scale, popularity = (
        torch.tensor(x, requires_grad=True) for x in (float(np.log(first.scale)), first.popularity)
    )
    groups = [{"params": [log_scale, popularity], "lr": 0.01}, {"params": [weight], "lr": map_rate}]
    if residuals:
        groups.append({"params": [residual], "lr": learning_rate})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    rates = [float(group["lr"]) for group in optimizer.param_groups]

    def vectors() -> torch.Tensor:
        return torch.nn.functional.normalize(fixed @ weight.T + residual, dim=-1)

    steps = max(1, round(epochs * len(examples) / batch_size))
    for step, rows in enumerate(example_rows(len(examples), batch_size, seed, steps)):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps)
        batch = examples.batch(rows, np.random.default_rng((seed, step)))
        loss = next_purchase_loss(batch, vectors(), log_scale.exp(), popularity)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        learned = vectors().numpy().copy()
        mapping, residual_rows = weight.detach().numpy().copy(), residual.detach().numpy().copy()
    return Learned(learned, mapping, residual_rows, log_scale.exp().item(), popularity.item())


def example_rows(count: int, size: int, seed: int, steps: int, first: int = 0) -> list[npt.NDArray[np.int64]]:
    """The examples of each step from `first` on: seeded passes, so that step n is the same after a resume."""
    size = min(size, count)
    per_pass = count // size
    rows = []
    for step in range(first, steps):
        if step == first or step % per_pass == 0:
            order = np.random.default_rng((seed, 1 + step // per_pass, count)).permutation(count)
        at = step % per_pass * size
        rows.append(order[at : at + size])
    return rows
