"""BG/NBD and MBG/NBD: purchase counts of customers who may leave for good, by maximum likelihood.

A customer buys at a rate drawn from Gamma(r, alpha) and leaves after a purchase with a probability drawn from
Beta(a, b) (Fader, Hardie and Lee 2005). In MBG/NBD they may leave after their first purchase too (Batislam, Denizel and
Filiztekin 2007), so a customer of one purchase is not alive for certain. Time is in weeks, in which the fit converges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import betaincinv, betaln, gammaln

Doubles = npt.NDArray[np.float64]

WEEK: Final = 7.0
NODES: Final = 64  # of the integral over the probability of leaving
STARTS: Final = ((0.5, 4.0, 0.8, 2.0), (1.0, 10.0, 0.3, 3.0))
PRIOR: Final = (0.5, 8.0, 0.5, 2.5)  # of a shop without a second purchase
BOUNDS: Final = (-9.0, 9.0)  # of the logarithms of the parameters


@dataclass(frozen=True)
class Counts:
    """Customers grouped by what the likelihood reads, in weeks; `weight`: how many there are of each.

    frequency: purchase days after the first; recency: from the first to the last; age: from the first to the cut.
    """

    frequency: Doubles
    recency: Doubles
    age: Doubles
    weight: Doubles


@dataclass(frozen=True)
class Parameters:
    """r, alpha, a, b, and whether a customer may leave after the first purchase (MBG/NBD)."""

    r: float
    alpha: float
    a: float
    b: float
    modified: bool = True


def parameters(values: Sequence[float] | Doubles, *, modified: bool = True) -> Parameters:
    """From r, alpha, a, b in this order."""
    r, alpha, a, b = map(float, values)
    return Parameters(r, alpha, a, b, modified)


def counts_of(frequency: Doubles, recency: Doubles, age: Doubles) -> Counts:
    """Customers grouped by equal (frequency, recency, age)."""
    rows, weight = np.unique(np.column_stack([frequency, recency, age]), axis=0, return_counts=True)
    each = np.asarray(rows, np.float64)
    return Counts(each[:, 0], each[:, 1], each[:, 2], weight.astype(np.float64))


def fit(counts: Counts, *, modified: bool = True, near: Parameters | None = None) -> Parameters:
    """The parameters of maximum likelihood; PRIOR where nobody came again or no time has passed.

    near: parameters of much the same customers, from which alone the search then starts.
    """
    if not counts.weight @ counts.frequency or not counts.age.max():
        return parameters(PRIOR, modified=modified)

    def loss(logs: Doubles) -> float:
        return -log_likelihood(counts, parameters(np.exp(logs), modified=modified)) / float(counts.weight.sum())

    bounds = [BOUNDS] * len(PRIOR)
    starts = ((near.r, near.alpha, near.a, near.b),) if near else STARTS
    found = [minimize(loss, np.log(start), method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(found, key=lambda each: float(each.fun))
    return parameters(np.exp(best.x), modified=modified)


def log_likelihood(counts: Counts, of: Parameters) -> float:
    """Of all customers together."""
    x, r, a = counts.frequency, of.r, of.a
    b, stays = (of.b + 1, x) if of.modified else (of.b, np.maximum(x - 1, 0))
    counted = gammaln(r + x) - gammaln(r) + r * np.log(of.alpha)
    alive = betaln(a, b + x) - betaln(a, of.b) - (r + x) * np.log(of.alpha + counts.age)
    left = betaln(a + 1, of.b + stays) - betaln(a, of.b) - (r + x) * np.log(of.alpha + counts.recency)
    if not of.modified:
        left = np.where(x > 0, left, -np.inf)
    return float(counts.weight @ (counted + np.logaddexp(alive, left)))


def p_alive(frequency: Doubles, recency: Doubles, age: Doubles, of: Parameters) -> Doubles:
    """[customers] probability of not having left by the cut."""
    stays = of.b + frequency - (0 if of.modified else 1)
    silent = (of.r + frequency) * (np.log(of.alpha + age) - np.log(of.alpha + recency))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alive = 1 / (1 + of.a / stays * np.exp(silent))
    return alive if of.modified else np.where(frequency > 0, alive, 1.0)


def p_active(frequency: Doubles, recency: Doubles, age: Doubles, weeks: float, of: Parameters) -> Doubles:
    """[customers] probability of a purchase within the next `weeks`."""
    none = ((of.alpha + age) / (of.alpha + age + weeks)) ** (of.r + frequency)
    return np.asarray(p_alive(frequency, recency, age, of) * (1 - none), np.float64)


def expected_purchases(frequency: Doubles, recency: Doubles, age: Doubles, weeks: float, of: Parameters) -> Doubles:
    """[customers] expected purchases within the next `weeks`.

    Of a customer with rate l and probability p of leaving it is (1 - exp(-l p t)) / p. Over l that has a closed form,
    over p it is the mean at NODES quantiles: the hypergeometric series of the papers loses all digits of a customer
    with hundreds of purchases.
    """
    stays = of.b + frequency + (1 if of.modified else 0)
    each, place = np.unique(stays, return_inverse=True)
    leave = np.clip(betaincinv(of.a, each[:, None], (np.arange(NODES) + 0.5) / NODES), 1e-12, 1.0)[place]
    power = (of.r + frequency)[:, None]
    stopped = -np.expm1(-power * np.log1p(leave * weeks / (of.alpha + age)[:, None]))
    return np.asarray(p_alive(frequency, recency, age, of) * (stopped / leave).mean(axis=1), np.float64)
