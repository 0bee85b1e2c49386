"""Vectors of users' histories: float32, unit length, from a model folder's user tower, or the mean of item vectors.

The mean vector needs NumPy alone; torch is imported when a tower is first loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from udfs.encoder import encoder, packed, user_tower
from udfs.encoder.encoder import DType
from udfs.encoder.user_history import Histories, Longs, histories_before, mean_vectors
from udfs.encoder.user_tower import UserTower
from udfs.interactions import Floats, Interactions

if TYPE_CHECKING:
    import torch

MEAN_LINES = 512  # a user's newest lines that the mean vector reads


class UserEncoder(Protocol):
    """What gives a vector for each history."""

    def use_threads(self, count: int) -> None:
        """Set the number of threads that multiply in this process."""

    def encode(self, read: Histories, vectors: Floats) -> Floats:
        """One unit vector per user, float32 [users, dims]; vectors: [rows, dims] of the items."""


class Mean:
    """The mean vector of a user's items."""

    def use_threads(self, count: int) -> None:
        """It multiplies nothing."""

    def encode(self, read: Histories, vectors: Floats) -> Floats:
        """One unit vector per user, float32 [users, dims]."""
        return mean_vectors(read, vectors)


class TowerEncoder:
    """A user tower on one device."""

    def __init__(self, tower: UserTower, device: str = "cpu", dtype: DType = "auto") -> None:
        """Move the tower to the device. "auto" is float32 on every CPU: the same vectors on each; bfloat16 on a GPU."""
        import torch

        wanted: DType = "float32" if device == "cpu" and dtype == "auto" else dtype
        self.tower = tower.to(device, encoder.serving_dtype(torch.device(device), wanted))
        self.work = encoder.Work()
        self._attention: packed.Attention | None = None  # of passes over histories of all lengths
        if self.tower.device.type == "cuda":  # FlashAttention takes half precision only
            is_half = self.tower.parts["output"].weight.element_size() == 2
            self._attention = packed.flash_attention if is_half else packed.plain_attention
        self._tokens = encoder.TOKENS_PER_BATCH.get(self.tower.device.type, encoder.TOKENS_PER_BATCH["cpu"])

    def use_threads(self, count: int) -> None:
        """Set the number of threads that multiply in this process."""
        import torch

        torch.set_num_threads(count)

    def encode(self, read: Histories, vectors: Floats) -> Floats:
        """One unit vector per user, float32 [users, dims].

        On a CPU a batch holds histories of one length, and as many tokens as the item encoder's: a user's vector does
        not depend on the others, to about 1e-6. On a GPU a pass
        holds histories of all lengths, and takes half as many each time that the memory does not suffice.
        """
        import torch

        if not len(read):
            return np.zeros((0, vectors.shape[1]), np.float32)
        tower = self.tower
        there = torch.from_numpy(vectors).to(tower.device)
        with torch.inference_mode():
            if self._attention is not None:
                attention = self._attention
                order = np.argsort(-read.lengths, kind="stable")
                parts, self._tokens = packed.within_memory(
                    lambda users: self._pass(read.part(users), there, attention), order, read.lengths, self._tokens
                )
            else:
                batches = list(encoder.same_length_batches(read.lengths, self._tokens))
                parts = [self._filled(read, users, there) for users in batches]
                order = np.concatenate(batches)
            by_pass = torch.cat(parts).cpu().numpy()
        in_order = np.empty_like(by_pass)
        in_order[order] = by_pass
        return in_order

    def _filled(self, read: Histories, users: Longs, vectors: torch.Tensor) -> torch.Tensor:
        """The vectors of users with histories of one length; a small batch is filled up with copies (encoder.py)."""
        length = int(read.lengths[users[0]])
        rows = np.resize(users, max(len(users), -(-encoder.FEWEST_TOKENS // length)))
        return self._pass(read.part(rows), vectors, user_tower.dense_attention)[: len(users)]

    def _pass(self, read: Histories, vectors: torch.Tensor, attention: packed.Attention) -> torch.Tensor:
        self.work.passes += 1
        self.work.read_tokens += len(read.item)
        return self.tower.forward(read, vectors, attention)


@dataclass(frozen=True)
class UserReader:
    """A user encoder, and how many of a user's newest lines it reads."""

    encoder: UserEncoder
    max_lines: int

    def __call__(self, lines: Interactions, item_vectors: Floats, day: int) -> Floats:
        """One unit vector per user code as of `day`, float32 [users, dims]; zeros for a user without a purchase."""
        users, read = histories_before(lines, item_vectors, day, self.max_lines)
        vectors = np.zeros((len(lines.users), item_vectors.shape[1]), np.float32)
        vectors[users] = self.encoder.encode(read, item_vectors)
        return vectors


def reader_of(folder: str | Path) -> UserReader | None:
    """The learned user encoder of a model folder, on the CPU; None where the mean vector serves."""
    return UserReader(load_user_encoder(folder), max_lines(folder)) if is_learned(folder) else None


def is_learned(folder: str | Path) -> bool:
    """Whether a model folder's user encoder is a user tower; else it is the mean vector."""
    return user_tower.read_settings(Path(folder)) is not None


def max_lines(folder: str | Path) -> int:
    """A user's newest purchases that the folder's user encoder reads."""
    settings = user_tower.read_settings(Path(folder))
    return MEAN_LINES if settings is None else settings.max_lines


@lru_cache(maxsize=2)
def _load(folder: Path, device: str, dtype: DType) -> UserEncoder:
    tower = user_tower.read_tower(folder)
    return Mean() if tower is None else TowerEncoder(tower, device, dtype)


def load_user_encoder(folder: str | Path, device: str = "cpu", dtype: DType = "auto") -> UserEncoder:
    """One user encoder per (folder, device, dtype) and Python worker. Raises ModelError."""
    return _load(Path(folder).resolve(), device, dtype)
