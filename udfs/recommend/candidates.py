"""Candidates: one row is one user and one item that some generator proposes for that user."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.generators import GENERATORS, PER_SOURCE, Proposer
from udfs.recommend.item_models import ItemModels
from udfs.recommend.user_matrix import decay, user_matrix
from udfs.top_k.exact import Rows
from udfs.top_k.products import on_grid
from udfs.top_k.scan import Doubles

__all__ = ["GENERATORS", "OWN_HALF_LIFE", "PER_SOURCE", "Candidates", "propose"]

OWN_HALF_LIFE = 120.0
USERS_PER_BLOCK = 1_024


@dataclass(frozen=True)
class Candidates:
    """One row is one pair, by (user, item); users without known purchases have none.

    user, item: codes; row: the item's row in ItemModels; scores: [rows, GENERATORS], NaN where a generator was
    not requested or needs vectors that were not given; reason: code of the own item with the largest part of the
    ItemKNN score, -1 where none; carried: that own item's share of the score; carriers: how many own items
    carry it, (sum of parts)^2 / sum of parts^2, so that pairs seen by chance in a large sample add nothing.
    """

    user: Codes
    item: Codes
    row: Codes
    scores: Floats
    proposed: npt.NDArray[np.bool_]
    reason: Codes
    carried: Floats
    carriers: Floats

    def __len__(self) -> int:
        """Pairs."""
        return len(self.user)

    def part(self, chosen: npt.NDArray[np.bool_]) -> Candidates:
        """The pairs where `chosen` is true."""
        return Candidates(*(getattr(self, each.name)[chosen] for each in fields(self)))


def propose(
    history: Interactions,
    models: ItemModels,
    day: int,
    *,
    user_vectors: Floats | None = None,
    item_vectors: Rows | None = None,
    generators: Collection[str] = GENERATORS,
    per_source: dict[str, int] | None = None,
) -> Candidates:
    """The union of these generators for the users of `history`, from their purchases before `day`.

    user_vectors: [all users, dims] by user code; item_vectors: float16 values of [rows of the models, dims], zeros
    where an item has none. A user's rows depend on that user's purchases and on the models only: every score is a sum
    of exact terms or is added up in the order of the user's own items. Nothing of the size of the catalogue is held for
    a user.
    """
    days = history.before(day).user_days()
    users = np.unique(days.user)
    taste = _by_row(user_matrix(days, day, float(models.confidence[2])), users, models)
    own = _by_row(days.matrix(decay(day - days.day, OWN_HALF_LIFE)), users, models)
    limits = PER_SOURCE | (per_source or {})
    most_own = int(np.diff(own.indptr).max(initial=0))
    proposer = Proposer(models, {name: limits[name] for name in GENERATORS if name in generators}, most_own)
    vectors: tuple[Doubles, Rows] | None = None
    if item_vectors is not None and user_vectors is not None:
        vectors = on_grid(user_vectors[users]), item_vectors
    parts = []
    for start in range(0, len(users), USERS_PER_BLOCK):
        block = slice(start, start + USERS_PER_BLOCK)
        of_block = None if vectors is None else (vectors[0][block], vectors[1])
        parts.append(proposer.block(users[block], taste[block], own[block], of_block))
    if not parts:  # no user with a history
        none = np.empty(0, np.int32)
        wide = np.empty((0, len(GENERATORS)), np.float32)
        return Candidates(none, none, none, wide, wide > 0, none, wide[:, 0], wide[:, 0])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Candidates(*joined)


def _by_row(matrix: sp.csr_matrix, users: Codes, models: ItemModels) -> sp.csr_matrix:
    """[users, rows of the models] of a matrix [all users, all items]; a user's entries stay in the order of items."""
    some = matrix[users]
    row = models.rows(some.indices)
    is_candidate = row >= 0
    ends = np.concatenate([[0], np.cumsum(is_candidate)])[some.indptr]
    return sp.csr_matrix((some.data[is_candidate], row[is_candidate], ends), shape=(len(users), len(models)))
