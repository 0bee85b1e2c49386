"""The mean vector of each user's purchases, in a form that does not depend on the day of a run.

A line is one item that a user bought on one day. Ages count from the user's own last purchase, which changes all
weights of a user by one factor: a user without a new basket has the same vector, bit for bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.encoder.copurchase import Pooling
from udfs.interactions import Floats

Longs = npt.NDArray[np.int64]

MEAN_LINES = 512  # a user's newest lines, which the mean vector reads


def mean_vectors(
    day: npt.NDArray[np.integer],
    item: npt.NDArray[np.integer],
    bounds: Longs,
    vectors: Floats,
    pooling: Pooling | None = None,
) -> Floats:
    """One unit vector per user, float32 [users, dims]: the mean of the items' vectors, newer purchases weighing more.

    day, item: [lines], the latter a row of vectors [rows, dims]; bounds: [users + 1], where each user's lines, by day,
    begin and the last one's end; no user is without a line. Purchases weigh as in copurchase.user_vectors.
    """
    pooling, lengths = pooling or Pooling(), np.diff(bounds)
    if not len(lengths):
        return np.zeros((0, vectors.shape[1]), np.float32)
    user = np.repeat(np.arange(len(lengths)), lengths)
    decay = 0.5 ** ((np.repeat(day[bounds[1:] - 1], lengths) - day) / pooling.half_life_days)
    bought, line = np.unique(user * len(vectors) + item, return_inverse=True)
    weight = np.bincount(line, decay) ** pooling.count_power
    place = (bought // len(vectors), bought % len(vectors))
    pooled = np.asarray(sp.csr_matrix((weight, place), (len(lengths), len(vectors))) @ vectors.astype(np.float64))
    return np.asarray(pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12), dtype=np.float32)
