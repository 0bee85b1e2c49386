"""Models that are JSON (demand, audiences), as a run finds them in the folder of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyspark import SparkFiles

from schemas.errors import DataError
from schemas.run import Model
from udfs import json_model

Fitted = TypeVar("Fitted")


def applied(model: Model, read: Callable[[str], Fitted]) -> Fitted:
    """The model that a run applies. DataError where this version cannot read it."""
    try:
        return read(_text(model, json_model.FILE) or "")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"model {model.version}: {error}. Train anew (make train), or take it back, so that runs use the one "
            "before it or fit one themselves "
            f"(make sql Q=\"UPDATE ops.models SET promoted = false WHERE model_version = '{model.version}'\")"
        ) from None


def judged(model: Model | None, read: Callable[[str], Fitted]) -> Fitted | None:
    """The model that a new one is compared with; None without a model in use that this version can read."""
    text = _text(model, json_model.JUDGED) if model else None
    try:
        return read(text) if text else None
    except (TypeError, ValueError):
        return None


def _text(model: Model, name: str) -> str | None:
    file = Path(SparkFiles.get(model.file_name)) / name
    return file.read_text("utf-8") if file.is_file() else None
