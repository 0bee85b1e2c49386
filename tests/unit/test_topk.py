"""The blocked top-N against ten lines of plain Python in exact arithmetic, ties and exclusions included."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.top_k.exact import top_k


def oracle(
    queries: np.ndarray, items: np.ndarray, ids: list[str], k: int, exclude: list[list[str]]
) -> list[list[tuple[str, float]]]:
    answer = []
    for query, banned in zip(queries.tolist(), exclude, strict=True):
        scored = []
        for item_id, item in zip(ids, items.tolist(), strict=True):
            exact = sum((Fraction(a) * Fraction(b) for a, b in zip(query, item, strict=True)), Fraction(0))
            scored.append((-float(np.float32(float(exact))), item_id))
        ranked = sorted(pair for pair in scored if pair[1] not in banned)
        answer.append([(item_id, -minus) for minus, item_id in ranked[:k]])
    return answer


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str], int, list[list[str]], int]:
    dims = draw(st.integers(1, 4))
    vector = st.lists(st.floats(-1, 1, width=16), min_size=dims, max_size=dims)
    pool = draw(st.lists(vector, min_size=1, max_size=4))  # few distinct vectors, so ties abound
    items = draw(st.lists(st.sampled_from(pool), max_size=25))
    ids = sorted(draw(st.sets(st.text("abé9", min_size=1, max_size=4), min_size=len(items), max_size=len(items))))
    queries = draw(st.lists(vector, max_size=4))
    exclude = [draw(st.lists(st.sampled_from([*ids, "unknown"]), max_size=6)) for _ in queries]
    as_array = [np.array(rows, np.float32).reshape(-1, dims) for rows in (queries, items)]
    return as_array[0], as_array[1], ids, draw(st.integers(1, 30)), exclude, draw(st.integers(1, 10))


@given(problems())
def test_equals_the_oracle(
    problem: tuple[np.ndarray, np.ndarray, list[str], int, list[list[str]], int],
) -> None:
    queries, items, ids, k, exclude, block = problem
    positions, scores = top_k(queries, items, np.array(ids, dtype=str), k, exclude=exclude, block=block)
    assert positions.shape == scores.shape == (len(queries), min(k, len(ids)))
    found = [
        [(ids[at], float(score)) for at, score in zip(*row, strict=True) if at >= 0]
        for row in zip(positions, scores, strict=True)
    ]
    assert found == oracle(queries, items, ids, k, exclude)


def test_many_equal_vectors_come_in_id_order_whatever_the_block() -> None:
    draw = np.random.default_rng(1)
    distinct = draw.normal(size=(40, 384))
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    items = distinct[draw.integers(0, 40, 3_000)].astype(np.float32)  # each text is shared by some 75 items
    ids = np.array([f"{number:05}" for number in range(3_000)])
    queries = distinct[:300].astype(np.float32)
    positions, scores = top_k(queries, items, ids, 100)
    for block in (64, 999):
        again = top_k(queries, items, ids, 100, block=block)
        np.testing.assert_array_equal(again[0], positions)
        np.testing.assert_array_equal(again[1], scores)
    falls = np.diff(scores, axis=1)
    assert ((falls < 0) | ((falls == 0) & (np.diff(positions, axis=1) > 0))).all()
    assert (falls == 0).mean() > 0.9


def test_a_row_left_with_too_few_items_says_so() -> None:
    ids = np.array(["a", "b", "c"])
    positions, scores = top_k(np.ones((2, 1)), np.array([[0.5], [0.25], [1]]), ids, 3, exclude=[["c", "a"], []])
    assert positions.tolist() == [[1, -1, -1], [2, 0, 1]]
    assert scores.tolist() == [[0.25, -np.inf, -np.inf], [1, 0.5, 0.25]]


def test_a_long_unknown_id_is_not_mistaken_for_its_beginning() -> None:
    positions, _ = top_k(np.ones((1, 1)), np.ones((2, 1)), np.array(["a", "b"]), 2, exclude=[["ab", "b1"]])
    assert positions.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_ids": np.array(["b", "a"])}, "2 item_ids expected, each once, ascending"),
        ({"item_ids": np.array(["a", "a"])}, "each once"),
        ({"item_ids": np.array(["a"])}, "1 found"),
        ({"k": 0}, "at least 1"),
        ({"queries": np.ones((1, 3))}, "expected; found"),
        ({"items": np.array([[np.nan, 0], [0, 0]])}, "items: the longest row is nan"),
        ({"queries": np.full((1, 2), 9.0)}, "queries: the longest row is 12.7"),
        ({"exclude": []}, "0 lists for 1 queries"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    good = {"queries": np.ones((1, 2)), "items": np.ones((2, 2)), "item_ids": np.array(["a", "b"]), "k": 1}
    with pytest.raises(ValueError, match=message):
        top_k(**{**good, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [300, 8_192])
def test_items_that_differ_by_less_than_float32_can_tell_come_in_exact_order(block: int) -> None:
    draw = np.random.default_rng(2)
    direction = draw.normal(size=384)
    direction = (direction / np.linalg.norm(direction)).astype(np.float16)
    items = np.tile(direction, (900, 1))
    for row, place in enumerate(draw.integers(0, 384, 900)):  # one value of each moves by one bit of float16
        items[row, place] = np.nextafter(items[row, place], np.float16(draw.choice([-1, 1])))
    queries = (direction + draw.normal(scale=1e-3, size=(5, 384))).astype(np.float16)
    scores = (queries.astype(np.float64) @ items.astype(np.float64).T).astype(np.float32)
    ids = np.array([f"{number:03}" for number in range(900)])
    positions, found = top_k(queries, items, ids, 20, block=block)
    np.testing.assert_array_equal(positions, [np.lexsort((np.arange(900), -row))[:20] for row in scores])
    np.testing.assert_array_equal(found, np.take_along_axis(scores, positions, axis=1))


def test_where_all_items_tie_the_first_ids_win() -> None:
    ids = np.array([f"{number:04}" for number in range(2_000)])
    positions, _ = top_k(np.ones((3, 2)), np.full((2_000, 2), 0.5), ids, 5, block=100, exclude=[["0001"], [], []])
    assert positions.tolist() == [[0, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
