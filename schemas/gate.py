"""[gate]: which new models runs may use, and whether a person approves what is unusual. No Spark."""

from __future__ import annotations

from pydantic import Field

from schemas.strict import Strict


class Gate(Strict):
    """A new model of recommendations may be so much worse than the best of the last promoted ones, and than a peer.

    margin: the share of their figure that it may lose; models: how many of the last promoted models are compared with.
    approval: a model that passed, and a run whose figures drift, wait for `make approve`.
    """

    approval: bool = False
    margin: float = Field(default=0.01, ge=0, le=1)
    models: int = Field(default=10, ge=1, le=100)
