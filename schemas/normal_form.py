"""Text of a deployment file in Unicode's normal form C, in which fields of raw files are read. No Spark."""

from __future__ import annotations

import unicodedata
from typing import Any

AS_NAMED = {"lake", "landing", "spark", "checkpoints", "files", "day"}  # paths: names of folders stay as they are


def composed(value: Any) -> Any:
    """A value of a TOML file with all texts in normal form C, keys too, but for those of AS_NAMED."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [composed(each) for each in value]
    if isinstance(value, dict):
        return {composed(key): each if key in AS_NAMED else composed(each) for key, each in value.items()}
    return value
