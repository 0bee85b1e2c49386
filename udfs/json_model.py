"""A fitted model that is a dataclass of numbers, texts and tuples, from the JSON object that it was written as."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, Final, TypeVar

Model = TypeVar("Model")

FILE: Final = "model.json"  # in the folder of a model that is JSON: what a run applies
JUDGED: Final = "judged.json"  # beside it: the model that learned nothing of the held-out days, for later comparisons


def from_json(kind: type[Model], text: str, name: str, remedy: str) -> Model:
    """What `json.dumps(asdict(model))` wrote; lists are tuples again.

    A field with a default may be missing, as in a model of an earlier version. ValueError on other fields than its own.
    """
    values: dict[str, Any] = json.loads(text)
    known = fields(kind)  # type: ignore[arg-type]
    expected = sorted(field.name for field in known)
    needed = {field.name for field in known if field.default is MISSING}
    if not needed <= set(values) <= set(expected):
        raise ValueError(f"{name} has {expected}; found {sorted(values)}: {remedy}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
