"""Prices of runs by [prices]."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.prices import Prices


def test_a_price_is_of_cpu_seconds_and_of_memory_for_its_time() -> None:
    prices = Prices(core_hour=0.04, gib_hour=0.005)
    assert prices.of(7200, 3 * 2**30, 1800) == pytest.approx(0.04 * 2 + 0.005 * 3 / 2)


def test_without_prices_there_is_none() -> None:
    assert Prices().of(7200, 2**30, 60) is None


@pytest.mark.parametrize("wrong", [{"core_hour": -1.0}, {"core_hours": 1.0}, {"currency": ""}])
def test_a_wrong_price_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Prices.model_validate(wrong)
