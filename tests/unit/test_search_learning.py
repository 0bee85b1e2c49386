"""What search learns without a log: lists of past purchases, the ranker of them, the weight of the vectors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bench.search_icecat import ndcg
from bench.search_spelling import noisy, pairs
from udfs.days import NEVER
from udfs.interactions import Interactions
from udfs.search.asked import asked_for
from udfs.search.dense_weight import dense_weight, masked_text, masked_titles
from udfs.search.index import DENSE_WEIGHT
from udfs.search.past_lists import PastLists, Sample, past_lists, popularity
from udfs.search.past_lists import interactions as lists_of
from udfs.search.ranker import QUERY_ITEM, USER_ITEM, untrained
from udfs.search.train import fitted

CUT = 60


def interactions(lines: list[tuple[int, int, int]]) -> Interactions:
    """(user, item, day) lines of 4 users, -1 for a guest, and 6 items, each a basket."""
    user, item, day = (np.array(column, np.int32) for column in zip(*lines, strict=True))
    order = np.lexsort((item, user, day))
    user, item, day = user[order], item[order], day[order]
    ones, never = np.ones(len(lines), np.float32), np.full(len(lines), NEVER, np.int32)
    users, items = np.array(["a", "b", "c", "d"]), np.array(["0", "1", "2", "3", "4", "5"])
    return Interactions(users, items, user, item, day, np.arange(len(lines)), ones, day, never)


LINES = interactions(
    [
        (0, 0, 10),
        (0, 0, 50),
        (0, 1, 50),
        (1, 0, 50),
        (1, 2, 55),
        (2, 2, 59),
        (-1, 2, 59),  # a guest: counts for what sells
        (0, 0, 61),  # from here on: what is to be found
        (0, 2, 62),
        (1, 1, 87),
        (2, 4, 60),
        (3, 0, 88),  # after the horizon
    ]
)
OF_QUERY = sp.csr_matrix(np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], float))


def cells(past: PastLists) -> set[tuple[int, int, int, float]]:
    columns = past.user.tolist(), past.query.tolist(), past.item.tolist(), past.lists.label.tolist()
    return set(zip(*columns, strict=True))


def test_a_list_is_what_a_user_was_shown_of_a_query_and_bought_in_the_horizon() -> None:
    found = cells(past_lists(LINES, OF_QUERY, CUT, Sample()))
    assert {row for row in found if row[0] == 0} == {(0, 0, 0, 1.0), (0, 0, 1, 0.0), (0, 0, 2, 1.0)}
    assert {row[0] for row in found} == {0, 1, 2}, "nothing is known of what was bought after the horizon"


def test_of_what_is_new_to_a_user_the_own_items_are_left_out() -> None:
    past = past_lists(LINES, OF_QUERY, CUT, Sample(), new=True)
    assert {row for row in cells(past) if row[0] == 0} == {(0, 0, 2, 1.0)}
    assert not past.own.any()


def test_features_end_at_the_cut() -> None:
    past = past_lists(LINES, OF_QUERY, CUT, Sample())
    later = interactions([*zip(LINES.user, LINES.item, LINES.day, strict=True), (0, 1, CUT), (3, 5, CUT + 3)])
    again = past_lists(later, OF_QUERY, CUT, Sample())
    same = (again.user == 0) & (again.item == 1)
    before = (past.user == 0) & (past.item == 1)
    assert again.lists.user_item[same] == pytest.approx(past.lists.user_item[before], nan_ok=True)
    assert again.lists.query_item[same] == pytest.approx(past.lists.query_item[before], nan_ok=True)
    row = dict(zip(USER_ITEM, past.lists.user_item[(past.user == 0) & (past.item == 0)][0], strict=True))
    assert row["own_times"] == pytest.approx(np.log(3))
    assert row["own_due"] == pytest.approx(9 / ((50 - 10 + 45) / 2))  # seen the evening before the cut


def test_a_shop_that_sold_nothing_in_the_horizon_has_no_lists() -> None:
    assert not len(past_lists(LINES, OF_QUERY, 200, Sample()).lists.label)


def test_what_sells_counts_guests_and_old_purchases_less() -> None:
    sold, lately = popularity(LINES, CUT)
    assert sold.tolist() == [2, 1, 3, 0, 0, 0], "a user who buys again is one buyer"
    assert lately[2] == pytest.approx(0.5 ** (4 / 7) + 2)
    assert popularity(LINES, CUT, share=0.5)[0][2] == 6
    share = past_lists(LINES, OF_QUERY, CUT, Sample()).lists.query_item[:, QUERY_ITEM.index("share")]
    assert share.max() == 1


def habits(seed: int = 0) -> Interactions:
    """60 users of 140 days: each buys one of their two own items of the first query most days, else any of all."""
    draw = np.random.default_rng(seed)
    lines = [
        (user, int(draw.choice([user % 3, (user + 1) % 3]) if draw.random() < 0.8 else draw.integers(6)), day)
        for user in range(60)
        for day in range(140)
        if draw.random() < 0.2
    ]
    rows = pd.DataFrame(lines, columns=["user_id", "item_id", "day"]).astype({"user_id": str, "item_id": str})
    return lists_of(rows.assign(basket=range(len(rows))), np.array(list("012345")))


def test_a_ranker_of_past_purchases_is_judged_by_the_newest_and_by_the_model_in_use() -> None:
    found = fitted(habits(), OF_QUERY, 140, untrained(0.7), None, 500)
    assert found.promoted
    assert found.model.dense_weight == 0.7
    assert found.judged is not None
    assert found.lists > 100
    assert found.figures["ndcg@10"] > 0.8
    names = [f"gain_ndcg@10{end}" for end in ("_low", "", "_high")]
    assert [found.figures[name] for name in names] == sorted(found.figures[name] for name in names)
    again = fitted(habits(), OF_QUERY, 140, untrained(0.7), None, 500)
    assert again.model == found.model


def test_without_56_days_of_purchases_the_fixed_weights_are_the_model() -> None:
    bought = habits()
    found = fitted(bought.part(bought.day < 28), OF_QUERY, 28, untrained(0.7), None, 500)
    assert (found.model, found.judged, found.promoted, found.figures) == (untrained(0.7), None, True, {})


def test_a_query_asks_for_the_items_that_have_all_of_its_words() -> None:
    items = pd.DataFrame(
        {"title": ["red mug", "mugs", "plate"], "text": "", "category": ["cup", None, "red"], "brand": None}
    )
    found = asked_for(items, ["red", "Mug cup", "absent", "!"]).toarray().tolist()
    assert found == [[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def shop(useful: bool) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, int]:
    """Items whose texts have no word of their titles beside these; vectors that know what they mean, or do not."""
    kinds = ["mouse", "desk", "lamp", "chair", "phone", "cable", "screen", "printer"]
    titles = [f"{kinds[at % 8]} {kinds[(at // 8) % 8]}" for at in range(400)]
    items = pd.DataFrame({"title": titles, "text": [f"{title}, text{at} thing" for at, title in enumerate(titles)]})
    masked = masked_titles(items)
    assert not any(set(text.split()) & set(kinds) for text in masked.texts)
    draw = np.random.default_rng(0)
    queries = draw.normal(size=(len(masked.queries), 32))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    texts = masked.relevant.T.astype(float) @ queries if useful else draw.normal(size=(len(masked.items), 32))
    texts /= np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-9)
    return items, texts, queries, len(masked.queries)


def test_vectors_that_know_what_words_do_not_get_weight() -> None:
    items, texts, queries, count = shop(useful=True)
    assert count >= 20
    misleading = items.assign(category=items["title"].sample(frac=1, random_state=0).tolist())
    assert dense_weight(masked_titles(items), texts, queries, misleading) > DENSE_WEIGHT


def test_vectors_that_know_nothing_get_none_where_words_do() -> None:
    items, texts, queries, _ = shop(useful=False)
    assert dense_weight(masked_titles(items), texts, queries, items.assign(category=items["title"])) < DENSE_WEIGHT


def test_a_weight_as_good_as_any_is_the_usual_one() -> None:
    items, texts, queries, _ = shop(useful=True)
    assert dense_weight(masked_titles(items), texts, queries) == DENSE_WEIGHT


def test_a_title_is_hidden_in_a_text_that_has_it_or_its_words() -> None:
    assert masked_text("HP Mouse", "HP mouse, black, a mouse for hands").split() == [
        ",",
        "black,",
        "a",
        "mouse",
        "for",
        "hands",
    ]
    assert masked_text("Mouse HP", "hp mouse black") == "black"
    assert masked_text("Mouse", "mouse!") == ""


def test_a_shop_whose_texts_are_its_titles_has_the_usual_weight() -> None:
    items = pd.DataFrame({"title": ["Mouse", "Desk"], "text": ["mouse", "desk"]})
    masked = masked_titles(items)
    assert dense_weight(masked, np.zeros((0, 4)), np.zeros((0, 4))) == DENSE_WEIGHT


def test_ndcg_by_hand() -> None:
    grades = {"a": 3, "b": 1, "c": 0}
    best = 7 + 1 / np.log2(3)
    assert ndcg(["a", "b"], grades) == pytest.approx(1)
    assert ndcg(["x", "a"], grades) == pytest.approx((7 / np.log2(3)) / best)
    assert np.isnan(ndcg(["a"], {"a": 0}))


def test_noise_changes_a_word_and_is_the_same_each_time() -> None:
    draw = np.random.default_rng(0)
    assert all(noisy("mouse", draw) != "mouse" for _ in range(50))
    assert pairs(["Wireless mouse black"])[:20] == pairs(["Wireless mouse black"])[:20]
