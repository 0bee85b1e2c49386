"""Patterns of raw files match as Hadoop's do, and what lies beside them is told from what is meant."""

from __future__ import annotations

import pytest

from jobs.runner.file_patterns import alternatives, compiled, is_hidden, is_literal, resembles


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*.csv", ["a.csv", "a b.csv", "ä'[1]:.csv", ".csv"], ["a.CSV", "a.csv.txt", "acsv"]),
        ("a?.csv", ["ab.csv", "a:.csv"], ["a.csv", "abc.csv"]),
        ("*.[cC][sS][vV]", ["a.csv", "a.CSV", "a.Csv"], ["a.cs", "a.csvs"]),
        ("[^a]*", ["b", "ba"], ["a", "ab", ""]),
        ("[a-c]x", ["ax", "bx"], ["dx", "-x"]),
        ("a[1].csv", ["a1.csv"], ["a[1].csv"]),
        (r"a\[1\].csv", ["a[1].csv"], ["a1.csv"]),
        (r"a\*", ["a*"], ["ab"]),
        ("a+(b).csv", ["a+(b).csv"], ["aab.csv"]),
        ("a[b", ["a[b"], ["ab"]),
    ],
)
def test_a_part_of_a_path_matches_whole_names(pattern: str, names: list[str], others: list[str]) -> None:
    found = compiled(pattern)
    assert all(found.fullmatch(name) for name in names)
    assert not any(found.fullmatch(name) for name in others)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("sales/*.csv", ["sales/*.csv"]),
        ("{a,b}/*.csv", ["a/*.csv", "b/*.csv"]),
        ("x.{csv,csv.gz}", ["x.csv", "x.csv.gz"]),
        ("{a,b{c,d}}e", ["ae", "bce", "bde"]),
        ("{a,b}{c,d}", ["ac", "ad", "bc", "bd"]),
        ("a{b/c,d}", ["ab/c", "ad"]),
        ("a{b", ["a{b"]),
    ],
)
def test_braces_are_alternatives(pattern: str, expected: list[str]) -> None:
    assert alternatives(pattern) == expected


def test_hidden_names_and_names_that_resemble() -> None:
    assert all(map(is_hidden, ["._a.csv", ".a.csv.Ab12", "_SUCCESS", "_a.csv", "a.csv._COPYING_"]))
    assert not any(map(is_hidden, ["a._csv", "a_b.csv"]))
    assert all(resembles("*.csv", name) for name in ["A.CSV", "a.csv.txt", "a.CSV.gz", "a.csv.part"])
    assert not any(resembles("*.csv", name) for name in ["README.md", "a.csv.tar.gz", "acsv"])
    assert is_literal("sales")
    assert not is_literal("sale?")
