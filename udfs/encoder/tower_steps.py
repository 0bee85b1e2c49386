"""The tuning steps of an item tower: one optimiser over one window of days."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from udfs.encoder import checkpoint as checkpoints
from udfs.encoder.copurchase import Examples, Learned, example_rows, next_purchase_loss
from udfs.encoder.tower_bert import Tower
from udfs.interactions import Floats

TRUST_PURCHASES = 5.0  # weight of an item's learned vector: n / (n + this)
MAX_GRADIENT_NORM = 1.0


class TuningSteps:
    """One optimiser over one window of days; step n draws the same whether the run was interrupted or not."""

    def __init__(
        self,
        tower: Tower,
        vectors: Floats,
        learned: Learned,
        examples: Examples,
        seed: int,
        log: Callable[[str], None],
        stepped: Callable[[], None],
    ) -> None:
        import torch

        self.tower, self.examples, self.seed, self.log, self.stepped = tower, examples, seed, log, stepped
        self.target = torch.from_numpy(learned.vectors)
        self.trust = torch.from_numpy((examples.bought / (examples.bought + TRUST_PURCHASES)).astype(np.float32))
        self.log_scale = torch.tensor(float(np.log(learned.scale)), requires_grad=True)
        self.popularity = torch.tensor(learned.popularity, requires_grad=True)
        self.sold = np.flatnonzero(examples.bought)
        self.table = torch.from_numpy(vectors.copy())
        knobs, trained = tower.settings, tower.trained()
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [trained[n] for n in trained if n.startswith("top.")], "lr": knobs.top_rate},
                {"params": [trained[n] for n in trained if n.startswith("adapter.")], "lr": knobs.adapter_rate},
                {"params": [self.log_scale, self.popularity], "lr": 0.01},
            ],
            weight_decay=0.01,
        )
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.done, self.seconds = 0, 0.0

    def run(self, first: int, stop: int, total: int) -> float:
        """Steps first + 1 to stop of total; their mean loss."""
        import torch

        knobs, losses, started = self.tower.settings, [], time.perf_counter()
        warmup = max(1, round(knobs.warmup_share * total))
        examples = example_rows(len(self.examples), knobs.batch_size, self.seed, stop, first)
        slices = example_rows(len(self.sold), knobs.slice_items, self.seed + 101, stop, first)
        for step, users, items in zip(range(first, stop), examples, slices, strict=True):
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * min((step + 1) / warmup, (total - step) / max(1, total - warmup))
            rows = self.sold[items]
            place = torch.from_numpy(rows)
            vectors = self.tower.forward(rows)
            batch = self.examples.batch(users, np.random.default_rng((self.seed, step)))
            table = self.table.index_copy(0, place, vectors)
            near = (self.trust[place] * (1 - (vectors * self.target[place]).sum(dim=1))).mean()
            loss = knobs.distil * near + next_purchase_loss(batch, table, self.log_scale.exp(), self.popularity)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.tower.trained().values(), MAX_GRADIENT_NORM)
            self.optimizer.step()
            self.table[place] = vectors.detach()
            losses.append(loss.item())
            self.stepped()
            if not np.isfinite(losses[-1]):
                raise ArithmeticError(
                    f"loss {losses[-1]} at step {step + 1}: set a lower learning rate than {knobs.top_rate}"
                )
            if (step + 1) % max(10, total // 8) == 0:
                rate = (time.perf_counter() - started) / (step + 1 - first)
                self.log(
                    f"step {step + 1}/{total}: loss {losses[-1]:.3f}, distance {near.item():.3f}, {rate:.1f} s/step"
                )
        self.done, self.seconds = self.done + stop - first, self.seconds + time.perf_counter() - started
        return float(np.mean(losses))

    def tensors(self) -> dict[str, Any]:
        """The state that a resumed run needs, by name."""
        tensors = {f"now.{name}": value.detach().clone() for name, value in self._learning().items()}
        tensors["table"] = self.table
        for name, value in self._learning().items():
            for key, moment in self.optimizer.state[value].items():
                tensors[f"{key}/{name}"] = moment
        return tensors

    def _learning(self) -> dict[str, Any]:
        return self.tower.trained() | {"log_scale": self.log_scale, "popularity": self.popularity}

    def restore(self, saved: checkpoints.Saved) -> None:
        """Go on from a checkpoint."""
        import torch

        self.table = saved.tensors["table"]
        for name, value in self._learning().items():
            with torch.no_grad():
                value.copy_(saved.tensors[f"now.{name}"])
            self.optimizer.state[value] = {
                key: saved.tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
