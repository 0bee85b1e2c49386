"""Dispersion of units sold, fitted to counts and their forecast means.

Units are negative binomial with variance = dispersion x mean (NB1; Cameron & Trivedi 1986): n = mean / (dispersion - 1)
and p = 1 / dispersion in scipy.stats.nbinom. Sums of days, or of independent pairs, with one dispersion have the same
dispersion and the sum of the means, so readers of the table can compute quantiles for any lead time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import special
from scipy.optimize import minimize

from udfs.demand.block import Doubles

LEAST_DISPERSION: Final = 1.001  # nearer to 1 it is Poisson to three digits, and n has no bound
MOST_DISPERSION: Final = 50.0
RIDGE: Final = 1e-3


def fit_dispersion(units: Doubles, mean: Doubles, inputs: Doubles) -> Doubles:
    """Weights [F + 1] for log(dispersion - 1): of the inputs [rows, F], then the constant.

    units: [rows, weeks] counts that are independent given the mean [rows] of each. Maximum likelihood with a ridge.
    """
    design = np.column_stack([inputs, np.ones(len(inputs))])
    mean = np.maximum(mean, 1e-9)[:, None]
    row, week = np.nonzero(units)
    sold = units[row, week]
    constant = special.gammaln(sold + 1).sum()

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        spread = np.exp(np.clip(design @ weights, np.log(LEAST_DISPERSION - 1), np.log(MOST_DISPERSION - 1)))
        size = mean[:, 0] / spread
        none = -size * np.log1p(spread)
        value = units.shape[1] * none.sum() - constant
        slope = units.shape[1] * (size * np.log1p(spread) - mean[:, 0] / (1 + spread))  # times d spread / d weight
        value += (special.gammaln(sold + size[row]) - special.gammaln(size[row])).sum()
        value += (sold * (np.log(spread) - np.log1p(spread))[row]).sum()
        moved = -size[row] * (special.digamma(sold + size[row]) - special.digamma(size[row]))
        slope = slope + np.bincount(row, moved + sold / (1 + spread[row]), minlength=len(design))
        gradient = design.T @ slope / units.size
        penalty = RIDGE * weights
        return -value / units.size + RIDGE / 2 * float(weights @ weights), penalty - gradient

    fitted = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return np.asarray(fitted.x, np.float64)


def dispersion_of(weights: Doubles, inputs: Doubles) -> Doubles:
    """Dispersion [rows], between LEAST_DISPERSION and MOST_DISPERSION."""
    log_extra = inputs @ weights[:-1] + weights[-1]
    spread: Doubles = 1 + np.exp(np.clip(log_extra, np.log(LEAST_DISPERSION - 1), np.log(MOST_DISPERSION - 1)))
    return spread
