"""A fitted sentiment model as its folder has it in model.json, beside the encoder: the head and the aspects."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from udfs import json_model
from udfs.sentiment.aspects import Lexicon
from udfs.sentiment.model import Head

VERSION = 1  # of the file; a run refuses another


@dataclass(frozen=True)
class SentimentModel:
    """What turns a clause's vector into sentiment, and its words into aspects."""

    head: Head
    lexicon: Lexicon

    def to_json(self) -> str:
        """As the folder has it."""
        return json.dumps({"version": VERSION, "head": asdict(self.head), "lexicon": asdict(self.lexicon)})


def from_json(text: str) -> SentimentModel:
    """What to_json wrote; ValueError for another version's."""
    values = json.loads(text)
    if values.get("version") != VERSION:
        raise ValueError(f"a sentiment model of version {VERSION} expected, not {values.get('version')}")
    head: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values["head"].items()
    }
    return SentimentModel(Head(**head), Lexicon(**values["lexicon"]))


@lru_cache(maxsize=2)
def read(folder: str) -> SentimentModel:
    """The model in a folder, cached per process."""
    return from_json((Path(folder) / json_model.FILE).read_text("utf-8"))
