"""Keys of [privacy]: where they may be, what they must be, and the list of the erased that is written with one."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from jobs.runner import erased_list
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.support import tiny_shop
from udfs.keyed_hash import KeyProblemError, KeySource, keyed, known, read_once

KEY = "4b1f" * 16
SECTION = '[privacy.erasure]\nerased = "{erased}"\n{key}\nkey_id = "k1"\n'


def conf_of(root: Path, section: str) -> Path:
    conf = tiny_shop.make(root / "shop", days=0)
    conf.write_text(f"{conf.read_text()}\n{section}")
    return conf


def shop(root: Path, key: str = 'key_file = "../key"') -> Deployment:
    (root / "key").write_text(f"{KEY}\n")
    read_once.cache_clear()
    return load(conf_of(root, SECTION.format(erased="../erased/list.jsonl", key=key)))


def test_a_hash_is_rfc_2104s() -> None:
    expected = hmac.new(KEY.encode(), "Müller".encode(), hashlib.sha256).hexdigest()
    assert keyed(KEY.encode(), "Müller") == expected
    assert known(KEY.encode(), ["a", None, "", "Müller"], frozenset({expected})) == ["Müller"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[privacy.erasures]\nerased = 'a'", "privacy.erasures: unknown key"),
        (SECTION.format(erased="../e", key='key_files = "k"'), "privacy.erasure.key_files: unknown key"),
        (SECTION.format(erased="../e", key=""), "there must be either key_env or key_file"),
        (SECTION.format(erased="../e", key='key_env = "A"\nkey_file = "b"'), "either key_env or key_file"),
        (SECTION.format(erased="../e", key='key_env = "A-B"'), "privacy.erasure.key_env"),
        (SECTION.format(erased="lake/e.jsonl", key='key_env = "A"'), r"privacy.erasure.erased: .* is inside the lake"),
        (
            SECTION.format(erased="../e", key='key_file = "lake/key"'),
            r"privacy.erasure.key_file: .* is inside the lake",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(section: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfError, match=message):
        load(conf_of(tmp_path, section))


def test_a_shop_that_says_nothing_erases_nobody(tmp_path: Path) -> None:
    deployment = load(tiny_shop.make(tmp_path, days=0))
    assert erased_list.erased_users(deployment) == frozenset()
    with pytest.raises(ConfError, match=r"\[privacy.erasure\] is missing"):
        erased_list.add(deployment, ["a"], dt.date(2024, 1, 1))


def test_the_key_is_of_the_environment_or_a_file_and_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERASED_KEY", f" {KEY} ")
    assert KeySource(env="ERASED_KEY").read() == KEY.encode()
    for name, text in (("EMPTY", ""), ("SHORT", "a" * 31)):
        monkeypatch.setenv(name, text)
        with pytest.raises(KeyProblemError) as caught:
            KeySource(env=name).read()
        assert not text or text not in str(caught.value)
    with pytest.raises(KeyProblemError, match="cannot be read"):
        KeySource(file=str(tmp_path / "none")).read()


def test_the_list_names_nobody_and_only_grows(tmp_path: Path) -> None:
    deployment = shop(tmp_path)
    assert erased_list.erased_users(deployment) == frozenset()
    first = erased_list.add(deployment, ["anna-schmidt"], dt.date(2024, 1, 1))
    again = erased_list.add(deployment, ["anna-schmidt", "bert-kunze"], dt.date(2024, 2, 1))
    assert erased_list.erased_users(deployment) == again > first
    file = tmp_path / "erased" / "list.jsonl"
    assert "anna" not in file.read_text()
    assert KEY not in file.read_text()
    assert file.read_text().count("2024-01-01") == file.read_text().count("2024-02-01") == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_key_and_a_damaged_list_are_refused(tmp_path: Path) -> None:
    deployment = shop(tmp_path)
    erased_list.add(deployment, ["anna-schmidt"], dt.date(2024, 1, 1))
    (tmp_path / "key").write_text("9" * 64)
    read_once.cache_clear()
    with pytest.raises(ConfError, match="the key is not the one"):
        erased_list.erased_users(deployment)
    (tmp_path / "key").write_text(KEY)
    read_once.cache_clear()
    (tmp_path / "erased" / "list.jsonl").write_text("{}\n")
    with pytest.raises(ConfError, match="not a list of erased users"):
        erased_list.erased_users(deployment)
