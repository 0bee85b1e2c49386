"""Checkpoint folder of a training: the progress of one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import udfs
from jobs.offline.training_data import Shop
from schemas.errors import BusyError
from udfs.interactions import ARRAYS

LOCK = "lock"


def _at_once(end: Callable[[bool], None]) -> None:
    end(True)


@contextlib.contextmanager
def workplace(
    root: Path | None,
    name: str,
    facts: Mapping[str, Any],
    at_end: Callable[[Callable[[bool], None]], None] = _at_once,
) -> Iterator[Path]:
    """Checkpoint folder below `root` for a training of this name and these facts; removed once its model is committed.

    It holds the files of a killed training with equal facts; folders of other facts under the name are removed.
    `at_end` registers a callback for the end of the run, called with whether it has committed (RunContext.at_end).
    Without a root: a temporary folder, always removed. BusyError if another training of the name is running.
    """
    if root is None:
        with tempfile.TemporaryDirectory(prefix="nightshelf-") as scratch:
            yield Path(scratch)
        return
    facts_json = json.dumps(facts, default=str, sort_keys=True)
    place = root / f"{name}-{hashlib.sha256(facts_json.encode()).hexdigest()[:16]}"
    for other in root.glob(f"{name}-*"):
        if other != place:
            _leave(other, _locked(other), True)
    lock = _locked(place)
    (place / "facts.json").write_text(facts_json, "utf-8")  # to find out why a training was not resumed
    try:
        yield place
    except BaseException:
        lock.close()
        raise
    at_end(partial(_leave, place, lock))


def _locked(place: Path) -> IO[str]:
    """The lock of a checkpoint folder, which is created if missing; it is released when the process ends."""
    place.mkdir(parents=True, exist_ok=True)
    file = (place / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(file.fileno()), (place / LOCK).stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        file.close()
        raise BusyError(f"{place}: another training of this name is at work there; run this again when it has ended")
    return file


def _leave(place: Path, lock: IO[str], committed: bool) -> None:
    """Release a checkpoint folder, and delete it if the model was committed; else it stays for the next try."""
    if committed:
        gone = place.with_name(f"{place.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        place.rename(gone)  # atomic: the next training creates a folder of its own
        shutil.rmtree(gone)
        with contextlib.suppress(OSError):  # another training's folder is there
            place.parent.rmdir()
    lock.close()


def code(code_version: str) -> str:
    """The version of the code, with the hash of the files that fit models: a commit id misses uncommitted changes."""
    files = sorted(Path(udfs.__path__[0]).rglob("*.py"))
    return f"{code_version} {hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()}"


def data(shop: Shop) -> str:
    """The hash of all purchases and texts of a shop."""
    lines = shop.interactions
    digest = hashlib.sha256(json.dumps([shop.texts, lines.users.tolist(), lines.items.tolist()]).encode())
    for name in ARRAYS:
        digest.update(getattr(lines, name).tobytes())
    return digest.hexdigest()
