"""A base model small enough for whole jobs in tests: the first layers of the pinned one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock

from udfs.encoder import base_model
from udfs.encoder.model_folder import CONFIG, TOKENIZER, WEIGHTS

LAYERS = ("encoder.layer.0.", "encoder.layer.1.")


@cache
def small_base() -> Path:
    """The folder of the base model, written once on a machine and checked once in a process."""
    from safetensors.numpy import load_file, save_file

    pinned = base_model.base_folder()
    folder = Path(tempfile.gettempdir()) / f"nightshelf-base-{base_model.BASE_SHA256[:12]}-{os.getuid()}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            scratch = Path(tempfile.mkdtemp(dir=folder.parent))
            weights = load_file(pinned / WEIGHTS)
            few = {name: weights[name] for name in weights if name.startswith(("embeddings.", *LAYERS))}
            save_file(few, scratch / WEIGHTS)
            config = json.loads((pinned / CONFIG).read_text()) | {"num_hidden_layers": len(LAYERS)}
            (scratch / CONFIG).write_text(json.dumps(config))
            shutil.copyfile(pinned / TOKENIZER, scratch / TOKENIZER)
            scratch.rename(folder)
    return folder
