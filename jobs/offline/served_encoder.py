"""One result is the encoder that is served in place of a full one: itself, one of fewer layers, of 8-bit products."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

from schemas.errors import ConfError
from udfs.encoder import distil, encoder, model_folder

Format: TypeAlias = Literal["safetensors", "onnx-int8"]
Figures: TypeAlias = dict[str, float]

INT8_CHECKED = 1_000  # texts on which the 8-bit encoder is compared


def check_layers(layers: int) -> None:
    """ConfError unless an encoder of so many layers (0: all) can be made of the base."""
    whole = json.loads((model_folder.base_folder() / model_folder.CONFIG).read_text("utf-8"))["num_hidden_layers"]
    if not 0 <= layers < whole:
        raise ConfError(
            f"[jobs.train_model] served_layers: 0 for the encoder as it is trained, or 1 to {whole - 1} of its "
            f"{whole} layers, not {layers}"
        )


def served_encoder(
    full: Path, texts: list[str], layers: int, form: Format, steps: int, seed: int, say: Callable[[str], None]
) -> tuple[Path, Figures]:
    """The folder to read in place of `full`, and how near its vectors are; written beside `full`, and only once.

    texts: what it may learn from. layers 0: not distilled. The full encoder's own folder where nothing is asked.
    """
    folder = full
    figures: Figures = {}
    if layers:
        settings = distil.DistilSettings(layers=layers, steps=steps)

        def student(output: Path) -> Figures:
            report = distil.distil(texts, full, output, settings=settings, seed=seed, log=say)
            return {f"distilled_{name}": float(value) for name, value in asdict(report).items()}

        folder, told = _once(full.with_name(f"{full.name}-{layers}-layers"), student, say)
        figures |= told
    if form == "onnx-int8":
        from udfs.encoder.int8 import write_int8

        source = folder

        def rounded(output: Path) -> Figures:
            write_int8(source, output)
            checked = texts[:: max(1, len(texts) // INT8_CHECKED)]
            before, after = (
                model.encode(checked, model.settings.max_item_tokens)
                for model in map(encoder.load_encoder, (source, output))
            )
            return {"int8_cosine": float((before * after).sum(axis=1).mean())}

        folder, told = _once(source.with_name(f"{source.name}-int8"), rounded, say)
        figures |= told
    return folder, figures


def _once(output: Path, make: Callable[[Path], Figures], say: Callable[[str], None]) -> tuple[Path, Figures]:
    """The folder and what was told of it; made only if it is not there with that."""
    import torch

    note = output.with_name(f"{output.name}.json")
    if note.is_file():
        say(f"this encoder is there already: {output.name}")
        return output, json.loads(note.read_text("utf-8"))
    shutil.rmtree(output, ignore_errors=True)  # without its note: killed just then
    torch.set_num_threads(os.cpu_count() or 1)
    say(f"encoder to be served: {output.name}")
    figures = make(output)
    half = note.with_suffix(".tmp")
    half.write_text(json.dumps(figures), "utf-8")
    half.replace(note)
    return output, figures
