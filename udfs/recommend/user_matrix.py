"""Decayed weights of users' purchases: [users, items], the older the lighter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Floats, Interactions
from udfs.recommend.grouped import ranks


def decay(age: npt.NDArray[np.integer], half_life: float) -> Floats:
    """Weight of a purchase by its age in days: 1 today, 1/2 after half_life days."""
    weight: Floats = np.exp2(-age.astype(np.float32) / np.float32(half_life))
    return weight


def user_matrix(days: Interactions, day: int, half_life: float, user_items: int | None = None) -> sp.csr_matrix:
    """[users, items]: the decayed number of days on which the user bought the item, at most 1 + log of it.

    days: as `Interactions.user_days` gives them. user_items: the limit of items per user; those of most weight stay.
    """
    matrix = days.matrix(decay(day - days.day, half_life))
    matrix.sum_duplicates()
    matrix.data = np.where(matrix.data > 1, 1 + np.log(np.maximum(matrix.data, 1)), matrix.data).astype(np.float32)
    if user_items is not None and len(matrix.data) and int(np.diff(matrix.indptr).max()) > user_items:
        user = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        matrix.sort_indices()
        rank = ranks(user, matrix.data) - 1
        matrix.data[rank >= user_items] = 0
        matrix.eliminate_zeros()
    return matrix
