"""Calibration against plain Python, and its interval over users."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.evaluation.calibration import bins_of, calibration
from udfs.evaluation.metrics import Bootstrap


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), st.booleans()), min_size=1, max_size=40))
def test_error_equals_plain_python(pairs: list[tuple[float, bool]]) -> None:
    said, bought = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    ordered = sorted(said)
    edges = sorted({ordered[number * len(ordered) // 10] for number in range(10)})
    members: dict[float, list[int]] = {}
    for row, value in enumerate(said):
        members.setdefault(max(edge for edge in edges if edge <= value), []).append(row)
    off = sum(abs(sum(said[rows]) - sum(bought[rows])) for rows in members.values())
    found = calibration(said, bought, np.arange(len(said)), Bootstrap(len(said), draws=50))
    assert found.error.value == pytest.approx(off / len(said))
    ratios = [sum(bought[members[edge]]) / sum(said[members[edge]]) for edge in sorted(members)]
    assert [ratio.value for ratio in found.ratios] == pytest.approx(ratios)


def test_bins_hold_equally_many_rows() -> None:
    value = np.random.default_rng(1).permutation(1_000) / 1_000
    assert np.bincount(bins_of(value)).tolist() == [100] * 10


def test_users_are_resampled_and_not_rows() -> None:
    """Each user buys all of their rows or none: twenty rows say no more than one."""
    draw = np.random.default_rng(2)
    user = np.repeat(np.arange(100), 20)
    said, bought = np.full(2_000, 0.5), np.repeat(draw.random(100) < 0.5, 20)
    found = calibration(said, bought, user, Bootstrap(100)).ratios[0]
    alone = calibration(said, bought, np.arange(2_000), Bootstrap(2_000)).ratios[0]
    assert found.value == alone.value
    assert found.high - found.low > 3 * (alone.high - alone.low)
    assert (found.user_count, alone.user_count) == (100, 2_000)


def test_a_calibrated_score_has_little_error_and_a_raised_one_much() -> None:
    draw = np.random.default_rng(3)
    true, user = draw.beta(1, 4, 20_000), np.repeat(np.arange(1_000), 20)
    bought = draw.random(20_000) < true
    sound, raised = (calibration(said, bought, user, Bootstrap(1_000)) for said in (true, 1.67 * true))
    assert sound.error.value < 0.01 < raised.error.low
    assert all(ratio.low <= 1 <= ratio.high or abs(ratio.value - 1) < 0.3 for ratio in sound.ratios)
    assert all(ratio.value < 0.75 for ratio in raised.ratios[1:])
