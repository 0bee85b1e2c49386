"""Entities of items: sizes by rules, values by the catalogue's own words, products and their copies."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.relations.entities import COPIES, READ, entities
from udfs.relations.sizes import UNITS, normal_form, number_of, size_of


def catalogue(*items: dict[str, Any]) -> pd.DataFrame:
    """Items of one category; the title is the text."""
    empty = {"category": "c", "brand": None, "product_id": None}
    rows = [
        empty | {"item_id": f"i{number}", "text": item["title"].lower()} | item for number, item in enumerate(items)
    ]
    return pd.DataFrame(rows, columns=list(READ))


def found(items: pd.DataFrame, relation: str) -> dict[str, set[str]]:
    edges = entities(items)
    assert not edges.duplicated(["subject", "relation", "object"]).any()
    assert edges["weight"].between(0, 1).all()
    of_relation = edges[edges["relation"] == relation]
    return {item: set(rows["object"]) for item, rows in of_relation.groupby("subject")}


@pytest.mark.parametrize(
    ("title", "size"),
    [
        ("Cola 6 x 330 ml", "1980 ml"),
        ("Cola 330ML x 6", "1980 ml"),
        ("Beer 24 PACK 12 OZ", "8165 g"),  # an ounce of weight
        ("Beer 12 fl.oz", "354.9 ml"),
        ("Water 1,5 L", "1500 ml"),
        ("Water 1,000 ml", "1000 ml"),
        ("Salt .75 OZ", "21.26 g"),
        ("Milk 1/2 gal", "1893 ml"),
        ("Beef 1 1/2 lb", "680.4 g"),
        ("Spoons SET OF SIX", "6 pcs"),
        ("SET/4 RED CANDLES", "4 pcs"),
        ("Canvas 20 x 30 cm", "200 x 300 mm"),  # sides, no pack
        ('Screen 24"', "609.6 mm"),
        ("Jeans size 42", "42"),
        ("Shirt, M", "m"),
        ("Bowl large", "large"),
        ("Nothing 0 ml", None),
        ("Code 99999999999999999 g", None),
        ("Milk 1/0 l", None),
        ("Model X200 mll", None),
        ("", None),
    ],
)
def test_sizes_are_in_one_unit_a_dimension(title: str, size: str | None) -> None:
    read = size_of(title)
    assert (read.value if read else None) == size


def test_a_title_keeps_what_is_no_size() -> None:
    assert size_of("Acme Cola 6 x 330 ml Zero").rest == "acme cola zero"
    assert size_of("SFT DRNK 2 LITER BTL 2 L").rest == "sft drnk btl", "the size that is said twice counts once"


@given(st.integers(1, 999), st.integers(1, 99), st.sampled_from(["ml", "l", "g", "oz", "lb", "kg", "gb"]))
def test_a_pack_is_its_pieces_times_their_content(amount: int, pieces: int, unit: str) -> None:
    base, times = UNITS[unit]
    expected = normal_form(pieces * amount * times, base)
    for title in (f"tea {pieces} x {amount} {unit}", f"{amount}{unit} X {pieces} tea"):
        assert size_of(title).value == expected


@given(st.text(max_size=60))
def test_any_title_is_read(title: str) -> None:
    size = size_of(title)
    assert size is None or (size.value and len(size.rest) <= len(title.casefold()) + 6 * title.count('"'))
    edges = entities(catalogue({"title": title}, {"title": title}))
    assert set(edges["subject"]) <= {"i0", "i1"}


@given(st.floats(1e-6, 1e11))
def test_normal_forms_have_four_digits(amount: float) -> None:
    assert float(normal_form(amount, "g").removesuffix(" g")) == pytest.approx(amount, rel=5.1e-4)


def test_numbers_of_both_notations() -> None:
    assert [number_of(text) for text in ("1.5", "1,5", "1 1/2", "1,500", ".5")] == [1.5, 1.5, 1.5, 1500, 0.5]


def test_a_unit_nobody_knows_is_kept_as_text_where_several_numbers_have_it() -> None:
    items = catalogue({"title": "Soap 3 zork"}, {"title": "Soap 5 Zork"}, {"title": "Soap 7 dwarfs"})
    edges = entities(items)
    sizes = edges[edges["relation"] == "has_size"]
    assert dict(zip(sizes["subject"], sizes["object"], strict=True)) == {"i0": "3 zork", "i1": "5 zork"}
    assert set(sizes["weight"]) == {0.5}


def test_values_are_words_that_the_category_repeats() -> None:
    mugs = catalogue(
        {"title": "Light blue glass mug"},
        {"title": "Blue glass mug, 330 ml"},
        {"title": "Red mug with orange dots"},
        {"title": "Orange/red tin mug"},
        {"title": "Puce mug"},
    )
    assert found(mugs, "has_colour") == {
        "i0": {"light blue"},
        "i1": {"blue"},
        "i2": {"red", "orange"},
        "i3": {"red", "orange"},
    }
    assert found(mugs, "has_material") == {"i0": {"glass"}, "i1": {"glass"}}, "one tin mug is no kind of mugs"
    assert found(mugs, "of_type") == {f"i{number}": {"mug"} for number in range(5)}


def test_a_fruit_is_no_colour_where_there_are_no_other_colours() -> None:
    juices = catalogue({"title": "Orange juice"}, {"title": "Orange juice 1 l"}, {"title": "Red grape juice"})
    assert found(juices, "has_colour") == {}
    assert found(juices, "of_type")["i0"] == {"juice"}
    assert found(catalogue(*[{"title": "Wine glass"}] * 2), "has_material") == {}, "the thing itself"


def test_makers_are_of_the_catalogue_or_known_from_it() -> None:
    items = catalogue(
        {"title": "Acme Foods tea", "brand": "Acme Foods"},
        {"title": "Acme Foods bread", "brand": "Acme Foods"},
        {"title": "ACME foods cheese"},
        {"title": "Cheese by Acme Foods"},
        {"title": "Solo jam", "brand": "Solo"},
        {"title": "Solo milk"},
    )
    assert found(items, "made_by") == {"i0": {"Acme Foods"}, "i1": {"Acme Foods"}, "i2": {"Acme Foods"}, "i4": {"Solo"}}


def test_variants_differ_in_size_and_colour_alone() -> None:
    items = catalogue(
        {"title": "Acme Garden Chair red", "brand": "Acme"},
        {"title": "Acme Garden Chair blue", "brand": "Acme"},
        {"title": "Acme Garden Chair blue, large", "brand": "Acme"},
        {"title": "Other Garden Chair red", "brand": "Other"},
        {"title": "Acme Beach Chair red", "brand": "Acme"},
    )
    assert found(items, "variant_of") == {item: {"Acme: chair garden"} for item in ("i0", "i1", "i2")}
    assert found(items, "same_as") == {}


def test_two_shops_ids_of_one_product_are_the_same() -> None:
    copies = catalogue({"title": "Blue Garden Chair"}, {"title": "BLUE garden chair"}, {"title": "Red garden chair"})
    copies.loc[len(copies)] = ["z", "blue garden chair", "blue garden chair, of teak", "c", None, None]
    assert found(copies, "same_as") == {"i1": {"i0"}}, "another text may be of another thing"
    assert found(copies, "variant_of") == {item: {"chair garden"} for item in ("i0", "i1", "i2", "z")}


def test_what_only_names_its_category_is_no_product() -> None:
    items = catalogue(
        *[{"title": f"YOGURT GREEK {size} OZ", "category": "YOGURT GREEK", "brand": "7"} for size in (5, 5, 6)]
    )
    assert found(items, "variant_of") == found(items, "same_as") == {}


def test_more_copies_than_a_product_has_are_none() -> None:
    many = catalogue(*[{"title": "Blue garden chair"}] * (COPIES + 1))
    assert found(many, "same_as") == {}
    assert len(found(many, "variant_of")) == COPIES + 1


def test_the_shops_own_products_are_variants() -> None:
    items = catalogue({"title": "A", "product_id": "p"}, {"title": "B", "product_id": "p"}, {"title": "C"})
    assert found(items, "variant_of") == {"i0": {"product_id p"}, "i1": {"product_id p"}}


def test_an_item_without_attributes_has_no_edge() -> None:
    assert entities(catalogue({"title": "?"}, {"title": "12"})).empty
    assert entities(catalogue()).empty
    nothing = catalogue({"title": "x", "category": None, "brand": None})
    assert entities(nothing).empty


def test_categories_are_read_apart() -> None:
    one = catalogue({"title": "Blue mug"}, {"title": "Blue cup", "category": None})
    assert found(one, "has_colour") == {}


def test_fifty_thousand_variants_have_an_edge_each() -> None:
    """Edges grow with the items, not with their pairs."""
    variants = catalogue(*[{"title": f"Garden chair {number} cm"} for number in range(1, 2001)])
    edges = entities(variants)
    assert len(edges) == 3 * len(variants)  # a size, a type and the product
