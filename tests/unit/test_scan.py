"""Either scan's bound holds, so the lists found with them are the same, bit for bit, on data made to mislead them."""

import subprocess
import sys
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.top_k import exact as topk
from udfs.top_k import scan

# The many steps are of chips with VNNI; the few are right on any.
SCANS = {"float32": scan.float_scan} | {
    f"int8, {steps} steps": partial(scan.int8_scan, steps=steps)
    for steps in scan.ITEMS_PER_PLACE
    if steps <= scan.most_steps()
}


def test_this_chip_adds_up_products_of_bytes() -> None:
    assert len(SCANS) > 1


def of_length(rows: np.ndarray, length: float) -> np.ndarray:
    return rows * length / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@st.composite
def rows_of(draw: st.DrawFn, dims: int, most: int) -> np.ndarray:
    """float16 values, each row of a kind that is hard on some part of a bound."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = of_length(rng.normal(size=(1, dims)), 1)
    kinds = {
        "any": lambda n: of_length(rng.normal(size=(n, dims)), 1),
        "of any length": lambda n: of_length(rng.normal(size=(n, dims)), 1) * rng.uniform(0, 4.9, (n, 1)),
        "equal": lambda n: np.repeat(some, n, axis=0),
        "nearly equal": lambda n: some * (1 + rng.choice([-1, 0, 1], (n, dims)) * 2.0**-11),
        "one huge value": lambda n: of_length(rng.normal(size=(n, dims)) + 1_000 * (np.arange(dims) == 0), 4.9),
        "zeros": lambda n: np.zeros((n, dims)),
        "the smallest float16": lambda n: rng.choice([-6e-8, 0, 6e-8], (n, dims)),
        "nothing to round": lambda n: rng.choice([-0.1, 0, 0.1], (n, dims)),
        "halfway between two steps": lambda n: of_length(rng.integers(-127, 127, (n, dims)) + 0.5, 4.9),
    }
    parts = draw(st.lists(st.tuples(st.sampled_from(sorted(kinds)), st.integers(1, most)), max_size=4))
    rows = np.concatenate([np.zeros((0, dims)), *(kinds[kind](count) for kind, count in parts)])
    return rng.permutation(rows).astype(np.float16).astype(np.float32)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    dims = draw(st.sampled_from([1, 3, 64, 384]))
    return draw(rows_of(dims, 3)), draw(rows_of(dims, 150))


@settings(deadline=None)
@given(problems(), st.integers(1, 60), st.sampled_from([1, 7, 64, 8_192]), st.integers(1, 40), st.data())
def test_all_scans_lead_to_the_same_lists(
    problem: tuple[np.ndarray, np.ndarray], k: int, block: int, pool: int, data: st.DataObject
) -> None:
    queries, items = problem
    ids = np.array([f"{number:03}" for number in range(len(items))], dtype=np.str_)
    banned = st.lists(st.sampled_from([*ids.tolist(), "unknown"]), max_size=9)
    exclude = [data.draw(banned) for _ in queries]
    block = max(block, len(items) // 8)  # each block has a session of its own
    found = {}
    for name, make in SCANS.items():
        with (
            patch.object(topk, "scan_of", return_value=make(items, block)),
            patch.object(topk, "POOL", pool),
        ):
            found[name] = topk.top_k(queries, items, ids, k, exclude=exclude, block=block)
    places, scores = found.pop("float32")
    for name, (other_places, other_scores) in found.items():
        np.testing.assert_array_equal(other_places, places, err_msg=name)
        np.testing.assert_array_equal(other_scores, scores, err_msg=name)


@pytest.mark.parametrize("name", SCANS)
@settings(deadline=None)
@given(problem=problems(), block=st.sampled_from([64, 8_192]))
def test_no_score_is_off_by_more_than_the_slack(name: str, problem: tuple[np.ndarray, np.ndarray], block: int) -> None:
    queries, items = (rows.astype(np.float64) for rows in problem)
    found = SCANS[name](problem[1], block)
    unit, blocks = found.scores(queries)
    exact = (queries @ items[found.order].T).astype(np.float32)
    start = 0
    for slack, near in blocks:
        off = np.abs(near * unit[:, None] - exact[:, start : start + near.shape[1]])
        assert (off <= (slack * unit)[:, None]).all()
        start += near.shape[1]
    assert start == len(items)


@pytest.mark.parametrize(("steps", "expected"), [(127, 0.014), (90, 0.020)])
def test_the_slack_of_8_bits_is_small(steps: int, expected: float) -> None:
    rows = of_length(np.random.default_rng(3).normal(size=(500, 384)), 1).astype(np.float16)
    unit, blocks = scan.int8_scan(rows.astype(np.float32), 50, steps).scores(rows.astype(np.float64))
    assert np.mean([slack * unit for slack, _ in blocks]) == pytest.approx(expected, rel=0.1)  # of scores from -1 to 1


@pytest.mark.parametrize(
    ("queries", "m", "k", "dims", "steps", "expected"),
    [
        (100_000, 20_000, 100, 4, 127, "int8"),
        (100_000, 20_000, 101, 4, 127, "float32"),
        (5_000, 20_000, 100, 4, 127, "float32"),
        (10_000_000, 200, 1, 70_000, 127, "float32"),
        (100_000, 20_000, 100, 4, 0, "float32"),
        (100_000, 20_000, 25, 4, 90, "int8"),
        (100_000, 20_000, 26, 4, 90, "float32"),
    ],
)
def test_8_bits_where_they_pay(queries: int, m: int, k: int, dims: int, steps: int, expected: str) -> None:
    with (
        patch.object(scan, "most_steps", return_value=steps),
        patch.object(scan, "int8_scan", return_value="int8"),
        patch.object(scan, "float_scan", return_value="float32"),
    ):
        assert scan.scan_of(np.zeros((m, dims), np.float32), 8_192, queries, k) == expected


def test_without_onnx_runtime_there_is_no_scan_of_bytes() -> None:
    with patch.dict(sys.modules, {"onnxruntime": None}):
        assert scan.most_steps.__wrapped__() == 0


def test_a_chip_that_cuts_sums_off_gets_the_steps_whose_sums_fit() -> None:
    def cut_off(items, units, zero):
        whole = items.astype(np.int64)

        def product(queries):
            pairs = (queries.astype(np.int64)[:, None] * whole).reshape(len(queries), len(whole), -1, 2).sum(-1)
            return np.clip(pairs, -(2**15), 2**15 - 1).sum(-1) - zero * whole.sum(1)

        return product

    with patch.object(scan, "_product", cut_off):
        assert scan.most_steps.__wrapped__() == 90


def test_a_scan_of_8_bits_imports_no_torch_and_one_of_float32_nothing_at_all() -> None:
    code = """
import sys
import numpy as np
from udfs.top_k import scan
items = np.ones((4, 8), np.float32)
scan.scan_of(items, 2, 3, 1)
print({"onnxruntime", "onnx", "torch"} & set(sys.modules))
list(scan.int8_scan(items, 2, 90).scores(np.ones((3, 8))).blocks)
print({"torch", "pyspark", "jobs"} & set(sys.modules))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["set()", "set()"]
