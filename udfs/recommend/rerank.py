"""Re-ranking of each user's candidates by diversity, caps and arrivals; one result row is one place of a list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from udfs.interactions import Floats

Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

USERS_PER_BLOCK = 256  # [block, pool, dims] of float32 is held at a time


def rerank(
    user: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    k: int,
    *,
    kind: npt.NDArray[np.integer] | None = None,
    cap: int = 0,
    vectors: Floats | None = None,
    diversity: float = 0.0,
    arrivals: Mask | None = None,
    every: int = 0,
) -> Longs:
    """Rows of the input, `k` for each user (all of a user with fewer), in the order (user, place).

    The input is sorted by (user, score desc, item), one row a candidate; scores are positive. `kind` [rows] and `cap`:
    at most so many of one kind (-1 is no kind; 0 caps nothing), as long as others are left. `vectors` [rows, dims] of
    unit length and `diversity` in [0, 1): maximal marginal relevance (Carbonell and Goldstein 1998); the next item has
    most of (1 - diversity) x score / the user's best score - diversity x its largest cosine to an item above it.
    `arrivals` [rows] and `every`: each `every`-th place is reserved for the best arrival that is not above it, as long
    as there is one (and the cap leaves one); elsewhere arrivals compete like all others. Ties go to the row that comes
    first.
    """
    if not 0 <= diversity < 1:
        raise ValueError(f"diversity must be in [0, 1); it is {diversity}")
    users, first, size = np.unique(user, return_index=True, return_counts=True)
    spread = diversity if vectors is not None else 0.0
    parts = []
    for start in range(0, len(users), USERS_PER_BLOCK):
        block = slice(start, start + USERS_PER_BLOCK)
        widest = int(size[block].max())
        row = first[block, None] + np.arange(widest)
        is_candidate = np.arange(widest) < size[block, None]
        row[~is_candidate] = first[block].repeat((~is_candidate).sum(axis=1))
        relevance = np.where(is_candidate, score[row] / score[first[block], None], -np.inf)
        kinds = np.full(row.shape, -1) if kind is None else kind[row]
        near = None if spread == 0 or vectors is None else vectors[row]
        new = None if arrivals is None else arrivals[row]
        chosen = _greedy(relevance, kinds, near, new, k, cap, spread, every)
        parts.append(np.take_along_axis(row, chosen, axis=1)[chosen >= 0])
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _greedy(
    relevance: npt.NDArray[np.floating],
    kinds: npt.NDArray[np.integer],
    near: Floats | None,
    arrivals: Mask | None,
    k: int,
    cap: int,
    spread: float,
    every: int,
) -> Longs:
    """[users, min(k, pool)]: places in the pool, best first; -1 where a user has no more."""
    count, width = relevance.shape
    open_ = relevance > -np.inf
    value = (1 - spread) * relevance
    nearest = np.zeros(relevance.shape, np.float32)
    chosen = np.full((count, min(k, width)), -1, np.int64)
    everyone = np.arange(count)
    taken_of_kind = np.zeros(relevance.shape, np.int64)  # how many of the candidate's kind are in the list
    for place in range(chosen.shape[1]):
        now = np.where(open_, value - spread * nearest, -np.inf)
        if cap:
            now = _only((kinds < 0) | (taken_of_kind < cap), now)
        if every and arrivals is not None and (place + 1) % every == 0:
            now = _only(arrivals, now)
        best = now.argmax(axis=1)
        has_next = now[everyone, best] > -np.inf
        chosen[has_next, place] = best[has_next]
        open_[everyone, best] = False
        taken_of_kind += kinds == kinds[everyone, best][:, None]
        if near is not None:
            cosine = np.einsum("upd,ud->up", near, near[everyone, best])
            nearest = cosine if place == 0 else np.maximum(nearest, cosine)
    return chosen


def _only(wanted: Mask, value: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The values with -inf where not wanted; of a user with nothing that is wanted and open, as they are."""
    limited = np.where(wanted, value, -np.inf)
    return np.where((limited > -np.inf).any(axis=1, keepdims=True), limited, value)
