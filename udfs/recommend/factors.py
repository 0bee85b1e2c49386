"""Factors of a score: which groups of features raised or lowered it, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa

from udfs.interactions import Floats
from udfs.recommend import ranker
from udfs.recommend.feature_meanings import GROUPS, group_of
from udfs.recommend.ranker import Doubles, Ranker

NAMES: Final = tuple(GROUPS)
OTHER, BASE = "other", "base"  # the groups that are not named, and what all rows of a model have in common
NAMED = 4  # groups of a row that are named
DECIMALS = 4  # of a named group: few different values compress well; `other` has what rounding takes


@dataclass(frozen=True)
class Factors:
    """Raw scores of rows and what they are the sum of: [rows, NAMES] by group, and `base`, the same in every row."""

    raw: Doubles
    groups: Doubles
    base: float

    def to_arrow(self) -> pa.Array:
        """Of each row (name, value): its NAMED largest groups, largest magnitude first, then OTHER, then BASE.

        Their sum is that of all groups and the base, but for rounding of floating point.
        """
        rows = len(self.raw)
        order = np.argsort(-np.abs(self.groups), axis=1, kind="stable")[:, :NAMED]
        top = np.take_along_axis(self.groups, order, axis=1).round(DECIMALS)
        other = _added(self.groups) - _added(top)
        value = np.column_stack([top, other, np.full(rows, self.base)])
        last = np.tile([len(NAMES), len(NAMES) + 1], (rows, 1))
        names = pa.array([*NAMES, OTHER, BASE]).take(pa.array(np.hstack([order, last]).ravel()))
        pairs = pa.StructArray.from_arrays([names, pa.array(value.ravel())], ["name", "value"])
        ends = np.arange(rows + 1, dtype=np.int32) * value.shape[1]
        return pa.ListArray.from_arrays(pa.array(ends), pairs)


def factors(fitted: Ranker, features: Floats, threads: int = 1) -> Factors:
    """The factors of each row of `features` [rows, fitted.names], and its raw score, computed apart from them."""
    parts = ranker.contributions(fitted, features, threads)
    groups = np.zeros((len(parts), len(NAMES)))
    for place, name in enumerate(fitted.names):
        groups[:, NAMES.index(group_of(name))] += parts[:, place]
    return Factors(ranker.raw_score(fitted, features, threads), groups, float(parts[0, -1]) if len(parts) else 0.0)


def _added(columns: Doubles) -> Doubles:
    """[rows]: the sum of the columns from left to right: the last bits of a row do not depend on the other rows."""
    return reduce(np.add, columns.T)
