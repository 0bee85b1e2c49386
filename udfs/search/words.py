"""Words of queries and catalogues: one normal form, so that a query and an item meet on the same tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import Stemmer  # type: ignore[import-not-found]

MAX_QUERY = 200  # characters of a query that are read; what follows is ignored
UNITS: tuple[str, ...] = (
    "gb",
    "tb",
    "mb",
    "ghz",
    "mhz",
    "hz",
    "kg",
    "g",
    "mg",
    "ml",
    "cl",
    "l",
    "mm",
    "cm",
    "m",
    "km",
    "w",
    "kw",
    "v",
)
UNITS += ("mah", "va", "mp", "inch", "in", "ft", "oz", "lb", "lbs", "pt", "qt", "ct", "pk", "ppm", "dpi")
# Scripts without spaces, or unknown to stemmers of European languages: read by pairs of characters.
_BY_CHARACTER = re.compile(
    "[\u0370-\u03ff\u0400-\u052f\u0530-\u1fff\u2e80-\u9fff\ua000-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"[^\W_]+(?:[.'][^\W_]+)*")  # 2.5, o'neill: one word
_MEASURE = re.compile(rf"\b(\d+(?:[.,]\d+)?)\s+({'|'.join(sorted(UNITS, key=len, reverse=True))})\b")
_A_MEASURE = re.compile(rf"\d+(?:[.,]\d+)?(?:{'|'.join(UNITS)})")


def normalised(text: str) -> str:
    """Compatibility form, lower case, `&` as `and`, a number and its unit one word, single spaces; MAX_QUERY long."""
    plain = unicodedata.normalize("NFKC", text[: 4 * MAX_QUERY]).casefold().replace("&", " and ")
    visible = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in plain)
    return _MEASURE.sub(r"\1\2", " ".join(visible.split()))[:MAX_QUERY].strip()


def by_character(text: str) -> bool:
    """Whether a text has signs of scripts that are read by pairs of characters."""
    return _BY_CHARACTER.search(text) is not None


def words(text: str) -> list[str]:
    """Words of a normalised text in their order, accents removed, not stemmed; of other scripts pairs of characters."""
    bare = unicodedata.normalize("NFKD", text)
    bare = "".join(sign for sign in bare if not unicodedata.combining(sign)) if not bare.isascii() else bare
    found: list[str] = []
    for word in _WORD.findall(bare):
        found += _pairs(word) if _BY_CHARACTER.search(word) else [word.replace("'", "")]
    return found


def _pairs(word: str) -> list[str]:
    return [word] if len(word) == 1 else [word[at : at + 2] for at in range(len(word) - 1)]


@lru_cache(maxsize=4)
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)


def stems(tokens: Sequence[str], language: str = "english") -> list[str]:
    """The words without their endings (Porter, 2001, Snowball); one with a digit stays as it is. "": all stay."""
    if not language:
        return list(tokens)
    stem = _stemmer(language).stemWord
    return [token if any(sign.isdigit() for sign in token) else stem(token) for token in tokens]


def terms(text: str, language: str = "english") -> list[str]:
    """What a text is found by: the stems of its words, in their order, repeated as they are repeated."""
    return stems(words(normalised_text(text)), language)


def normalised_text(text: str) -> str:
    """As `normalised`, of an item's text, of any length."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("&", " and ")
    return _MEASURE.sub(r"\1\2", " ".join(plain.split()))


def query_key(text: str, language: str = "english") -> str:
    """What queries have in common that differ in case, spacing, signs and endings only; "" without words."""
    return " ".join(terms(normalised(text), language))


def is_code(query: str) -> bool:
    """Whether a query is one article number, bar code or model name: one word of four signs or more with a digit.

    A number with its unit (500gb) is none.
    """
    text = normalised(query)
    alone = " " not in text and len(text) >= 4 and any(sign.isdigit() for sign in text)
    return alone and not _A_MEASURE.fullmatch(text) and all(sign.isalnum() or sign in "-_./#+" for sign in text)
