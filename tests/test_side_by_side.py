"""A night's jobs side by side: none before what it needs, no more than were allowed, and every failure told."""

from __future__ import annotations

import random
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from jobs import launch, night
from jobs.flow import NIGHT, PLANNING, PUBLISHING, SCORING, edges
from jobs.held import hold, holding
from jobs.launch import Outcome
from tests.tiny_shop import day

LAKE = SimpleNamespace(spark=SimpleNamespace(sparkContext=SimpleNamespace(setLocalProperty=lambda *_: None)))
NAMES = [job.name for job in NIGHT]


class Watched:
    """Stands in for jobs.launch.run: what began and ended in which order, and how many ran at once."""

    def __init__(self, seed: int = 0, failing: tuple[str, ...] = ()) -> None:
        self.random, self.failing, self.lock = random.Random(seed), failing, threading.Lock()
        self.began: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.running = self.most = 0

    def __call__(self, name, *_unused, **_too):
        with self.lock:
            self.events.append(("began", name))
            self.began.append(name)
            self.running += 1
            self.most = max(self.most, self.running)
            pause = self.random.choice([0, 0.001, 0.004])
        time.sleep(pause)
        with self.lock:
            self.running -= 1
            self.events.append(("ended", name))
        if name in self.failing:
            raise ValueError(f"{name} broke")
        return Outcome("", name, {}, 0.0, None, ())


def run(monkeypatch, watched, jobs=NIGHT, at_once=2):
    monkeypatch.setattr(launch, "run", watched)
    return night.run_jobs(LAKE, jobs, day(0), at_once=at_once)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), at_once=st.integers(1, 5))
def test_no_job_begins_before_what_it_needs_has_ended(seed, at_once):
    watched = Watched(seed)
    with pytest.MonkeyPatch.context() as patch:
        outcomes = run(patch, watched, at_once=at_once)
    assert [outcome.job for outcome in outcomes] == NAMES, "told in the flow's order, whichever ended first"
    assert sorted(watched.began) == sorted(NAMES)
    assert watched.most <= at_once
    place = {event: number for number, event in enumerate(watched.events)}
    assert all(place["ended", earlier] < place["began", later] for earlier, later in edges(NIGHT))


def test_one_at_a_time_is_the_order_of_the_flow(monkeypatch):
    watched = Watched()
    run(monkeypatch, watched, at_once=1)
    assert watched.began == NAMES


def test_two_that_do_not_need_each_other_do_run_at_once(monkeypatch):
    met = threading.Barrier(2, timeout=20)  # breaks, and fails the test, where the two never meet

    def meet(name, *_unused, **_too):
        if name in ("encode_items", "build_default_recommendations"):
            met.wait()
        return Outcome("", name, {}, 0.0, None, ())

    run(monkeypatch, meet, SCORING + PLANNING + PUBLISHING, at_once=2)


def test_after_a_failure_nothing_begins_and_the_other_ends(monkeypatch):
    watched = Watched(failing=("encode_items",))
    with pytest.raises(ValueError, match="encode_items broke"):
        run(monkeypatch, watched, SCORING + PLANNING + PUBLISHING)
    assert "score_candidates" not in watched.began
    assert {name for _, name in watched.events} == set(watched.began)
    assert sum(what == "ended" for what, _ in watched.events) == len(watched.began), "what ran beside it was waited for"


def test_two_failures_are_both_told(monkeypatch, capsys):
    watched = Watched(failing=("encode_items", "build_default_recommendations", "forecast_demand"))
    with pytest.raises(ValueError, match="broke") as raised:
        run(monkeypatch, watched, SCORING + PLANNING + PUBLISHING)
    told = capsys.readouterr().err + str(raised.value)
    assert all(f"{name} broke" in told for name in watched.began)


def test_a_job_lets_go_of_its_own_frames_alone(spark):
    others = hold(spark.range(3).withColumn("other", F.lit(1)))
    with holding():
        own = hold(spark.range(3).withColumn("own", F.lit(2)))
        assert own.count() == others.count() == 3
        assert own.storageLevel.useMemory
    assert not own.storageLevel.useMemory
    assert others.storageLevel.useMemory
    others.unpersist()
