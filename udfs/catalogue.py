"""The catalogue as arrays: attributes, description days and text vectors of items."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import NEVER
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions, days_of

Halves = npt.NDArray[np.float16]

ATTRIBUTES = ("category", "brand", "title")
LISTING = ("described_on", "listed_on", "last_listed_on", "active")  # the first without a null; see catalogue_of


@dataclass(frozen=True)
class Catalogue:
    """Attributes of items, without their sales; every array follows `items`, ids in ascending order.

    attributes: [items, ATTRIBUTES] codes, -1 where unknown; described: day of the first description, days since
    1970-01-01; vectors: float16 [different texts, dims], with vector_of the row of each item, -1 where it has none;
    inactive_from: [items] the first day from which a run may not recommend the item, NEVER for an active one; empty
    where all are active.
    """

    items: npt.NDArray[np.str_]
    attributes: Codes
    described: Codes
    vectors: Halves
    vector_of: Codes
    inactive_from: Codes = field(default_factory=lambda: np.zeros(0, np.int32))

    def inactive(self, day: int) -> npt.NDArray[np.int64]:
        """Codes of the items that the run before `day` may not recommend."""
        return np.flatnonzero(self.inactive_from <= day)

    def __len__(self) -> int:
        """Items."""
        return len(self.items)

    def item_vectors(self) -> Floats:
        """float32 [items, dims]; zeros where an item has no vector."""
        if not len(self.vectors):
            return np.zeros((len(self.items), 0), np.float32)
        vectors: Floats = self.vectors.astype(np.float32)[self.vector_of]
        vectors[self.vector_of < 0] = 0
        return vectors

    def take(self, codes: npt.NDArray[np.integer], /, *, axis: int = 0) -> Floats:
        """float32 [codes, dims]: the vectors of these items; zeros where one has none. No other vectors are read."""
        row = self.vector_of.take(codes, axis=axis)
        vectors: Floats = self.vectors[np.maximum(row, 0)].astype(np.float32)
        vectors[row < 0] = 0
        return vectors

    def with_vectors(self, vectors: npt.NDArray[np.floating], vector_of: Codes) -> Catalogue:
        """The same items with these vectors, rounded to how they are stored."""
        return replace(self, vectors=vectors.astype(np.float16), vector_of=vector_of)

    def listed_ahead(self, interactions: Interactions, day: int) -> Catalogue:
        """As if the items first sold in the horizon from `day` had been described the day before it.

        interactions: purchases up to the end of that horizon, with the catalogue's item codes.
        """
        first = np.full(len(self.items), np.iinfo(np.int32).max)
        np.minimum.at(first, interactions.item, interactions.day)
        coming = (first >= day) & (first < day + HORIZON_DAYS)
        return replace(self, described=np.where(coming, day - 1, self.described).astype(np.int32))


def catalogue_of(items: pd.DataFrame) -> Catalogue:
    """From item_id (unique), category, brand, title, described_on and, if present, vector (binary float16).

    If present, `listed_on` takes precedence over described_on, and an item whose `active` is false is inactive from the
    day after its `last_listed_on`: runs up to that day had it.

    An attribute in which most items differ identifies items, not kinds of items, and counts as unknown.
    """
    items = items.sort_values("item_id", ignore_index=True)
    codes = np.full((len(items), len(ATTRIBUTES)), -1, np.int32)
    for place, name in enumerate(ATTRIBUTES):
        code, kinds = pd.factorize(items[name], sort=True)
        if len(kinds) * 2 <= len(items):
            codes[:, place] = code
    first = items["described_on"]
    if "listed_on" in items:
        first = items["listed_on"].where(items["listed_on"].notna(), first)
    inactive = np.full(len(items), NEVER, np.int32)
    if "active" in items:
        off = items["active"].eq(False).to_numpy()
        last = items["last_listed_on"].where(items["last_listed_on"].notna(), items["described_on"])
        inactive[off] = days_of(last[off]) + 1
    vector_of, cells = np.full(len(items), -1, np.int32), []
    if "vector" in items:
        code, distinct = pd.factorize(items["vector"])
        vector_of, cells = code.astype(np.int32), list(distinct)
    dims = len(cells[0]) // 2 if cells else 0
    vectors = np.frombuffer(b"".join(cells), "<f2").reshape(len(cells), dims)
    ids = np.asarray(items["item_id"], dtype=np.str_)
    return Catalogue(ids, codes, days_of(first), vectors, vector_of, inactive)
