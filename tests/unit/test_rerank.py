import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from udfs.recommend.rerank import rerank


def follows(list_, score, kind, vectors, new, k, cap, diversity, every):
    """Whether one user's list is what plain steps give, each with the best of what is free: the first of equals.

    Cosines are sums of float32 in another order than here, so with them one that is as good within 1e-5 is as well.
    """
    left = list(range(len(score)))
    for place, chosen in enumerate(list_):
        above = list_[:place]
        free = [row for row in left if not cap or kind[row] < 0 or sum(kind[row] == kind[o] for o in above) < cap]
        free = free or left
        if every and (place + 1) % every == 0:
            free = [row for row in free if new[row]] or free
        values = {}
        for row in free:
            near = max((float(vectors[row] @ vectors[o]) for o in above), default=0.0)
            values[row] = (1 - diversity) * score[row] / score[0] - diversity * near
        best = max(values, key=lambda row: (values[row], -row))
        if chosen != best and not (diversity and values.get(chosen, -9.0) > values[best] - 1e-5):
            return False
        left.remove(chosen)
    return len(list_) == min(k, len(score))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    k=st.integers(1, 6),
    cap=st.integers(0, 2),
    diversity=st.sampled_from([0.0, 0.3, 0.8]),
    every=st.sampled_from([0, 2, 3]),
    seed=st.integers(0, 10_000),
)
@example(sizes=[1, 1, 8, 6], k=5, cap=0, diversity=0.8, every=0, seed=2)  # two that are as good within 1e-5
def test_each_list_is_what_a_plain_loop_gives(sizes, k, cap, diversity, every, seed) -> None:
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(len(sizes)), sizes)
    score = np.concatenate([np.sort(draw.random(size))[::-1] + 0.01 for size in sizes])
    kind = draw.integers(-1, 2, len(user))
    vectors = draw.normal(size=(len(user), 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    new = draw.random(len(user)) < 0.4
    rules = {"cap": cap, "diversity": diversity, "every": every}
    found = rerank(user, score, k, kind=kind, vectors=vectors, arrivals=new, **rules)
    for number in range(len(sizes)):
        rows = np.flatnonzero(user == number)
        list_ = [row - rows[0] for row in found.tolist() if user[row] == number]
        assert follows(list_, score[rows], kind[rows], vectors[rows], new[rows], k, **rules)
    assert user[found].tolist() == sorted(user[found].tolist())


def test_without_rules_the_order_is_the_score() -> None:
    user, score = np.array([3, 3, 3, 8]), np.array([0.9, 0.5, 0.5, 0.1])
    assert rerank(user, score, 2).tolist() == [0, 1, 3]


def test_a_cap_gives_way_rather_than_shorten_a_list() -> None:
    user, score, kind = np.zeros(3, int), np.array([0.9, 0.8, 0.7]), np.array([5, 5, 5])
    assert rerank(user, score, 3, kind=kind, cap=1).tolist() == [0, 1, 2]


def test_every_other_place_is_kept_for_an_arrival_while_there_is_one() -> None:
    user, score = np.zeros(6, int), np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    new = np.array([False, False, False, False, True, False])
    assert rerank(user, score, 4, arrivals=new, every=2).tolist() == [0, 4, 1, 2]


def test_diversity_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"diversity must be in \[0, 1\)"):
        rerank(np.zeros(1, int), np.ones(1), 1, diversity=1.0)


def test_no_candidates_no_rows() -> None:
    assert rerank(np.empty(0, int), np.empty(0), 5).tolist() == []
