"""Estimate of the duration of `make run` on this machine, from one second of calibration. Standard library alone.

`python3 jobs/commands/estimate.py` is the first step of `make run`, before any setup.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

CALIBRATION_SECONDS = 1.0
# On the machine of docs/performance.md: calibration rounds per second, cores, and minutes of the example.
ROUNDS_THERE, CORES_THERE = 1130.0, 2
SETUP_MINUTES, TRAINING_MINUTES, NIGHT_MINUTES = 2.0, 12.5, 7.5
MOST_CORES = 4  # with more, the example does not get faster


def rounds() -> float:
    """Calibration rounds, a fixed amount of work, that one core does per second."""
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < CALIBRATION_SECONDS:
        sum(number * number % 7 for number in range(10_000))
        done += 1
    return done / passed


def minutes(here: float, cores: int, *, sets_up: bool, trains: bool) -> int:
    """Minutes of `make run`, rounded up, on a machine with `here` rounds per second and `cores` cores."""
    speed = here / ROUNDS_THERE * min(cores, MOST_CORES) / CORES_THERE
    work = NIGHT_MINUTES + TRAINING_MINUTES * trains
    return math.ceil(SETUP_MINUTES * sets_up + work / speed)


def main() -> None:
    """Print the estimate."""
    sets_up, trains = not Path(".venv/.synced").exists(), not Path("lake/complete_journey/ops/models").exists()
    cores = os.cpu_count() or 1
    estimate = minutes(rounds(), cores, sets_up=sets_up, trains=trains)
    parts = [part for part, needed in (("set up", sets_up), ("train", trains), ("run a date", True)) if needed]
    print(f"make run: some {estimate} minutes here ({cores} cores) to {', '.join(parts)}; other work makes it longer")


if __name__ == "__main__":
    main()
