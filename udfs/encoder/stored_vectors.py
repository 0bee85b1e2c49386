"""Vectors as tables store them: one binary cell a row, little-endian float16."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from udfs.interactions import Floats


def to_bytes(vectors: npt.NDArray[np.floating]) -> list[bytes]:
    """One binary cell per row: the row as little-endian float16, 2 x dims bytes."""
    rows, dims = vectors.shape
    data = np.ascontiguousarray(vectors, dtype="<f2").tobytes()
    return [data[2 * dims * row : 2 * dims * (row + 1)] for row in range(rows)]


def from_bytes(cells: Iterable[bytes], dims: int) -> Floats:
    """One row per binary cell: float32 [len(cells), dims]. Raises ValueError on a cell of another length."""
    return stored_rows(cells, dims).astype(np.float32)


def stored_rows(cells: Iterable[bytes], dims: int) -> npt.NDArray[np.float16]:
    """The same as stored: float16."""
    rows = list(cells)
    wrong = next((row for row, cell in enumerate(rows) if len(cell) != 2 * dims), None)
    if wrong is not None:
        raise ValueError(f"vector {wrong} has {len(rows[wrong])} bytes; {dims} float16 take {2 * dims}")
    return np.frombuffer(b"".join(rows), "<f2").reshape(-1, dims)
