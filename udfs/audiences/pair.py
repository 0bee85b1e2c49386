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
    """A model of conversions, and one of clicks where there were any to learn from."""

    conversion: AudienceModel
    click: AudienceModel | None

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(
            {"conversion": self.conversion.to_json(), "click": self.click.to_json() if self.click else None}
        )


def from_json(text: str) -> AudiencePair:
    """What `AudiencePair.to_json` wrote. Raises ValueError on anything else, and on a model of other features."""
    found = json.loads(text)
    if not isinstance(found, dict) or set(found) != {"conversion", "click"}:
        raise ValueError("this is no pair of audience models: train them again")
    pair = AudiencePair(
        audience.from_json(found["conversion"]), audience.from_json(found["click"]) if found["click"] else None
    )
    for each in (pair.conversion, pair.click):
        if each and not set(each.names) <= set(FEATURES):
            raise ValueError("this audience model reads other features than this version computes: train it again")
    return pair


def fit_pair(rows: pd.DataFrame) -> AudiencePair:
    """Both models of udfs.audiences.rows.TRAINED rows."""
    conversion = audience.fit(rows)
    assert conversion is not None  # that is for clicks alone
    return AudiencePair(conversion, audience.fit(rows, "clicked"))
