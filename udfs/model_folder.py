"""Writing a model folder: an encoder as safetensors, what else belongs to the model, and a manifest of hashes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from udfs import encoder


def write_model(
    weights: dict[str, Any],
    base: Path,
    output: Path,
    settings: encoder.Settings,
    adapter: dict[str, Any] | None = None,
    frozen_adapter: dict[str, Any] | None = None,
) -> None:
    """Write one model folder: the base's config and tokenizer, new weights, settings, and last the manifest.

    adapter: its tensors (weight, bias) if the pooling is followed by one; frozen_adapter: those that go with the
    base's weights instead.
    Everything is written beside `output` and renamed at the end, so a reader never sees half a model.
    """
    from safetensors.torch import save_file

    folder = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    folder.mkdir(parents=True)
    try:
        for name in (encoder.CONFIG, encoder.TOKENIZER):
            shutil.copyfile(base / name, folder / name)
        save_file({name: tensor.cpu() for name, tensor in weights.items()}, folder / encoder.WEIGHTS)
        for file, tensors in ((encoder.ADAPTER, adapter), (encoder.FROZEN_ADAPTER, frozen_adapter)):
            if tensors is not None:
                save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / file)
        (folder / encoder.SETTINGS).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")
        write_manifest(folder)
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Write the SHA-256 of every file of the folder into its manifest."""
    hashes = {path.name: encoder.sha256(path) for path in sorted(folder.iterdir()) if path.name != encoder.MANIFEST}
    (folder / encoder.MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n", "utf-8")
