"""Writes the base weights as a model folder of half the size, 44 MiB, to take to a machine that cannot fetch them.

python -m bench.half_weights build/half
python -m bench.encode --weights build/half --file texts.txt --device cuda
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from udfs.encoder import base_model, model_folder


def write(folder: Path) -> None:
    """The base weights as float16: of a text's vector that changes the fourth decimal of a cosine at most."""
    from safetensors.torch import load_file, save_file

    base = base_model.base_folder()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = load_file(base / model_folder.WEIGHTS).items()
    save_file(
        {name: value.half() if value.is_floating_point() else value for name, value in tensors},
        folder / model_folder.WEIGHTS,
    )
    for name in (model_folder.CONFIG, model_folder.TOKENIZER):
        shutil.copyfile(base / name, folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]))
