"""Base of the parts of a deployment file: keys and types are exact, a mistyped key is refused. No Spark."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all tables of a deployment file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
