"""The encoder that is served: as it was trained ("full"), or its distillation with 8-bit products ("small")."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

from udfs.encoder import distil, encoder, model_folder

ServedEncoder: TypeAlias = Literal["full", "small"]
Figures: TypeAlias = dict[str, float]

SMALL = distil.DistilSettings(layers=3, steps=400)  # as measured in docs/performance.md, "Smaller encoders"
INT8_CHECKED = 1_000  # texts on which the 8-bit encoder is compared


def folder_to_serve(
    full: Path, texts: list[str], kind: ServedEncoder, seed: int, say: Callable[[str], None]
) -> tuple[Path, Figures]:
    """The model folder to serve for the encoder in `full`, and the figures of how near its vectors are.

    texts: what the small encoder may learn from. It is written beside `full`, and only once: distilled to three layers
    (one less than a base of three layers or fewer has; a base of one layer keeps it), then rounded to 8 bits.
    """
    if kind == "full":
        return full, {}
    source, figures = full, Figures()
    layers = min(SMALL.layers, _layers(full) - 1)
    if layers:
        source, distilled = _once(
            full.with_name(f"{full.name}-{layers}-layers"), _student(full, texts, layers, seed, say), say
        )
        figures |= distilled
    folder, rounded = _once(source.with_name(f"{source.name}-int8"), _rounded(source, texts), say)
    return folder, figures | rounded


def _layers(folder: Path) -> int:
    return int(json.loads((folder / model_folder.CONFIG).read_text("utf-8"))["num_hidden_layers"])


def _student(
    full: Path, texts: list[str], layers: int, seed: int, say: Callable[[str], None]
) -> Callable[[Path], Figures]:
    settings = distil.DistilSettings(layers=layers, steps=SMALL.steps)

    def write(output: Path) -> Figures:
        report = distil.distil(texts, full, output, settings=settings, seed=seed, log=say)
        return {f"distilled_{name}": float(value) for name, value in asdict(report).items()}

    return write


def _rounded(source: Path, texts: list[str]) -> Callable[[Path], Figures]:
    def write(output: Path) -> Figures:
        from udfs.encoder.int8 import write_int8

        write_int8(source, output)
        checked = texts[:: max(1, len(texts) // INT8_CHECKED)]
        before, after = (
            model.encode(checked, model.settings.max_item_tokens)
            for model in map(encoder.load_encoder, (source, output))
        )
        return {"int8_cosine": float((before * after).sum(axis=1).mean())}

    return write


def _once(output: Path, write: Callable[[Path], Figures], say: Callable[[str], None]) -> tuple[Path, Figures]:
    """The folder and its figures, which are stored beside it; written only where these figures are missing."""
    import torch

    note = output.with_name(f"{output.name}.json")
    if note.is_file():
        say(f"this encoder is there already: {output.name}")
        return output, json.loads(note.read_text("utf-8"))
    shutil.rmtree(output, ignore_errors=True)  # without its note: the training was killed while it was written
    torch.set_num_threads(os.cpu_count() or 1)
    say(f"encoder to be served: {output.name}")
    figures = write(output)
    half = note.with_suffix(".tmp")
    half.write_text(json.dumps(figures), "utf-8")
    half.replace(note)
    return output, figures
