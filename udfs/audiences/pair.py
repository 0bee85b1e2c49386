"""The two models of a shop's audiences: who converts, and who clicks."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from udfs.audiences import model as audience
from udfs.audiences.features import FEATURES
from udfs.audiences.model import AudienceModel


@dataclass(frozen=True)
class AudiencePair:
    """A model of conversions, and one of clicks if the training rows have any."""

    conversion: AudienceModel
    click: AudienceModel | None

    def to_json(self) -> str:
        """Both models as one JSON object."""
        return json.dumps(
            {"conversion": self.conversion.to_json(), "click": self.click.to_json() if self.click else None}
        )


def from_json(text: str) -> AudiencePair:
    """Models from the text of `AudiencePair.to_json`. ValueError on other text, and on a model with other features."""
    values = json.loads(text)
    if not isinstance(values, dict) or set(values) != {"conversion", "click"}:
        raise ValueError("this is no pair of audience models: train them again")
    pair = AudiencePair(
        audience.from_json(values["conversion"]), audience.from_json(values["click"]) if values["click"] else None
    )
    for each in (pair.conversion, pair.click):
        if each and not set(each.names) <= set(FEATURES):
            raise ValueError("this audience model reads other features than this version computes: train it again")
    return pair


def fit_pair(rows: pd.DataFrame) -> AudiencePair:
    """Both models of udfs.audiences.rows.TRAINED rows."""
    conversion = audience.fit(rows)
    assert conversion is not None  # only a model of clicks can be
    return AudiencePair(conversion, audience.fit(rows, "clicked"))
