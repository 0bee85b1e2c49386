"""Top-k of products of any real vectors against a sort of exact products, in blocks of any size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from udfs.top_k import products
from udfs.top_k.products import best_products, on_grid


def test_a_row_on_the_grid_is_off_by_half_a_step_of_its_length() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 30)) * np.exp2(np.arange(-25, 25))[:, None]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    assert (np.abs(on_grid(rows) - rows) <= length * 2.0**-24).all()
    assert not on_grid(np.zeros((2, 3))).any()


def test_products_of_the_grid_are_exact_sums() -> None:
    draw = np.random.default_rng(1)
    users, items = on_grid(draw.normal(size=(8, 40))), draw.normal(size=(9, 40)).astype(np.float16)
    for user in users:
        for item in items:
            exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(user, item, strict=True))
            assert Fraction(float(user @ item.astype(float))) == exact


@pytest.mark.parametrize(("k", "block", "readers"), [(1, 4, 3), (5, 7, 2), (30, 100, 100), (200, 8, 5)])
def test_lists_equal_a_sort_of_all_products(monkeypatch: pytest.MonkeyPatch, k: int, block: int, readers: int) -> None:
    monkeypatch.setattr(products, "READERS", readers)
    draw = np.random.default_rng(k)
    users, items = on_grid(draw.normal(size=(13, 6))), draw.integers(-1, 2, (60, 6)).astype(np.float32)  # many ties
    users[4] = 0
    is_banned = draw.random((13, 60)) < 0.4
    is_banned[7] = True
    found, score = best_products(users, items, k, np.nonzero(is_banned), block)
    exact = (users @ items.T.astype(float)).astype(np.float32)
    for row in range(13):
        order = [at for at in np.argsort(-exact[row], kind="stable") if not is_banned[row, at]][:k]
        padded = order + [-1] * (min(k, 60) - len(order))
        assert found[row].tolist() == padded
        assert score[row][: len(order)].tolist() == exact[row, order].tolist()
        assert np.isneginf(score[row][len(order) :]).all()
