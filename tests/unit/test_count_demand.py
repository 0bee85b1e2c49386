"""Chances and quantiles of counts, against sums over SciPy's own distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from udfs.demand.counts import chance_of_more, quantile


def distribution(mean, dispersion):
    if dispersion <= 1:
        return stats.poisson(mean)
    return stats.nbinom(mean / (dispersion - 1), 1 / dispersion)


def brute(mean, dispersion, level):
    """The newsvendor's quantity by counting up."""
    demand, units = distribution(mean, dispersion), 0
    while demand.cdf(units) < level:
        units += 1
    return units


@settings(max_examples=150, deadline=None)
@given(
    mean=st.floats(1e-3, 90),
    dispersion=st.one_of(st.floats(0, 1), st.floats(1.01, 8)),
    level=st.sampled_from([0.05, 0.5, 0.8, 0.95, 0.975, 0.999]),
)
def test_the_quantile_is_the_first_number_of_units_that_covers_the_level(mean, dispersion, level) -> None:
    one = np.array([mean]), np.array([dispersion])
    units = quantile(*one, level)
    assert units.tolist() == [brute(mean, dispersion, level)]
    expected = distribution(mean, dispersion).sf(units)
    assert chance_of_more(*one, units) == pytest.approx(expected, abs=1e-9)
    assert chance_of_more(*one, units)[0] <= 1 - level + 1e-9


def test_many_rows_and_levels_are_each_row_and_level_alone() -> None:
    draw = np.random.default_rng(1)
    mean, dispersion = np.exp(draw.normal(0, 2, 300)), np.maximum(1, draw.exponential(2, 300))
    levels = np.array([0.5, 0.9, 0.99])
    found = quantile(mean, dispersion, levels[:, None])
    assert found.shape == (3, 300)
    for place, level in enumerate(levels):
        assert found[place].tolist() == quantile(mean, dispersion, level).tolist()
    per_row = levels[np.arange(300) % 3]
    assert quantile(mean, dispersion, per_row).tolist() == found[np.arange(300) % 3, np.arange(300)].tolist()


def test_no_demand_needs_nothing_and_never_runs_out() -> None:
    none = np.zeros(2)
    assert quantile(none, np.ones(2), 0.99).tolist() == [0, 0]
    assert chance_of_more(none, np.array([1.0, 3.0]), np.array([0, 5])).tolist() == [0, 0]


def test_a_level_that_no_sum_of_doubles_reaches_ends() -> None:
    assert (quantile(np.array([0.1, 40.0, 2_000.0]), np.array([1.0, 30.0, 2.0]), np.nextafter(1, 0)) > 0).all()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_level_of_nothing_or_everything_is_refused(level) -> None:
    with pytest.raises(ValueError, match="a service level is in"):
        quantile(np.ones(1), np.ones(1), level)
