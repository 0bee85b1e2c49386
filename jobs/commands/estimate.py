"""How long `make run` will take on this machine, from a calibration of one second. Standard library alone.

`python3 jobs/commands/estimate.py` is the first thing that `make run` does, before anything is set up.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

CALIBRATION_SECONDS = 1.0
# The machine of docs/performance.md: rounds of the calibration in a second, cores, and minutes of the example there.
ROUNDS_THERE, CORES_THERE = 1130.0, 2
SETUP_MINUTES, TRAINING_MINUTES, NIGHT_MINUTES = 2.0, 12.5, 7.5
MOST_CORES = 4  # beyond, the example has too little to do side by side


def rounds() -> float:
    """Rounds of a fixed piece of work that one core does in a second."""
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < CALIBRATION_SECONDS:
        sum(number * number % 7 for number in range(10_000))
        done += 1
    return done / passed


def minutes(here: float, cores: int, *, sets_up: bool, trains: bool) -> int:
    """Minutes of `make run` on a machine with so many rounds a second and cores, rounded up."""
    speed = here / ROUNDS_THERE * min(cores, MOST_CORES) / CORES_THERE
    work = NIGHT_MINUTES + TRAINING_MINUTES * trains
    return math.ceil(SETUP_MINUTES * sets_up + work / speed)


def main() -> None:
    """Print the estimate."""
    sets_up, trains = not Path(".venv/.synced").exists(), not Path("lake/complete_journey/ops/models").exists()
    cores = os.cpu_count() or 1
    told = minutes(rounds(), cores, sets_up=sets_up, trains=trains)
    parts = [part for part, there in (("set up", sets_up), ("train", trains), ("run a date", True)) if there]
    print(f"make run: some {told} minutes here ({cores} cores) to {', '.join(parts)}; other work makes it longer")


if __name__ == "__main__":
    main()
