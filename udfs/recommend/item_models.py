"""Item models: counts, neighbours and factors of items from the purchases before one day, without any user."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Codes, Floats
from udfs.recommend.item_statistics import REFERENCE_BUYERS, STATISTICS

Halves: TypeAlias = npt.NDArray[np.float16]
VOTES = ("knn", "next", "basket", "ease")  # generators that add up similarities of the user's items


@dataclass(frozen=True)
class FitSettings:
    """How item models are fitted; the defaults were tuned on validation cuts of two shops."""

    alive_days: int = 84  # an item is a candidate if it was sold in these days (or is in the catalogue given)
    neighbours: int = 100
    half_life: float = 120.0  # of a purchase's weight in ItemKNN, EASE and ALS, days
    shrinkage: float = 10.0  # users added to either item's count in the cosine
    next_neighbours: int = 200
    next_half_life: float = 20.0  # of the purchases that show what the buyers of an item turn to, days
    basket_neighbours: int = 50
    ease_items: int = 3_000  # EASE inverts a matrix of the most-bought items
    ease_neighbours: int = 100
    ease_ridge: float = 100.0
    factors: int = 64
    iterations: int = 10
    regularization: float = 30.0
    alpha: float = 5.0
    user_items: int = 500  # a user's items of most weight that count in ItemKNN and ALS: bounds the pairs
    # shrinkage, ease_ridge and regularization are for at most so many users. They grow with more: what is fitted on a
    # shop copied k times is what is fitted on the shop.
    reference_users: int = REFERENCE_BUYERS
    max_baskets: int = 400_000  # a sample beyond this

    def without(self, generators: Collection[str]) -> FitSettings:
        """The same without the neighbours that only these generators read (candidates.py); 0 of them is none."""
        return replace(self, **{f"{name}_neighbours": 0 for name in ("next", "basket", "ease") if name in generators})


@dataclass(frozen=True)
class ItemModels:
    """One row is one candidate item of the day; `items` has their codes: ascending, first of the items that were ever
    sold, then of the others.

    neighbours and those of next, basket and ease hold rows (not codes), strongest first, -1 where there is none; a row
    is no neighbour of itself. factors belong to implicit ALS, `gram` is their Y'Y. Of these arrays, which take
    kilobytes an item, an item never sold has no row.
    """

    day: npt.NDArray[np.int32]  # one number: models know purchases before it
    reference: Floats  # one number: buyers of the shop per buyer of one of REFERENCE_BUYERS
    items: Codes
    statistics: Floats  # [items, STATISTICS]
    attributes: Codes  # [items, kinds]: a code per kind of attribute, -1 where unknown
    neighbours: Codes
    similarities: Halves
    next_neighbours: Codes
    next_similarities: Halves
    basket_neighbours: Codes
    basket_similarities: Halves
    ease_neighbours: Codes
    ease_weights: Halves  # positive weights only
    factors: Floats
    gram: Floats
    confidence: Floats  # [alpha, regularization, half_life] of the fold-in

    def __len__(self) -> int:
        """Candidate items."""
        return len(self.items)

    @property
    def fitted(self) -> int:
        """Rows that have neighbours and factors: the first so many."""
        return len(self.neighbours)

    @cached_property
    def votes(self) -> dict[str, sp.csr_matrix]:
        """For each of VOTES [own items, items] of the fitted rows: the similarity of the own item to the item."""
        return {
            "knn": transposed(self.neighbours, self.similarities),
            "next": transposed(self.next_neighbours, self.next_similarities),
            "basket": transposed(self.basket_neighbours, self.basket_similarities),
            "ease": transposed(self.ease_neighbours, self.ease_weights),
        }

    def column(self, name: str) -> Floats:
        """One of STATISTICS, a number per candidate item."""
        return self.statistics[:, STATISTICS.index(name)]

    def rate(self, name: str) -> Floats:
        """A count of STATISTICS per REFERENCE_BUYERS of the shop, so that the shop's size does not matter."""
        rates: Floats = (self.column(name) / self.reference[0]).astype(np.float32)
        return rates

    def rows(self, codes: npt.NDArray[np.integer]) -> Codes:
        """The row of each item code, -1 where it is no candidate item."""
        rows = np.full(len(codes), -1, np.int32)
        for start, end in ((0, self.fitted), (self.fitted, len(self))):
            if start < end:
                place = start + np.searchsorted(self.items[start:end], codes)
                place = np.minimum(place, end - 1)
                found = self.items[place] == codes
                rows[found] = place[found]
        return rows

    def to_bytes(self) -> bytes:
        """All arrays in NumPy's own format, no pickle."""
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})
        return stream.getvalue()


def from_bytes(data: bytes) -> ItemModels:
    """What `to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return ItemModels(**{field.name: arrays[field.name] for field in fields(ItemModels)})


def transposed(rows: Codes, values: Halves) -> sp.csr_matrix:
    """[own items, items]: the similarity where the own item is among the item's neighbours."""
    is_neighbour = rows >= 0
    ends = np.concatenate([[0], np.cumsum(is_neighbour.sum(axis=1))])
    near = sp.csr_matrix(
        (values[is_neighbour].astype(np.float32), rows[is_neighbour], ends), shape=(len(rows), len(rows))
    )
    return near.T.tocsr()
