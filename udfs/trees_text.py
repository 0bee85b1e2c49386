"""Text of LightGBM's trees as models store it."""

from __future__ import annotations

import re
from typing import Any

THREADS = re.compile(r"\[num_threads: \d+\]\n")  # the only line of a model's text that depends on the machine


def trees_text(booster: Any) -> str:
    """The text of a lightgbm.Booster; the same for any number of threads."""
    return THREADS.sub("", str(booster.model_to_string()))
