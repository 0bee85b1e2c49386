"""The outcome file: what a command writes for whoever started it, however it ends."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.runner.cli import common_flags, exit_code, reported
from jobs.runner.outcome import MOST_OF_AN_ERROR, reporter
from schemas.errors import ConfError, DataError, TooEarlyError

DATE = dt.date(2024, 3, 2)
ABOUT = {"job": "clean_events", "run_date": "2024-03-02"}


def given(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    common_flags(parser)
    return parser.parse_args(["--run-date", str(DATE), "--conf", "conf/x.toml", *flags])


def act(error: BaseException | None) -> dict[str, Any]:
    if error:
        raise error
    return {"rows": {"silver.events": 5}, "model_version": None}


def test_what_a_job_did_is_written(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    file.write_text("of an earlier try, which was longer than what follows, so that nothing of it may be left" * 9)
    assert reported(given("--outcome-file", str(file)), "clean_events", lambda: act(None)) == 0
    assert json.loads(file.read_text()) == ABOUT | {"rows": {"silver.events": 5}, "model_version": None}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfError("conf/x.toml: no such file"), 2, "error: conf/x.toml: no such file"),
        (DataError("silver.events: 3 rows\nuser_id is null"), 3, "refused: silver.events: 3 rows\nuser_id is null"),
        (TooEarlyError("nothing to judge yet"), 4, "error: nothing to judge yet"),
        (OSError(30, "Read-only file system", "/lake/page.html"), 1, "error: /lake/page.html is on a read-only"),
    ],
)
def test_what_a_job_failed_of_is_written(
    error: Exception, code: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outcome.json"
    assert reported(given("--outcome-file", str(file)), "clean_events", lambda: act(error)) == code
    found = json.loads(file.read_text())
    assert found["error"].startswith(line)
    assert {name: found[name] for name in ABOUT} == ABOUT
    assert found["error"] in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("rank"), KeyboardInterrupt(), ValueError("no such thing")])
def test_a_crash_is_written_and_stays_a_crash(error: BaseException, tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    with pytest.raises(type(error)):
        reported(given("--outcome-file", str(file)), "clean_events", lambda: act(error))
    said = json.loads(file.read_text())["error"]
    assert said.startswith(f"{type(error).__name__} at tests/")
    assert said.endswith("in act: the log of this run has its text and traceback")
    assert "rank" not in said
    assert "no such thing" not in said


def test_a_killed_job_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    file.write_text('{"rows": {}}')
    reporter(str(file), "clean_events", DATE)
    assert file.read_text() == ""


def test_the_file_may_be_a_uri(tmp_path: Path) -> None:
    file = tmp_path / "a b.json"
    reporter(f"file://{tmp_path}/a%20b.json", "clean_events", DATE)({"rows": {}})
    assert json.loads(file.read_text()) == ABOUT | {"rows": {}}


@pytest.mark.parametrize("place", ["{}/nowhere/outcome.json", "file://{}/nowhere/outcome.json", "carrier://pigeon"])
def test_a_job_whose_outcome_cannot_be_written_is_not_begun(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[int] = []
    flags = given("--outcome-file", place.format(tmp_path))
    assert reported(flags, "clean_events", lambda: begun.append(1)) == 2
    assert not begun
    assert f"error: --outcome-file {place.format(tmp_path)}: cannot be written:" in capsys.readouterr().err


def test_a_job_that_is_done_is_done_where_the_file_has_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    report = reporter(str(folder / "outcome.json"), "clean_events", DATE)
    (folder / "outcome.json").unlink()
    folder.rmdir()
    assert exit_code(lambda: act(None), report) == 0
    assert "the outcome could not be written" in capsys.readouterr().err


def test_an_error_fits_a_pods_termination_message(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    reporter(str(file), "clean_events", DATE)({"error": "x" * 99_999})
    assert len(json.loads(file.read_text())["error"]) == MOST_OF_AN_ERROR
    assert len(file.read_bytes()) < 4_096


def test_without_the_flag_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reported(given(), "clean_events", lambda: act(None)) == 0
    assert not list(tmp_path.iterdir())
