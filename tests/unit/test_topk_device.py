"""The search on a device against the one without: the same lists, bit for bit. Here the device is a CPU, by torch."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_scan import problems
from udfs.top_k import device as topk_device
from udfs.top_k.exact import top_k


@settings(deadline=None)
@given(problems(), st.integers(1, 60), st.integers(0, 40), st.sampled_from([1, 200, 2**20]), st.data())
def test_the_lists_are_those_of_the_other_search(
    problem: tuple[np.ndarray, np.ndarray], k: int, margin: int, cells: int, data: st.DataObject
) -> None:
    queries, items = problem
    ids = np.array([f"{number:03}" for number in range(len(items))], dtype=np.str_)
    banned = st.lists(st.sampled_from([*ids.tolist(), "unknown"]), max_size=9)
    exclude = data.draw(st.none() | st.tuples(*(banned for _ in queries)))
    expected = top_k(queries, items, ids, k, exclude=exclude)
    with (
        patch.object(topk_device, "MARGIN", margin),
        patch.object(topk_device, "CELLS", cells),
        patch.object(topk_device, "EXACT_CELLS", cells),
    ):
        found = top_k(queries, items, ids, k, exclude=exclude, device="cpu")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(problems())
def test_no_score_is_off_by_more_than_the_slack(problem: tuple[np.ndarray, np.ndarray]) -> None:
    queries, items = (torch.tensor(rows.astype(np.float16)) for rows in problem)
    slack = topk_device.Resident(items.numpy(), "cpu").slack(queries)
    off = (queries @ items.T).double() - queries.double() @ items.double().T
    assert (off.abs() <= slack.double()[:, None]).all()


def test_hardly_any_query_of_a_common_catalogue_is_doubtful() -> None:
    rng = np.random.default_rng(5)
    queries, items = rng.normal(size=(100, 384)), rng.normal(size=(20_000, 384))
    queries, items = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, items))
    *_, doubtful = topk_device.top_k(queries.astype(np.float16), items.astype(np.float16), 100, None, "cpu")
    assert not doubtful.any()


def test_a_query_of_which_too_many_items_score_alike_is_doubtful() -> None:
    items, query = np.full((500, 8), 0.25, np.float16), np.full((1, 8), 0.25, np.float16)
    assert topk_device.top_k(query, items, 10, None, "cpu")[2].tolist() == [True]
    positions, _ = top_k(query, items, np.char.zfill(np.arange(500).astype(str), 3), 10, device="cpu")
    assert positions.tolist() == [list(range(10))]


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        top_k(np.ones((1, 1)), np.ones((1, 1)), np.array(["a"]), 1, device="nowhere")
