"""List of the erased users as keyed hashes, in a file outside the lake: intake leaves their lines out by it.

JSON lines: the first has the id of the key and its check, each other one a user's HMAC and the day of the erasure.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable
from pathlib import Path

from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.privacy import Erasure
from udfs.keyed_hash import KeyProblemError, KeySource, check_of, keyed


def key_of(deployment: Deployment) -> KeySource:
    """Where the key of the list is. ConfError where the deployment names none."""
    return _key(_erasure(deployment))


def erased_users(deployment: Deployment) -> frozenset[str]:
    """HMACs of the erased users; none where the deployment has no [privacy.erasure], or no list yet.

    ConfError where the key is missing, too short, or not the one that the list was written with.
    """
    if deployment.privacy.erasure is None:
        return frozenset()
    return frozenset(_entries(deployment))


def add(deployment: Deployment, users: Iterable[str], day: dt.date) -> frozenset[str]:
    """Add users to the list, which is replaced in one step; their HMACs. ConfError as in `erased_users`."""
    conf, key = _erasure(deployment), _secret(deployment)
    entries = _entries(deployment)
    hashes = frozenset(keyed(key, user) for user in users)
    entries |= {each: str(day) for each in hashes - entries.keys()}
    lines = [{"key_id": conf.key_id, "check": check_of(key, conf.key_id)}]
    lines += [{"user": user, "erased_on": day} for user, day in sorted(entries.items())]
    file = Path(conf.erased)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.touch(mode=0o600)
    beside.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    beside.replace(file)
    return hashes


def _entries(deployment: Deployment) -> dict[str, str]:
    """HMAC -> day of the erasure."""
    conf, key = _erasure(deployment), _secret(deployment)
    file = Path(conf.erased)
    if not file.exists():
        return {}
    try:
        first, *rest = (json.loads(line) for line in file.read_text("utf-8").splitlines())
        written, check, entries = first["key_id"], first["check"], {row["user"]: row["erased_on"] for row in rest}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfError(f"{file}: not a list of erased users ({type(error).__name__}); put it back") from None
    if written != conf.key_id:
        raise ConfError(
            f"{deployment.file}: [privacy.erasure] key_id = {conf.key_id!r}, but {file} was written with {written!r}"
        )
    if check != check_of(key, conf.key_id):
        raise ConfError(f"{deployment.file}: [privacy.erasure] the key is not the one {file} was written with")
    return entries


def _erasure(deployment: Deployment) -> Erasure:
    if deployment.privacy.erasure is None:
        raise ConfError(
            f"{deployment.file}: [privacy.erasure] is missing: erased (a file outside the lake), key_id, and key_env "
            "or key_file (docs/privacy.md)"
        )
    return deployment.privacy.erasure


def _key(conf: Erasure) -> KeySource:
    return KeySource(conf.key_env, conf.key_file)


def _secret(deployment: Deployment) -> bytes:
    try:
        return key_of(deployment).read()
    except KeyProblemError as error:
        raise ConfError(f"{deployment.file}: [privacy.erasure] {error}") from None
