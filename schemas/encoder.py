"""[encoder]: which BERT the trainings of a deployment start from."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import field_validator

from schemas.strict import Strict

DEFAULT = "default"


class EncoderConf(Strict):
    """`base`: "default" for the pinned weights, or a folder with config.json, tokenizer.json and model.safetensors."""

    base: str = DEFAULT

    @field_validator("base")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if not value.strip() or re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:", value):
            raise ValueError(
                f"{value!r} is no folder; download the model, and name the folder with its config.json, "
                f"tokenizer.json and model.safetensors, or {DEFAULT!r}"
            )
        return value

    def based_at(self, here: Path) -> EncoderConf:
        """The same with an absolute folder; a relative one is taken from `here`."""
        return self if self.base == DEFAULT else self.model_copy(update={"base": str((here / self.base).resolve())})
