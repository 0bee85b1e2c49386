"""Either scan's bound holds, so the lists found with them are the same, bit for bit, on data made to mislead them."""

import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import scan, topk

SCANS = {"float32": scan.float_scan, "int8": scan.int8_scan}
needs_fast_bytes = pytest.mark.skipif(not scan.has_fast_bytes(), reason="this chip adds up no products of 8 bits")


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


@needs_fast_bytes
@settings(deadline=None)
@given(problems(), st.integers(1, 60), st.sampled_from([1, 7, 64, 8_192]), st.integers(1, 40), st.data())
def test_both_scans_lead_to_the_same_lists(
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
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_fast_bytes
@pytest.mark.parametrize("name", SCANS)
@settings(deadline=None)
@given(problem=problems(), block=st.sampled_from([64, 8_192]))
def test_no_score_is_off_by_more_than_the_slack(name: str, problem: tuple[np.ndarray, np.ndarray], block: int) -> None:
    queries, items = (rows.astype(np.float64) for rows in problem)
    scores = SCANS[name](problem[1], block)(queries)
    near = np.concatenate([np.zeros((len(queries), 0)), *scores.near], axis=1)
    exact = (queries @ items.T).astype(np.float32)
    off = np.abs(near * scores.unit[:, None] - exact)
    assert (off <= scores.slack[:, None]).all()


@needs_fast_bytes
def test_the_slack_of_8_bits_is_small() -> None:
    rows = of_length(np.random.default_rng(3).normal(size=(500, 384)), 1).astype(np.float16)
    slack = scan.int8_scan(rows.astype(np.float32), 8_192)(rows.astype(np.float64)).slack
    assert 0.01 < slack.mean() < 0.02  # of scores from -1 to 1


@pytest.mark.parametrize(
    ("queries", "m", "k", "dims", "has_fast_bytes", "expected"),
    [
        (100_000, 20_000, 100, 4, True, "int8"),
        (100_000, 20_000, 101, 4, True, "float32"),
        (5_000, 20_000, 100, 4, True, "float32"),
        (10_000_000, 200, 1, 70_000, True, "float32"),
        (100_000, 20_000, 100, 4, False, "float32"),
    ],
)
def test_8_bits_where_they_pay(queries: int, m: int, k: int, dims: int, has_fast_bytes: bool, expected: str) -> None:
    with (
        patch.object(scan, "has_fast_bytes", return_value=has_fast_bytes),
        patch.object(scan, "int8_scan", return_value="int8"),
        patch.object(scan, "float_scan", return_value="float32"),
    ):
        assert scan.scan_of(np.zeros((m, dims), np.float32), 8_192, queries, k) == expected


def test_without_onnx_runtime_there_are_no_fast_bytes() -> None:
    with patch.dict(sys.modules, {"onnxruntime": None}):
        assert not scan.has_fast_bytes.__wrapped__()


@needs_fast_bytes
def test_a_scan_of_8_bits_imports_no_torch_and_one_of_float32_nothing_at_all() -> None:
    code = """
import sys
import numpy as np
from udfs import scan
items = np.ones((4, 8), np.float32)
scan.scan_of(items, 2, 3, 1)
print({"onnxruntime", "onnx", "torch"} & set(sys.modules))
list(scan.int8_scan(items, 2)(np.ones((3, 8))).near)
print({"torch", "pyspark", "jobs"} & set(sys.modules))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["set()", "set()"]
