"""What `make run` says of its time before it begins."""

from __future__ import annotations

import math
import subprocess
import sys

from jobs.commands import estimate
from tests.support.tiny_shop import REPO


def test_half_the_speed_takes_twice_the_work_and_the_same_setup() -> None:
    there, cores = estimate.ROUNDS_THERE, estimate.CORES_THERE
    work = estimate.NIGHT_MINUTES + estimate.TRAINING_MINUTES
    assert estimate.minutes(there, cores, sets_up=False, trains=True) == work
    assert estimate.minutes(there / 2, cores, sets_up=False, trains=True) == 2 * work
    assert estimate.minutes(there / 2, cores, sets_up=True, trains=True) == 2 * work + estimate.SETUP_MINUTES
    assert estimate.minutes(there, cores * 2, sets_up=False, trains=True) == math.ceil(work / 2)
    assert estimate.minutes(there, 64, sets_up=False, trains=True) == math.ceil(work / 2)


def test_the_estimate_needs_no_environment() -> None:
    """It is printed before anything is set up: -I and -S leave out whatever is installed."""
    line = [sys.executable, "-I", "-S", "jobs/commands/estimate.py"]
    done = subprocess.run(line, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("make run: some ")
