"""Checkpoint of a training: tensors by name and a note, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Saved:
    """One checkpoint: tensors by name and a note."""

    tensors: dict[str, Any]
    note: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Any]:
        """The tensors under one prefix, without it."""
        return {n.removeprefix(f"{prefix}."): t for n, t in self.tensors.items() if n.startswith(f"{prefix}.")}


def write(path: Path | None, tensors: dict[str, Any], note: dict[str, Any]) -> None:
    """Write a checkpoint in place of the last one, complete or not at all; nothing where `path` is None."""
    if path is None:
        return
    from safetensors.torch import save_file

    scratch = path.with_name(f"{path.name}.tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, scratch, {"note": json.dumps(note)})
    scratch.replace(path)


def read(path: Path | None) -> Saved | None:
    """The checkpoint at `path`, if there is one."""
    if path is None or not path.is_file():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return Saved({name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["note"]))  # noqa: SIM118
