"""A model folder: the names and hashes of its files, checked when it is read, complete when it is written.

Importing this module needs the standard library alone: a run that checks a folder loads no encoder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

CONFIG, TOKENIZER, WEIGHTS, SETTINGS = "config.json", "tokenizer.json", "model.safetensors", "encoder.json"
INT8 = "model.onnx"  # instead of WEIGHTS
MANIFEST, ADAPTER, FROZEN_ADAPTER = "manifest.json", "adapter.safetensors", "frozen_adapter.safetensors"
# A user tower beside the item encoder's files; without them the mean vector serves.
USER_WEIGHTS, USER_SETTINGS = "user_encoder.safetensors", "user_encoder.json"
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})


# Of the products of an encoder: what the chip does best ("auto"), or what training has chosen for a served model.
Form = Literal["auto", "float32", "bfloat16", "int8"]


class ModelError(ValueError):
    """One model folder that cannot be trusted or read: which file, what was expected, what to do."""


@dataclass(frozen=True)
class Settings:
    """Settings of one model, in encoder.json: where texts are cut ([CLS], [SEP] count) and what a vector is.

    form: the numeric form of a served model's products, on any machine.
    """

    name: str
    dims: int
    max_item_tokens: int = 32
    pooling: Literal["mean"] = "mean"
    normalised: Literal[True] = True
    form: Form = "auto"


def weights_file(folder: Path) -> Path:
    """Where a folder's weights are: INT8 if it is there, else WEIGHTS. ModelError where both are."""
    if not (folder / INT8).is_file():
        return folder / WEIGHTS
    if (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder} holds both {WEIGHTS} and {INT8}; one expected: copy the model again")
    return folder / INT8


def check_files(folder: Path) -> None:
    """Raise ModelError unless weights are safetensors or ONNX and each sha256 is the one in the manifest, if any."""
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise ModelError(f"{folder} holds {', '.join(pickles)}: a pickle can run code; only {WEIGHTS} and {INT8} load")
    required = (CONFIG, TOKENIZER, weights_file(folder).name)
    absent = [name for name in required if not (folder / name).is_file()]
    if absent:
        raise ModelError(f"model folder {folder} lacks {', '.join(absent)}")
    if not (folder / MANIFEST).is_file():
        return
    expected: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
    others = (SETTINGS, ADAPTER, FROZEN_ADAPTER, USER_WEIGHTS, USER_SETTINGS)
    unlisted = [n for n in (*required, *others) if (folder / n).is_file() and n not in expected]
    if unlisted:
        raise ModelError(f"{folder / MANIFEST} does not list {', '.join(unlisted)}; copy the model again")
    for name, wanted in expected.items():
        expect_sha256(folder / name, wanted, f"{MANIFEST} says", "copy the model again")


def expect_sha256(path: Path, wanted: str, source: str, advice: str) -> None:
    """Raise ModelError unless the file has this SHA-256, which `source` declares."""
    actual = sha256(path) if path.is_file() else "no such file"
    if actual != wanted:
        raise ModelError(f"{path}: sha256 is {actual}, {source} {wanted}; {advice}")


def sha256(path: Path) -> str:
    """One file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to fill; at the end it gets a manifest and is renamed to `output`, so no model is read half-written."""
    folder = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    folder.mkdir(parents=True)
    try:
        yield folder
        write_manifest(folder)
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_model(
    weights: dict[str, Any],
    base: Path,
    output: Path,
    settings: Settings,
    adapter: dict[str, Any] | None = None,
    frozen_adapter: dict[str, Any] | None = None,
    layers: int | None = None,
    known: Mapping[str, Any] | None = None,
) -> None:
    """Write one model folder: the base's config and tokenizer, new weights, settings, and last the manifest.

    adapter: its tensors (weight, bias) if the pooling is followed by one; frozen_adapter: those that go with the
    base's weights instead; layers: how many the weights have, where they are fewer than the base's; known: vectors that
    this encoder has given already, by text (text_vectors.py).
    """
    import numpy as np
    from safetensors.torch import save_file

    from udfs.encoder import text_vectors  # which builds on this module

    with new_folder(output) as folder:
        for name in (CONFIG, TOKENIZER):
            shutil.copyfile(base / name, folder / name)
        if layers:
            config = json.loads((folder / CONFIG).read_text("utf-8"))
            config_json = json.dumps(config | {"num_hidden_layers": layers}, indent=2)
            (folder / CONFIG).write_text(config_json + "\n", "utf-8")
        save_file({name: tensor.cpu() for name, tensor in weights.items()}, folder / WEIGHTS)
        for file, tensors in ((ADAPTER, adapter), (FROZEN_ADAPTER, frozen_adapter)):
            if tensors is not None:
                save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / file)
        if known:
            text_vectors.write(folder, list(known), np.stack(list(known.values())))
        (folder / SETTINGS).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")


def record_form(folder: Path, form: Form) -> None:
    """Write into encoder.json in which form the model is served, before the manifest is written."""
    path = folder / SETTINGS
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"form": form}, indent=2) + "\n", "utf-8")


def write_manifest(folder: Path) -> None:
    """Write the SHA-256 of every file of the folder into its manifest."""
    hashes = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n", "utf-8")
