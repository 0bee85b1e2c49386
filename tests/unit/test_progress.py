"""The line that says how far a long job is."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.commands import watching
from jobs.reports import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def test_a_meter_says_phase_part_and_time_left(clock: SimpleNamespace) -> None:
    meter = progress.Meter({"encoder": 6.0, "ranker": 2.0})
    assert meter.line() == ""
    meter.begin("encoder")
    assert meter.line() == "encoder (1 of 2, 0%), 0% of all"  # nothing is known of its speed yet
    meter.part(0.5)
    clock.seconds += 30
    assert meter.line() == "encoder (1 of 2, 50%), 38% of all, some 50 s left"
    meter.begin("ranker")
    clock.seconds += 30
    assert meter.line() == "ranker (2 of 2, 0%), 75% of all, some 20 s left"
    meter.part(7)
    assert meter.line() == "ranker (2 of 2, 100%), 100% of all, some 0 s left"


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(ValueError, match="phase 'x' is none of encoder"):
        progress.Meter({"encoder": 1.0}).begin("x")


def test_the_line_is_shown_while_the_job_runs_and_not_after_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LINES", 0.01)
    stages = {4: SimpleNamespace(numCompletedTasks=1, numTasks=2), 5: SimpleNamespace(numCompletedTasks=0, numTasks=8)}
    tracker = SimpleNamespace(getActiveStageIds=lambda: [3, 4, 5], getStageInfo=stages.get)  # 3 has just ended
    spark: Any = SimpleNamespace(sparkContext=SimpleNamespace(statusTracker=lambda: tracker))

    def wait_for(text: str, before: str = "") -> str:
        for _ in range(1_000):
            before += capsys.readouterr().err
            if text in before:
                return before
            time.sleep(0.01)
        raise AssertionError(f"{text!r} was not said in {before!r}")

    with watching.watching(spark, "train_model"):
        with progress.metered({"encoder": 6.0, "ranker": 2.0}) as meter:
            meter.begin("ranker")
            wait_for("ranker (2 of 2, 0%), 75% of all")
            wait_for("1 of 10 tasks of 2 stages")
        capsys.readouterr()
        lines = wait_for("train_model").splitlines()
        assert "ranker" not in lines[-1]
