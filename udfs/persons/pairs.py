"""Probability that two identity records are of one person, by what they agree in (Fellegi and Sunter, 1969).

Each field that both records have adds bits of evidence: log2(m / u), where m is how often records of one person agree
so (equal, similar or neither) and u how often those of two persons do. The bits were chosen on FEBRL's data sets 1
to 3, those of e-mail, phone and card by how many people share one; bench/persons.py judges them on the fourth.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple


class Bits(NamedTuple):
    """Evidence of one field, in bits: values that are equal, similar (a typing error or two), or neither."""

    equal: float
    similar: float
    other: float


BITS = {
    "email": Bits(28, 20, -1),  # people have several addresses
    "phone": Bits(24, 0, -1),  # a household may share one
    "card_id": Bits(28, 14, -1),
    "given_name": Bits(6, 4, -5),
    "family_name": Bits(8, 5, -3),  # changes by marriage
    "birth_date": Bits(13, 7, -6),
    "postcode": Bits(7, 3, -1),  # people move
    "street": Bits(9, 6, -1),
}
FIELDS = tuple(BITS)
GIVEN = FIELDS.index("given_name")  # the family name follows
EQUAL, SIMILAR, OTHER = range(3)
PRIOR = -20.0  # bits: of a million pairs of ids one is of one person
IDENTIFYING = ("email", "card_id")  # a person's own
SHORT = 5  # letters up to which one error makes two values similar; beyond, two
MOST_ERRORS = 2


def probability(one: Sequence[str | None], other: Sequence[str | None], shared: Collection[str] = ()) -> float:
    """Probability that two records, values of FIELDS in normal form, are of one person; missing values say nothing.

    shared: fields in which earlier records of the two were equal, which counts as equal now. Zero where the given names
    differ, unless birth date and a field of IDENTIFYING agree (twins, spouses with one e-mail address); and where birth
    dates differ, unless a field of IDENTIFYING is equal (parents and children of one name).
    """
    found = {}
    for field, a, b in zip(FIELDS, one, _turned(one, other), strict=True):
        if field in shared:
            found[field] = EQUAL
        elif a and b:
            found[field] = _agreement(a, b)
    owned = any(found.get(field) == EQUAL for field in IDENTIFYING)
    same_birth = found.get("birth_date", OTHER) < OTHER
    if found.get("given_name") == OTHER and not (owned and same_birth):
        return 0.0
    if found.get("birth_date") == OTHER and not owned:
        return 0.0
    return float(1 / (1 + 2 ** -(PRIOR + sum(BITS[field][agreement] for field, agreement in found.items()))))


def _agreement(a: str, b: str) -> int:
    """The place in Bits of two given values."""
    if a == b:
        return EQUAL
    return SIMILAR if similar(a, b) else OTHER


def _turned(one: Sequence[str | None], other: Sequence[str | None]) -> Sequence[str | None]:
    """`other` with given and family name exchanged, where they agree so with those of `one` and do not as they are."""
    names = (one[GIVEN], one[GIVEN + 1], other[GIVEN], other[GIVEN + 1])
    if not all(names):
        return other
    a, b, c, d = (name or "" for name in names)
    if max(_agreement(a, c), _agreement(b, d)) < OTHER or max(_agreement(a, d), _agreement(b, c)) == OTHER:
        return other
    return (*other[:GIVEN], other[GIVEN + 1], other[GIVEN], *other[GIVEN + 2 :])


@lru_cache(maxsize=100_000)
def similar(one: str, other: str) -> bool:
    """Whether two different values may be one with typing errors: few edits, or one begins with the other, an initial.

    Edits: a letter more, less or another, or two neighbours turned (optimal string alignment).
    """
    short, long = sorted((one, other), key=len)
    if len(short) == 1:
        return long.startswith(short)
    most = 1 if len(short) <= SHORT else MOST_ERRORS
    if len(long) - len(short) > most:
        return False
    before: list[int] = []
    row = list(range(len(short) + 1))
    for line, letter in enumerate(long):
        last, before, row = before, row, [line + 1]
        for at, sign in enumerate(short):
            best = min(before[at] + (sign != letter), before[at + 1] + 1, row[at] + 1)
            if line and at and sign == long[line - 1] and short[at - 1] == letter:
                best = min(best, last[at - 1] + 1)
            row.append(best)
    return row[-1] <= most
