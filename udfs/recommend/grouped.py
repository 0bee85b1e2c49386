"""Rows that lie group by group: where each group starts, and each row's place in its group."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from udfs.interactions import Floats

Longs: TypeAlias = npt.NDArray[np.int64]


def starts(group: npt.NDArray[np.generic]) -> tuple[Longs, Longs]:
    """For sorted `group`: the first row of each group, and each row's group number."""
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if len(group) else np.empty(0, np.int64)
    number = np.zeros(len(group), np.int64)
    number[first[1:]] = 1
    return first, np.cumsum(number)


def ranks(group: Longs, score: Floats) -> Longs:
    """Each row's place in its group, 1 first, by (score desc, position asc), NaN last; `group` is ascending."""
    place = np.empty(len(group), np.int64)
    start = 0
    while start < len(group):
        end = min(int(np.searchsorted(group, group[start] + 1_000)), start + (1 << 22))
        if end < len(group) and group[end - 1] == group[end]:  # cut between groups only
            end = int(np.searchsorted(group, group[end]))
        part = slice(start, end)
        number = np.where(np.isnan(score[part]), -np.inf, score[part]).astype(np.float32)
        bits = (number + np.float32(0)).view(np.uint32)  # + 0: -0 is 0
        descending = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)
        place_of_group = (group[part] - group[start]).astype(np.uint64)
        key = place_of_group << np.uint64(54) | descending << np.uint64(22) | np.arange(end - start, dtype=np.uint64)
        key.sort()
        order = (key & np.uint64((1 << 22) - 1)).astype(np.int64)
        first, new = starts(group[part])  # the groups' rows are where they were
        place[start + order] = np.arange(end - start) - first[new] + 1
        start = end
    return place
