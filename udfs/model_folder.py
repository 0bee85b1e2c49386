"""Writing a model folder: an encoder as safetensors, what else belongs to the model, and a manifest of hashes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from udfs import encoder, text_vectors


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to fill; at the end it gets a manifest and is renamed to `output`, so nobody reads half a model."""
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
    settings: encoder.Settings,
    adapter: dict[str, Any] | None = None,
    frozen_adapter: dict[str, Any] | None = None,
    layers: int | None = None,
    known: Mapping[str, Any] | None = None,
) -> None:
    """Write one model folder: the base's config and tokenizer, new weights, settings, and last the manifest.

    adapter: its tensors (weight, bias) if the pooling is followed by one; frozen_adapter: those that go with the
    base's weights instead; layers: how many the weights have, where they are fewer than the base's; known: vectors that
    this encoder has given already, by text (udfs/text_vectors.py).
    """
    from safetensors.torch import save_file

    with new_folder(output) as folder:
        for name in (encoder.CONFIG, encoder.TOKENIZER):
            shutil.copyfile(base / name, folder / name)
        if layers:
            config = json.loads((folder / encoder.CONFIG).read_text("utf-8"))
            told = json.dumps(config | {"num_hidden_layers": layers}, indent=2)
            (folder / encoder.CONFIG).write_text(told + "\n", "utf-8")
        save_file({name: tensor.cpu() for name, tensor in weights.items()}, folder / encoder.WEIGHTS)
        for file, tensors in ((encoder.ADAPTER, adapter), (encoder.FROZEN_ADAPTER, frozen_adapter)):
            if tensors is not None:
                save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / file)
        if known:
            text_vectors.write(folder, list(known), np.stack(list(known.values())))
        (folder / encoder.SETTINGS).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")


def write_manifest(folder: Path) -> None:
    """Write the SHA-256 of every file of the folder into its manifest."""
    hashes = {path.name: encoder.sha256(path) for path in sorted(folder.iterdir()) if path.name != encoder.MANIFEST}
    (folder / encoder.MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n", "utf-8")
