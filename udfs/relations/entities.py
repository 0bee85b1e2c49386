"""Entities of items: what a catalogue's columns and titles say of each item, as edges of a graph.

Sizes are read by rules (udfs/relations/sizes.py). Colours, materials, types and makers are words that the titles of the
item's own category repeat: what no other item has is no value that items could share. Looking words up in a set takes
half a second for 100,000 titles, so there is no automaton.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from udfs.relations.lexicon import (
    ALSO_THINGS,
    COLOURS,
    LITTLE,
    MATERIALS,
    PACKAGES,
    SAME_COLOUR,
    SAME_MATERIAL,
    SHADES,
    STOPS,
)
from udfs.relations.sizes import other_units, plain, size_of

COLUMNS = ("subject", "relation", "object", "weight", "support", "source")
READ = ("item_id", "title", "text", "category", "brand", "product_id")
RULES = "1"  # of this package: another version reads every catalogue again
REPEATED = 2  # items of a category that share a colour, a material or a maker
TYPE_REPEATED, TYPE_WORDS = 3, 3  # items that share a type, and the words of the longest
UNIT_NUMBERS = 2  # different numbers before a word that is a unit in this catalogue
NAMING_WORDS = 2  # of a title, beside its category, maker, size and colours: fewer name no product
COPIES = 10  # items with the same words: more are not one product, the titles do not tell them apart
START = 200  # characters of a text that are read for what the title does not say
_WORD = re.compile(r"[^\W_]+")
_END_OF_HEAD = re.compile(r"[,;:()\[\]|]| - ")


@dataclass(frozen=True)
class Title:
    """A title as it was read: its size, the words without it, and those before the first comma or `with`."""

    size: str | None
    known_unit: bool
    words: tuple[str, ...]
    head: tuple[str, ...]


def entities(items: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS: made_by, of_type, has_size, has_colour, has_material, variant_of and same_as of items (READ).

    Each category is read for itself; items without one are one category. weight is 1 for what the catalogue or a rule
    says, 0.5 for a size in a unit that the rules do not know, n / (n + 1) for a word of n items of the category.
    support: items of the category with the same object. source: `catalogue` for its columns, else `text`.

    variant_of: a product's variants have the same maker and words but for size and colour, or the same product_id; the
    object names the product. same_as: other ids of the item with the smallest id among at most COPIES with the same
    maker, words, size, colours and text; all is equal but the id. A title that says no more than its category and its
    size names no product.
    """
    rows: list[tuple[str, str, str, float, int, str]] = []
    for _, part in items.groupby(items["category"].fillna(""), sort=True):
        ordered = part.sort_values("item_id")
        rows += _of_category([ordered[name].tolist() for name in READ])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"weight": "float64", "support": "int64"})


def _of_category(columns: Sequence[list[Any]]) -> Iterator[tuple[str, str, str, float, int, str]]:
    ids, titles, texts, categories, brands, products = columns
    brands = [brand if isinstance(brand, str) else None for brand in brands]
    products = [product if isinstance(product, str) else None for product in products]
    read = _read(titles, texts)
    counts = Counter(word for title in titles for word in set(read[title].words))
    makers = _makers(brands, [read[title].words for title in titles])
    words = _Values(counts)
    types = _types([words.head(read[title], _words(maker)) for title, (maker, _) in zip(titles, makers, strict=True)])
    category = set(_words(categories[0])) if isinstance(categories[0], str) else set()
    found: list[tuple[str, str, str, str]] = []  # subject, relation, object, source
    alike: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for item, title, text, (maker, source), kind, product in zip(
        ids, titles, texts, makers, types, products, strict=True
    ):
        known = read[title]
        colours = words.colours(known.words)
        found += [(item, "made_by", maker, source)] * bool(maker)
        found += [(item, "of_type", kind, "text")] * bool(kind)
        found += [(item, "has_size", known.size, "text")] if known.size else []
        found += [(item, "has_colour", colour, "text") for colour in sorted(set(colours))]
        found += [(item, "has_material", material, "text") for material in sorted(set(words.materials(known.words)))]
        own = words.naming(known.words, {*category, *_words(maker)})
        key = f"product_id {product}" if product else _product(maker, own)
        if key:
            of_text = (maker or "", *own, known.size or "", *sorted(colours), *_words(text)) if own else ()
            alike[key].append((item, of_text))
    found += _products(alike)
    shared = Counter((relation, value) for _, relation, value, _ in found)
    unknown = {title.size for title in read.values() if title.size and not title.known_unit}
    for item, relation, value, source in found:
        support = shared[relation, value]
        yield item, relation, value, _weight(relation, value, source, support, unknown), support, source


def _weight(relation: str, value: str, source: str, support: int, unknown: set[str]) -> float:
    if relation == "has_size":
        return 0.5 if value in unknown else 1.0
    return 1.0 if source == "catalogue" or relation == "same_as" else support / (support + 1)


