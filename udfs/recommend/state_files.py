"""The state of scoring as NumPy files: written once a run, mapped into memory by every process that scores.

Processes of one machine share the pages that they read. Files come as pieces, so that whoever passes them on holds
no more than one piece.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.catalogue import Catalogue
from udfs.recommend.generators import REASON_NEIGHBOURS
from udfs.recommend.item_models import VOTES, ItemModels
from udfs.recommend.scoring import State

PIECE_BYTES = 16 << 20
# Of neighbours, scoring reads the strongest of ItemKNN by item, and all transposed: as votes of own items.
CUT = ("neighbours", "similarities")
TRANSPOSED = (
    *("next_neighbours", "next_similarities", "basket_neighbours", "basket_similarities"),
    *("ease_neighbours", "ease_weights"),
)
PARTS = ("data", "indices", "indptr")


def pieces(state: State) -> Iterator[tuple[str, int, bytes]]:
    """File name, offset and content of every piece of the files."""
    for name, array in _arrays(state):
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        content = stream.getbuffer()
        for start in range(0, len(content), PIECE_BYTES):
            yield f"{name}.npy", start, bytes(content[start : start + PIECE_BYTES])


def write(state: State, folder: Path) -> None:
    """Write the files into a new folder."""
    folder.mkdir(parents=True)
    for name, array in _arrays(state):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


@lru_cache(maxsize=1)
def read(folder: str) -> State:
    """The state in a folder of these files, mapped into memory; without the arrays of TRANSPOSED (see `votes`)."""

    def mapped(name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)  # the mapping stays; a memmap costs time at every operation

    known = Catalogue(**{name: mapped(f"catalogue_{name}") for name in Catalogue.__dataclass_fields__})
    names = [field.name for field in fields(ItemModels)]
    nothing: npt.NDArray[Any] = np.empty((0, 0), np.int32)
    models = ItemModels(**{name: nothing if name in TRANSPOSED else mapped(name) for name in names})
    shape = (models.fitted, models.fitted)
    votes = {name: sp.csr_matrix(tuple(mapped(f"votes_{name}_{part}") for part in PARTS), shape) for name in VOTES}
    vars(models)["votes"] = votes  # in place of the cached property's own computation
    return State(known, models)


def _arrays(state: State) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    for name in Catalogue.__dataclass_fields__:
        yield f"catalogue_{name}", getattr(state.catalogue, name)
    for field in fields(ItemModels):
        if field.name not in TRANSPOSED:
            array = getattr(state.models, field.name)
            if field.name in CUT:  # in the form in which they are multiplied
                array = array[:, :REASON_NEIGHBOURS].astype(np.int32 if field.name == "neighbours" else np.float32)
            yield field.name, array
    for name, votes in state.models.votes.items():
        for part in PARTS:
            yield f"votes_{name}_{part}", getattr(votes, part)
