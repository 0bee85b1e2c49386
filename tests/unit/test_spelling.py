"""Spelling: what was meant is found, and what is right stays."""

from __future__ import annotations

import pytest

from udfs.search.edits import cost
from udfs.search.spelling import Speller

TEXTS = ["wireless headphones black", "headphone case", "hard disk 500gb", "wireless mouse", "laser printer sony"] * 10
SPELLER = Speller.fit(TEXTS, {"keyboard": 9, "keybord": 1}, ["Sony"])


@pytest.mark.parametrize(
    ("query", "meant", "kind"),
    [
        ("hedphones", "headphones", "spelling"),
        ("wirless mosue", "wireless mouse", "spelling"),
        ("harddisk", "hard disk", "split"),
        ("head phones", "headphones", "join"),
        ("keybord", "keyboard", "spelling"),  # searched for by nine users, spelt otherwise by one
    ],
)
def test_what_was_meant_is_found(query: str, meant: str, kind: str) -> None:
    correction = SPELLER.correct(query)
    assert (correction.query, correction.kind) == (meant, kind)
    assert correction.p > 0.5


@pytest.mark.parametrize(
    "query",
    [
        "wireless mice",
        "sony",
        "hp-304xl",
        "500gb",
        "keyboards",
        "😀",
        "",
        "イヤホン",
        "; drop table",
        "xkcdqwv",
        "mouses 1440p",
    ],
)
def test_what_is_right_or_like_nothing_stays(query: str) -> None:
    correction = SPELLER.correct(query)
    assert (correction.query, correction.kind) == (query, "none")


def test_the_other_words_of_a_query_decide_between_two_near_ones() -> None:
    speller = Speller.fit(["red bread", "green break"] * 10)
    assert speller.correct("red breaz").query == "red bread"
    assert speller.correct("green breaz").query == "green break"


def test_likelier_errors_cost_less() -> None:
    assert cost("mouse", "mouse") == 0
    assert cost("mosue", "mouse") < cost("moxse", "mouse")
    assert cost("moise", "mouse") < cost("moxse", "mouse"), "a neighbouring key"
    assert cost("iouse", "mouse") > cost("mouie", "mouse"), "the first letter"
    assert cost("headphons", "headphones") < cost("headphos", "headphones")
