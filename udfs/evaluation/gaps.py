"""Gaps between groups of users: how far a group's mean is from that of the others, and what could have been seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FEWEST_USERS: Final = 20  # a smaller group is not shown: its users could be recognised, and its mean is chance
Z: Final = 1.959963984540054  # of 95 %
Z_POWER: Final = 0.8416212335729143  # of 80 %


@dataclass(frozen=True)
class Gap:
    """Mean of a group less the mean of all others, with its 95 % interval (Welch).

    smallest: the least gap, in either direction, that so many users show beyond chance four times in five.
    """

    group: str
    users: int
    value: float
    low: float
    high: float
    smallest: float


def gaps(values: npt.NDArray[np.float64], groups: Sequence[str | None]) -> Iterator[Gap]:
    """The gap of each group with FEWEST_USERS and as many others, by name.

    values: a figure a user, NaN where there is none; groups: the group of each, None where it is not known. Users
    without either count nowhere.
    """
    known = np.array([group is not None for group in groups], bool) & ~np.isnan(values)
    names, figures = np.array([str(group) for group in groups], object)[known], values[known]
    for name in sorted(set(names)):
        mine = names == name
        group, others = figures[mine], figures[~mine]
        if min(len(group), len(others)) < FEWEST_USERS:
            continue
        error = math.sqrt(group.var(ddof=1) / len(group) + others.var(ddof=1) / len(others))
        value = float(group.mean() - others.mean())
        yield Gap(name, len(group), value, value - Z * error, value + Z * error, (Z + Z_POWER) * error)
