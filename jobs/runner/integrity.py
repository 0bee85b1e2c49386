"""Integrity of a lake: a table's newest commit, a model's folder. No Spark: bytes and files."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from udfs import json_model
from udfs.encoder.model_folder import MANIFEST, ModelError, sha256, weights_file


class NotWholeError(Exception):
    """A file that is torn, missing or changed; the caller, who knows the table or model, adds what to do."""


def check_commit(content: bytes) -> None:
    """NotWholeError unless every line of a Delta commit, the last one too, is a JSON object.

    Delta and other readers take an empty file for a commit that changed nothing: its rows are lost silently.
    """
    if not content.strip():
        raise NotWholeError(f"is empty ({len(content)} bytes)")
    lines = content.rstrip(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            action = json.loads(line)
        except ValueError:
            action = None
        if not isinstance(action, dict):
            raise NotWholeError(f"is torn: line {number} of {len(lines)} is no complete JSON object")


def how_to_mend(aside: str, commit: str, problem: str) -> str:
    """Instructions for a torn commit of a table: the user moves its files `aside`.

    Its checksum files must be moved too: one makes Delta fail as soon as the next commit has that number, the other
    makes Polars and deltalake fail at once. So must a checkpoint of that version and _last_checkpoint.
    """
    log, name = commit.removeprefix("file:").rsplit("/", 1)
    version = name.removesuffix(".json")
    then = f"is intact at version {int(version) - 1} then" if int(version) else "is not there then, and made anew"
    which = f"\\( -name '*{version}.*' -o -name '*_last_checkpoint*' \\)"
    folder, place = shlex.quote(log), shlex.quote(aside)
    how = f"mkdir -p {place} && find {folder} -maxdepth 1 {which} -exec mv -t {place} {{}} +"
    return (
        f"its newest commit {log}/{name} {problem}. It was not changed. Move all files of {log} with {version}. or "
        f"_last_checkpoint in their names to another folder, hidden ones too"
        f"{f': {how}' if log.startswith('/') else '.'}\nThe table {then}; run the night again"
    )


def check_model(folder: Path, weights_sha256: str) -> None:
    """NotWholeError unless every file that a model's manifest lists has its hash, and the weights the registry's."""
    try:
        listed: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
        weights = json_model.FILE if json_model.FILE in listed else weights_file(folder).name
    except FileNotFoundError:
        raise NotWholeError(f"{MANIFEST} is missing") from None
    except (ValueError, ModelError) as error:
        raise NotWholeError(f"{MANIFEST} cannot be read: {error}") from None
    for name, expected in listed.items():
        actual = sha256(folder / name) if (folder / name).is_file() else "no such file"
        if actual != expected:
            raise NotWholeError(f"{name}: {MANIFEST} expects sha256 {expected}, found {actual}")
    if listed.get(weights) != weights_sha256:
        raise NotWholeError(f"{weights}: ops.models expects sha256 {weights_sha256}, found {listed.get(weights)}")
