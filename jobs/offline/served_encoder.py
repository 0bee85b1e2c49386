"""The encoder that is served: as it was trained ("full") or its distillation ("small"), in a form fixed by training."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from udfs.encoder import distil, encoder, model_folder
from udfs.encoder.model_folder import Form

ServedEncoder: TypeAlias = Literal["full", "small"]
Figures: TypeAlias = dict[str, float]
Known: TypeAlias = Callable[[], dict[str, Any]]  # vectors by text

SMALL = distil.DistilSettings(layers=3, steps=400)  # as measured in docs/performance.md, "Smaller encoders"
INT8_CHECKED = 500  # texts on which the 8-bit encoder is compared
# Mean cosine of 8-bit vectors to those of the encoder as trained; below it, that one is served. Both before the
# adapter: that is learned over 8-bit vectors, and turns up directions in which the others differ.
LEAST_COSINE = 0.99


@dataclass(frozen=True)
class Served:
    """A model folder to serve, the form of its vectors, and figures of how near they are to those of the full one."""

    folder: Path
    form: Form
    figures: Figures


def form_to_serve(kind: ServedEncoder, *, on_gpus: bool) -> Form:
    """The fastest form that keeps the vectors, on the machines that this training serves; the night has no choice.

    On GPUs bfloat16. On CPUs bfloat16 where this chip multiplies it (executors are taken to be alike), else 8 bits; a
    small encoder always has 8 bits there.
    """
    if on_gpus or (kind == "full" and encoder.multiplies_bfloat16("cpu")):
        return "bfloat16"
    return "int8"


def folder_to_serve(
    full: Path,
    texts: list[str],
    kind: ServedEncoder,
    form: Form,
    seed: int,
    say: Callable[[str], None],
    known: Known = dict,
) -> Served:
    """What is served for the encoder in `full`; known: vectors of the full encoder in 8 bits, by text.

    texts: what a small encoder may learn from. What has to be computed is written beside `full`, and only once: a small
    one is distilled to three layers (one less than a base of three layers or fewer has; a base of one layer keeps it);
    what is served in 8 bits is rounded. A full encoder whose 8-bit vectors are too far away is served in float32.
    """
    source, figures = full, Figures()
    layers = min(SMALL.layers, _layers(full) - 1) if kind == "small" else 0
    if layers:
        source, distilled = _once(
            full.with_name(f"{full.name}-{layers}-layers"), _student(full, texts, layers, seed, say), say
        )
        figures |= distilled
    if form != "int8":
        return Served(source, form, figures)
    of_source = known if source == full else dict
    folder, rounded = _once(source.with_name(f"{source.name}-int8"), _rounded(source, texts, of_source), say)
    if kind == "full" and rounded["int8_cosine"] < LEAST_COSINE:
        say(f"8-bit vectors have a mean cosine of {rounded['int8_cosine']:.4f} only: served in float32")
        return Served(source, "float32", figures | rounded)
    return Served(folder, form, figures | rounded)


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


def _rounded(source: Path, texts: list[str], known: Known) -> Callable[[Path], Figures]:
    def write(output: Path) -> Figures:
        from udfs.encoder.int8 import write_int8

        write_int8(source, output, known())
        checked = texts[:: max(1, len(texts) // INT8_CHECKED)]
        models = [encoder.load_encoder(folder) for folder in (source, output)]
        models[1].use_threads(os.cpu_count() or 1)
        before, after = (model.plain(checked, model.settings.max_item_tokens) for model in models)
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
