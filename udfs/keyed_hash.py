"""HMAC-SHA256 of ids, under a secret key from an environment variable or a file.

RFC 2104. Whoever has the key can test whether an id is in a list of hashes, and nobody else can.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SHORTEST_KEY = 32  # characters: 128 bits in hexadecimal


class KeyProblemError(ValueError):
    """A key that is missing, cannot be read or is too short; the text has no part of it."""


@dataclass(frozen=True)
class KeySource:
    """Where a process finds the key: the name of an environment variable, or the path of a file. Never the key."""

    env: str = ""
    file: str = ""

    def read(self) -> bytes:
        """The key without white space around it; read once by each process. KeyProblemError."""
        return read_once(self.env, self.file)


@cache
def read_once(env: str, file: str) -> bytes:
    """The key in this environment variable, or else in this file."""
    if env:
        text, place = os.environ.get(env, ""), f"environment variable {env}"
    else:
        place = file
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyProblemError(f"{file}: the key cannot be read ({type(error).__name__})") from None
    key = text.strip()
    if not key:
        raise KeyProblemError(f"{place}: there is no key; make one: openssl rand -hex 32")
    if len(key) < SHORTEST_KEY:
        raise KeyProblemError(f"{place}: the key has {len(key)} characters and needs {SHORTEST_KEY} at least")
    return key.encode()


def keyed(key: bytes, text: str) -> str:
    """HMAC-SHA256 of a text in hexadecimal, 64 characters."""
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def pseudonym(key: bytes, text: str) -> str:
    """The first 128 bits of the HMAC, 32 characters of hexadecimal."""
    return keyed(key, text)[:32]


def known(key: bytes, texts: Iterable[str | None], hashes: frozenset[str]) -> list[str]:
    """The texts whose HMAC is among `hashes`."""
    return [text for text in texts if text and keyed(key, text) in hashes]


def check_of(key: bytes, key_id: str) -> str:
    """What tells two keys of one id apart without disclosing either, 16 characters."""
    return keyed(key, f"key check\0{key_id}")[:16]
