"""Share of a text's tokens that the encoder does not know: texts in another script, emoji, codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from udfs.encoder import model_reader
from udfs.sentiment.model import Doubles

UNKNOWN = "[UNK]"
MOST = 0.3  # a clause with a larger share is left out of every figure: nothing is known of what it says


@lru_cache(maxsize=2)
def _tokenizer(folder: str) -> Any:
    return model_reader.read_tokenizer(Path(folder))


def shares(folder: str, texts: Sequence[str]) -> Doubles:
    """The share of each text [texts]; 1 for a text without a token."""
    tokenizer = _tokenizer(folder)
    unknown = tokenizer.token_to_id(UNKNOWN)
    tokenizer.no_truncation()
    found = np.ones(len(texts))
    for place, encoding in enumerate(tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)):
        if encoding.ids:
            found[place] = float(np.mean([token == unknown for token in encoding.ids]))
    return found
