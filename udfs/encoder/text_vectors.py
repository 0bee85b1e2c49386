"""Text vectors of a model folder: those that training has encoded with the served encoder, for no run to repeat.

Two files of equal length, one row per different text in the order of the keys: the text's MD5, and its vector as
float16. They are mapped into memory: a worker reads the pages of the texts that it looks up.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from udfs.encoder import encoder, model_folder

KEYS, VECTORS = "text_keys.npy", "text_vectors.npy"


@dataclass(frozen=True)
class TextVectors:
    """keys: the texts' MD5s, ascending and unique; vectors: float16 [keys, dims]."""

    keys: npt.NDArray[np.bytes_]
    vectors: npt.NDArray[np.float16]

    def find(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float16]]:
        """Which of the texts are known [texts], and their vectors [texts, dims], zeros where unknown."""
        vectors = np.zeros((len(texts), self.vectors.shape[1]), np.float16)
        if not len(self.keys):
            return np.zeros(len(texts), bool), vectors
        wanted = _keys(texts)
        row = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        known = np.asarray(self.keys[row] == wanted)
        vectors[known] = self.vectors[row[known]]
        return known, vectors


def _keys(texts: Sequence[str]) -> npt.NDArray[np.bytes_]:
    return np.array([hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in texts], "S16")


def write(folder: Path, texts: Sequence[str], vectors: npt.NDArray[np.floating]) -> None:
    """Write the vectors of texts [texts, dims] into a model folder, each text once, before its manifest is written."""
    keys, first = np.unique(_keys(texts), return_index=True)
    np.save(folder / KEYS, keys, allow_pickle=False)
    np.save(folder / VECTORS, np.asarray(vectors, np.float16)[first], allow_pickle=False)


@lru_cache(maxsize=2)
def read(folder: str) -> TextVectors | None:
    """What `write` wrote, cached per process; None for a folder without. ModelError where the manifest differs."""
    place = Path(folder)
    if not (place / VECTORS).is_file():
        return None
    listed: dict[str, str] = json.loads((place / model_folder.MANIFEST).read_text("utf-8"))
    for name in (KEYS, VECTORS):
        if not (place / name).is_file() or listed.get(name) != model_folder.sha256(place / name):
            raise model_folder.ModelError(
                f"{place / name} is not what {model_folder.MANIFEST} says; copy the model again"
            )
    keys, vectors = (np.load(place / name, mmap_mode="r", allow_pickle=False) for name in (KEYS, VECTORS))
    return TextVectors(keys, vectors)


def encode(folder: Path, texts: Sequence[str]) -> encoder.Floats:
    """One unit vector per text, float32 [texts, dims]: for texts in the folder the stored ones (float16).

    The others are encoded on all cores: for the driver, not for one of several workers.
    """
    stored = read(str(folder.resolve()))
    if stored is None:
        return _encoded(folder, texts)
    known, stored_rows = stored.find(texts)
    vectors = stored_rows.astype(np.float32)
    if not known.all():
        vectors[~known] = _encoded(folder, [text for text, is_known in zip(texts, known, strict=True) if not is_known])
    return vectors


def _encoded(folder: Path, texts: Sequence[str]) -> encoder.Floats:
    model = encoder.load_encoder(folder)
    model.use_threads(os.cpu_count() or 1)
    return model.encode(texts, model.settings.max_item_tokens)
