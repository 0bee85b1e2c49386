"""The base model of a deployment: what its trainings start from, and its evaluations compare with."""

from __future__ import annotations

from pathlib import Path

from schemas.deployment import Deployment
from schemas.errors import ConfError
from udfs.encoder.base_model import base_folder
from udfs.encoder.model_folder import ModelError


def base_of(deployment: Deployment) -> Path:
    """The checked folder of its `[encoder] base`. ConfError where that is no BERT that can be read."""
    try:
        return base_folder(deployment.encoder.base)
    except ModelError as error:
        raise ConfError(f"{deployment.file}: [encoder] base: {error}") from None
