"""Fixtures of the tests that run whole jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.flow import INTAKE
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.support import tiny_shop


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A shop of which only the catalogue has landed."""
    made = tiny_shop.make(tmp_path, days=0)
    for number in tiny_shop.EARLIER:
        (tmp_path / "landing" / "sales" / f"sales_{tiny_shop.day(number)}.csv").unlink()
    text = made.read_text().replace("[sources.events]", "[sources.events]\nmax_silent_days = 365", 1)
    made.write_text(text)
    return made


@pytest.fixture
def intake(conf: Path, spark: SparkSession) -> Callable[..., list[run_job.Outcome]]:
    """Run the first three jobs for the shop's n-th day."""

    def run(number: int, **told: object) -> list[run_job.Outcome]:
        lake = Lake(spark, load(conf))
        return [run_job.run(job.name, lake, tiny_shop.day(number), **told) for job in INTAKE]

    return run
