"""Edges of purchases, and the lists that follow from them: what counts, for whom, and what is listed."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import Counter, defaultdict
from itertools import combinations, pairwise
from typing import Any

import pytest

from jobs.transforms import purchase_relations
from schemas import relations
from tests.conftest import Rows
from tests.support.relating import RUN_DATE, Edges, catalogue, ids, lines, relate


def shop(seed: int, users: int = 40, days: int = 30) -> list[dict[str, Any]]:
    """Baskets drawn at random of twelve items of three categories."""
    draw = random.Random(seed)
    items = [f"{category}:{number}" for category in ("tea", "bread", "soap") for number in range(4)]
    baskets = []
    for user in range(users):
        for day in sorted(draw.sample(range(days), 8)):
            baskets += lines(f"u{user}", day, *draw.sample(items, draw.randint(1, 4)))
    return baskets


def test_edges_of_purchases_equal_counts_in_plain_python(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purchase_relations, "Z", 0.1)  # so that pairs drawn at random have edges
    events = shop(1)
    items = sorted({event["item_id"] for event in events})
    _, edges, _ = relate(rows, events, catalogue(*items), min_buyers=3)
    days: dict[str, dict[dt.date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event in events:
        days[event["user_id"]][event["event_date"]].add(event["item_id"])
    baskets = [(user, basket) for user, by_day in days.items() for basket in by_day.values()]
    alone = Counter(item for _, basket in baskets for item in basket)
    sizes = [len(basket) for _, basket in baskets]
    chance = sum(size * (size - 1) for size in sizes) / sum(sizes) ** 2
    both, buyers = Counter(), defaultdict(set)
    for user, basket in baskets:
        for pair in combinations(sorted(basket), 2):
            both[pair] += 1
            buyers[pair].add(user)
    expected = {}
    for (one, other), times in both.items():
        support = len(buyers[one, other])
        lower = times / (alone[one] * alone[other] * chance) * math.exp(-0.1 / math.sqrt(support))
        if support >= 3 and lower > 1:
            expected |= {(one, "bought_with", other): (lower, support), (other, "bought_with", one): (lower, support)}
    assert expected
    assert of(edges, "bought_with") == rounded(expected)
    changes = defaultdict(set)
    for user, by_day in days.items():
        for need in ("tea", "bread", "soap"):
            seen = [{item for item in by_day[day] if item.startswith(need)} for day in sorted(by_day)]
            for before, after in pairwise(filter(None, seen)):
                for one in before - after:
                    for other in after - before:
                        changes[one, other].add(user)
    leaving = Counter()
    for (one, _), users in changes.items():
        leaving[one] += len(users)
    instead = {
        (one, "instead_of", other): (len(users) / leaving[one], len(users))
        for (one, other), users in changes.items()
        if len(users) >= purchase_relations.FEWEST_CHANGED
    }
    assert of(edges, "instead_of") == rounded(instead)
    assert len(instead) > 10
    shares = Counter(f"{item.split(':')[0]}" for user in days for item in set().union(*days[user].values()))
    for item in items:
        bought = sum(item in set().union(*by_day.values()) for by_day in days.values())
        edge = edges[item, "in_category", item.split(":")[0]]
        assert (edge.support, edge.weight) == (bought, pytest.approx(bought / shares[item.split(":")[0]]))


def of(edges: Edges, relation: str) -> dict[tuple[str, str, str], tuple[float, int]]:
    return rounded({key: (edge.weight, edge.support) for key, edge in edges.items() if key[1] == relation})


def rounded(found: dict[tuple[str, str, str], tuple[float, int]]) -> dict[tuple[str, str, str], tuple[float, int]]:
    return {key: (round(weight, 9), support) for key, (weight, support) in found.items()}


def test_first_purchases_of_consecutive_days_are_a_sequence(rows: Rows) -> None:
    """Thirty buyers buy a printer and then its ink; everybody buys bread on each day."""
    events = []
    for user in range(30):
        events += lines(f"u{user}", 20, "print:er", "food:bread") + lines(f"u{user}", 10, "print ink:x", "food:bread")
    for user in range(300):
        events += lines(f"v{user}", 20, f"food:{user % 5}") + lines(f"v{user}", 10, f"toys:{user % 7}")
    items = sorted({event["item_id"] for event in events})
    _, edges, lists = relate(rows, events, catalogue(*items))
    after = edges["print:er", "bought_after", "print ink:x"]
    assert after.support == 30
    assert ("print ink:x", "bought_after", "print:er") not in edges
    assert ids(lists, "print:er", "complement")[0] in ("print ink:x", "food:bread")
    assert "First bought on the buyer's next day" in {r.reason[:36] for r in lists["print:er", "complement"]}


def test_complements_are_of_another_need_and_of_enough_buyers(rows: Rows) -> None:
    events = []
    for user in range(200):
        events += lines(f"u{user}", 5, f"tea:{user % 4}", f"bread:{user % 3}", f"soap:{user % 5}", f"jam:{user % 7}")
    for user in range(30):
        events += lines(f"p{user}", 4, "pasta:a", "sauce:b")
    for user in range(20):
        events += lines(f"q{user}", 4, "pasta:a", "pasta:c")
    events += [line for day in range(40) for line in lines("bot", day, "pasta:a", "rare:z")]
    items = sorted({event["item_id"] for event in events})
    _, edges, lists = relate(rows, events, catalogue(*items))
    assert ids(lists, "pasta:a", "complement") == ["sauce:b"], "not pasta, and not what one buyer buys forty times"
    assert ("pasta:a", "bought_with", "pasta:c") in edges
    assert ("pasta:a", "bought_with", "rare:z") not in edges
    assert ids(lists, "tea:0", "complement") == []
    (row,) = lists["sauce:b", "complement"]
    assert row.reason.startswith("In one basket ")
    assert row.reason.endswith("or more; 30 buyers")


def test_a_substitute_is_changed_to_and_not_in_one_basket(rows: Rows) -> None:
    events = []
    for user in range(10):
        events += lines(f"u{user}", 20, "tea:a") + lines(f"u{user}", 10, "tea:b")
    for user in range(40):
        events += lines(f"v{user % 5}", 20, "tea:popular") + lines(f"w{user}", 15, "tea:a", "tea:with")
        events += lines(f"x{user}", 15, f"soap:{user % 5}", f"bread:{user % 6}")
    for user in range(3):
        events += lines(f"y{user}", 20, "tea:b") + lines(f"y{user}", 10, "tea:popular")
    items = catalogue(*sorted({event["item_id"] for event in events}), "tea:never", "tea:off")
    items[-1]["active"] = False
    _, edges, lists = relate(rows, events, items)
    assert ids(lists, "tea:a", "substitute") == ["tea:b", "tea:popular"], "with is bought beside it, never by nobody"
    assert lists["tea:a", "substitute"][0].reason == (
        "Bought instead by 10 of 10 buyers who changed; same category tea, type tea"
        if ("tea:a", "of_type", "tea") in edges
        else "Bought instead by 10 of 10 buyers who changed; same category tea"
    )
    assert "fewer than 5 buyers" in next(
        row.reason for row in lists["tea:b", "substitute"] if row.related_item_id == "tea:popular"
    )
    assert all(not ids(lists, item, "substitute") for item in ("tea:never", "tea:off")), "neither sold nor new"


def test_an_item_just_listed_gets_the_popular_ones(rows: Rows) -> None:
    events = [line for user in range(9) for line in lines(f"u{user}", 9, f"tea:{user % 3}", "bread:a")]
    events += [line for user in range(9) for line in lines(f"u{user}", 8, "tea:2")]
    new = catalogue("tea:new", listed_on=RUN_DATE)
    _, _, lists = relate(rows, events, catalogue("tea:0", "tea:1", "tea:2", "bread:a") + new)
    assert ids(lists, "tea:new", "substitute") == ["tea:2", "tea:0", "tea:1"]


def test_a_bot_and_a_basket_of_four_thousand_items_are_drawn_from(rows: Rows) -> None:
    many = [f"c{number % 50}:{number}" for number in range(4_000)]
    events = [line for user in range(400) for line in lines(f"v{user}", 5, "f:a", "f:b")]
    events += lines("till", 3, *many) + [line for user in range(6) for line in lines(f"u{user}", 2, *many[:3])]
    frames, edges, _ = relate(rows, events, catalogue(*many, "f:a", "f:b"))
    pairs = [key for key in edges if key[1] == "bought_with"]
    assert sorted(pairs) == sorted((a, "bought_with", b) for a in many[:3] for b in many[:3] if a != b)
    limit = purchase_relations.BASKET_LINES + 3
    assert sum(edges[item, "in_category", item.split(":")[0]].support > 0 for item in many) <= limit
    assert frames["gold.related_items"].count() < 100 * limit


def test_purchases_are_counted_by_the_first_run_after_a_sunday(rows: Rows) -> None:
    events = [line for user in range(9) for line in lines(f"u{user}", 5, "tea:a", "tea:b")]
    events += [line for user in range(9) for line in lines(f"v{user}", 5, "soap:c", "soap:d")]
    later = [line for user in range(9) for line in lines(f"w{user}", 0, "bread:e", "bread:f")]
    items = catalogue("tea:a", "tea:b", "soap:c", "soap:d", "bread:e", "bread:f")
    frames, sunday, _ = relate(rows, events, items)
    assert ("tea:a", "bought_with", "tea:b") in sunday
    past = [row.asDict() for row in frames["features.relations"].collect()]
    monday = RUN_DATE + dt.timedelta(days=1)
    _, carried, _ = relate(rows, events + later, items[1:], rows(relations.RELATIONS, *past), run_date=monday)
    assert ("soap:c", "bought_with", "soap:d") in carried
    assert ("tea:a", "bought_with", "tea:b") not in carried  # tea:a has left the catalogue
    assert ("bread:e", "bought_with", "bread:f") not in carried
    old = [row | {"run_date": RUN_DATE - dt.timedelta(days=1)} for row in past]
    _, missed, _ = relate(rows, events + later, items, rows(relations.RELATIONS, *old), run_date=monday)
    assert ("bread:e", "bought_with", "bread:f") in missed
