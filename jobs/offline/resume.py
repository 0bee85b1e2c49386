"""One result is a training's workplace: a folder in which one that was killed left how far it got."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import udfs
from jobs.offline.training_data import Shop
from udfs.interactions import ARRAYS


@contextlib.contextmanager
def workplace(root: Path | None, name: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A folder below `root` for the training of this name and these facts; gone once it ends well.

    It holds what an equal training left there that was killed; what one of other facts left under the name is removed.
    Without a root: a temporary folder, gone in any case. One training of a name at a time.
    """
    if root is None:
        with tempfile.TemporaryDirectory(prefix="nightshelf-") as scratch:
            yield Path(scratch)
        return
    told = json.dumps(facts, default=str, sort_keys=True)
    place = root / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    for other in root.glob(f"{name}-*"):
        if other != place:
            shutil.rmtree(other)
    place.mkdir(parents=True, exist_ok=True)
    (place / "facts.json").write_text(told, "utf-8")  # for a person who wonders why it was not resumed
    yield place
    shutil.rmtree(place)
    with contextlib.suppress(OSError):  # another training's is there
        root.rmdir()


def code(code_version: str) -> str:
    """The version of the code, with the hash of the files that fit models: a commit misses what is not committed."""
    files = sorted(Path(udfs.__path__[0]).rglob("*.py"))
    return f"{code_version} {hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()}"


def data(shop: Shop) -> str:
    """The hash of all purchases and texts of a shop."""
    lines = shop.interactions
    found = hashlib.sha256(json.dumps([shop.texts, lines.users.tolist(), lines.items.tolist()]).encode())
    for name in ARRAYS:
        found.update(getattr(lines, name).tobytes())
    return found.hexdigest()