def _read(titles: Sequence[str], texts: Sequence[str]) -> dict[str, Title]:
    """Each different title as it was read; where it has no size, the start of its first text is read for one."""
    first = dict(zip(reversed(titles), reversed(texts), strict=True))
    numbers: dict[str, set[str]] = defaultdict(set)
    for title in first:
        for number, word in other_units(title):
            numbers[word].add(number)
    units = frozenset(word for word, seen in numbers.items() if len(seen) >= UNIT_NUMBERS)
    read = {}
    for title, text in first.items():
        size = size_of(title, units)
        rest = size.rest if size else plain(title)
        if size is None:
            size = size_of(text[:START])
        words = tuple(_WORD.findall(rest))
        head = next((part for part in _END_OF_HEAD.split(rest) if part.strip()), "")
        read[title] = Title(
            size.value if size else None, size.known if size else True, words, tuple(_WORD.findall(head))
        )
    return read


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold())) if isinstance(text, str) else ()


def _makers(brands: Sequence[str | None], titles: Sequence[tuple[str, ...]]) -> list[tuple[str, str]]:
    """(brand, source): the catalogue's, else one that a title begins with and that the category has elsewhere."""
    counted = Counter(brand for brand in brands if brand)
    known = {_words(brand): brand for brand, count in sorted(counted.items()) if count >= REPEATED and _words(brand)}
    longest = max(map(len, known), default=0)
    found = []
    for brand, words in zip(brands, titles, strict=True):
        starts = (known[words[:count]] for count in range(longest, 0, -1) if words[:count] in known)
        found.append((brand, "catalogue") if brand else (next(starts, ""), "text"))
    return found


class _Values:
    """Colours and materials of one category: words of the lexicon that its titles repeat."""

    def __init__(self, counts: Counter[str]) -> None:
        repeated = {word for word, count in counts.items() if count >= REPEATED}
        plain_colours = repeated & (COLOURS - ALSO_THINGS)
        self._colours = plain_colours | (repeated & ALSO_THINGS if len(plain_colours) >= REPEATED else set())
        self._materials = repeated & MATERIALS

    def colours(self, words: Sequence[str]) -> list[str]:
        """`light blue`, `red`: colours with their shades."""
        found, shade = [], ""
        for word, following in zip(words, (*words, "")[1:], strict=True):
            is_shade = word in SHADES and following in self._colours  # navy, in navy blue
            if word in self._colours and not is_shade:
                found.append(f"{shade} {SAME_COLOUR.get(word, word)}".strip())
            shade = word if is_shade else ""
        return found

    def materials(self, words: Sequence[str]) -> list[str]:
        """Materials; the last word of a title, as in `wine glass`, is the thing itself."""
        return [SAME_MATERIAL.get(word, word) for word in words[:-1] if word in self._materials]

    def _uncoloured(self, words: Sequence[str]) -> list[str]:
        """The words without colours and their shades: also of colours that only one title has."""
        coloured = self._colours | (COLOURS - ALSO_THINGS)
        with_next = zip(words, (*words, "")[1:], strict=True)
        return [word for word, following in with_next if not {word, following if word in SHADES else ""} & coloured]

    def head(self, title: Title, maker: Sequence[str]) -> tuple[str, ...]:
        """The words that may name a title's type: before `with`, without colours, materials, makers and numbers."""
        cut = next((place for place, word in enumerate(title.head) if word in STOPS), len(title.head))
        names = [word for word in self._uncoloured(title.head[:cut]) if not word.isdigit() and word not in maker]
        return tuple(word for word in names[:-1] if word not in self._materials) + tuple(names[-1:])

    def naming(self, words: Sequence[str], others: set[str]) -> tuple[str, ...]:
        """The words, in order of the alphabet, that tell a product from others of its category and maker."""
        return tuple(sorted(set(self._uncoloured(words)) - others - LITTLE - PACKAGES))


def _types(heads: Sequence[tuple[str, ...]]) -> list[str]:
    """The longest end of each head, TYPE_WORDS at most, that TYPE_REPEATED heads have; empty for none."""
    ends = Counter(end for head in heads for end in _ends(head))
    return [next((" ".join(end) for end in _ends(head) if ends[end] >= TYPE_REPEATED), "") for head in heads]


def _ends(head: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (head[-count:] for count in range(min(TYPE_WORDS, len(head)), 0, -1))


def _product(maker: str, own: tuple[str, ...]) -> str:
    """The product that a title names; empty where its words are too few to tell products apart."""
    telling = [word for word in own if len(word) > 1 and not word.isdigit()]
    return " ".join((*([f"{maker}:"] if maker else []), *own)) if len(telling) >= NAMING_WORDS else ""


def _products(alike: dict[str, list[tuple[str, tuple[str, ...]]]]) -> Iterator[tuple[str, str, str, str]]:
    for key, members in alike.items():
        given = key.startswith("product_id ")
        if given or len(members) > 1:
            yield from ((item, "variant_of", key, "catalogue" if given else "text") for item, _ in members)
        copies: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for item, words in members:
            if words:
                copies[words].append(item)
        for same in copies.values():
            if 1 < len(same) <= COPIES:
                yield from ((item, "same_as", same[0], "text") for item in same[1:])
