"""Pairs of identity records: what speaks for one person, what against it, and what forbids it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.persons.pairs import BITS, FIELDS, PRIOR, probability, similar

ANNA = {
    "given_name": "anna",
    "family_name": "meier",
    "birth_date": "19800201",
    "postcode": "10115",
    "street": "torstr1",
}
LINKED = 0.99
VALUES = st.sampled_from([None, "", "a", "anna", "anan", "hanna", "bert", "19800201", "19800210", "19791212"])
RECORDS = st.tuples(*[VALUES] * len(FIELDS))


def of(**fields: str) -> list[str | None]:
    return [fields.get(name) for name in FIELDS]


def test_bits_add_up_to_a_probability() -> None:
    bits = PRIOR + BITS["family_name"].equal + BITS["given_name"].similar + BITS["postcode"].other
    one, other = of(given_name="anna", family_name="meier", postcode="1"), of(given_name="anne", family_name="meier")
    assert probability(one, [*other[:-2], "99999", None]) == pytest.approx(2**bits / (1 + 2**bits))
    assert probability(of(), of()) == pytest.approx(2**PRIOR / (1 + 2**PRIOR)), "missing values say nothing"


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ({"email": "a@b.c"}, {"email": "a@b.c"}, True),
        ({"card_id": "77"}, {"card_id": "77"}, True),
        ({"phone": "301234567"}, {"phone": "301234567"}, False),
        ({"phone": "301234567", "given_name": "anna"}, {"phone": "301234567", "given_name": "anna"}, True),
        (ANNA, ANNA, True),
        (ANNA, ANNA | {"family_name": "schulz"}, True),
        (ANNA, ANNA | {"given_name": "meier", "family_name": "anna"}, True),
        (ANNA, ANNA | {"birth_date": "19800210", "given_name": "ana"}, True),
        (ANNA, ANNA | {"birth_date": "20050607"}, False),
        (ANNA | {"phone": "1"}, ANNA | {"phone": "1", "given_name": "clara"}, False),
        (ANNA | {"email": "1"}, ANNA | {"email": "1", "given_name": "bert", "birth_date": "19790505"}, False),
        (ANNA | {"card_id": "1"}, ANNA | {"card_id": "1", "given_name": "clara"}, True),
        ({"given_name": "anna", "family_name": "meier"}, {"given_name": "anna", "family_name": "meier"}, False),
    ],
    ids=[
        *("one e-mail address", "one card", "one phone, which a household may share", "phone and name"),
        *("all the same", "another family name", "names exchanged", "errors", "mother and daughter of one name"),
        *("twins with one phone", "spouses with one e-mail address", "one card, born on one day", "a common name"),
    ],
)
def test_who_is_one_person(one: dict[str, str], other: dict[str, str], are_one: bool) -> None:
    assert (probability(of(**one), of(**other)) >= LINKED) is are_one


@given(RECORDS, RECORDS)
def test_the_order_of_two_records_does_not_matter(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    assert probability(one, other) == pytest.approx(probability(other, one))
    assert 0 <= probability(one, other) <= 1


def test_a_key_that_earlier_records_shared_counts() -> None:
    assert probability(of(email="new@b.c"), of(email="a@b.c")) < LINKED
    assert probability(of(email="new@b.c"), of(email="a@b.c"), ["email"]) >= LINKED


@pytest.mark.parametrize(
    ("one", "other", "are"),
    [
        *(("a", "anna", True), ("b", "anna", False), ("anna", "anan", True), ("anna", "hanna", True)),
        *(("anna", "hannah", False), ("matthews", "matthwes", True), ("matthews", "mathwes", True)),
        *(("19800201", "19800210", True), ("19800201", "19791231", False)),
    ],
)
def test_similar_values_differ_by_few_errors(one: str, other: str, are: bool) -> None:
    assert similar(one, other) is similar(other, one) is are
