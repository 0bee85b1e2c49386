"""The mean lead over several cuts."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.offline.earlier_cuts import BEST_PEER, Cut, mean_lead, rows_of
from jobs.offline.measures import LEAD
from udfs.evaluation.metrics import Bootstrap


def drawn(lead: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """NDCG of 300 users, every third one not judged on this cut."""
    draw = np.random.default_rng(seed)
    theirs = np.where(np.arange(300) % 3 == seed % 3, np.nan, draw.uniform(0.2, 0.6, 300))
    return theirs * (1 + lead) + draw.normal(0, 0.01, 300), theirs


def test_the_mean_lead_is_that_of_the_cuts() -> None:
    pairs = [drawn(lead, seed) for seed, lead in enumerate((0.0, 0.03, 0.06))]
    draws = Bootstrap(300)
    found = mean_lead(draws, *zip(*pairs, strict=True))
    leads = [draws.relative(*pair).value for pair in pairs]
    assert found.value == pytest.approx(np.mean(leads))
    assert 0 < found.low < found.value < found.high < max(leads)
    assert found.user_count == 300


def test_each_cut_has_its_rows_under_its_own_date() -> None:
    cuts = []
    for at in (1, 2):
        ours, best = ({"A": part, "B": part} for part in drawn(0.05, at))
        cuts.append(Cut(17_000 - 28 * at, ours, best, {"A": "ease", "B": "als"}))
    rows = rows_of(cuts, 300)
    assert len({(row.cut_date, row.task, row.contender, row.metric, row.slice) for row in rows}) == len(rows) == 14
    means = [row for row in rows if row.slice == "mean of 2 earlier cuts"]
    assert [(row.task, row.contender, row.metric) for row in means] == [(task, BEST_PEER, LEAD) for task in "AB"]
    assert all(row.value == pytest.approx(0.05, abs=0.01) for row in means)
