"""What make hands over is what was typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.tiny_shop import REPO


@pytest.mark.parametrize(
    "query",
    [
        "SELECT '$x', '$$', '${env:HOME}', '$(shell touch made)' FROM ops.runs",
        """SELECT "it's", 'say "no"', `a b` FROM t -- a # comment \\ backslash""",
        "SELECT 1,\n       2\nFROM t  WHERE a = 'two  spaces'",
        "SELECT 'Müller', '%d', 'a=b', '!x', '*'",
        "",
    ],
    ids=["dollars", "quotes", "lines", "others", "none"],
)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_query_arrives_as_it_is(query: str, way: str, tmp_path: Path) -> None:
    rule = f"show: ; @cd {tmp_path} && printf '%s' \"$$Q\""
    line = ["make", "-s", "--eval", rule, "show", *([f"Q={query}"] if way == "argument" else [])]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"} | ({"Q": query} if way == "environment" else {})
    shown = subprocess.run(line, cwd=REPO, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == query
    assert not (REPO / "made").exists()
    assert not (tmp_path / "made").exists()


def test_the_query_is_handed_to_the_command_as_one_word() -> None:
    assert '--query "$$Q"' in (REPO / "Makefile").read_text()
