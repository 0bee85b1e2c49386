"""A job or a night that kills itself: `python -m tests.faults.killed <moment> <job, or night> <its flags>`.

`<moment>` is `before:N` or `after:N`, its N-th commit of a table, or `never`. What is killed, by SIGKILL, is the whole
process group: the driver, its JVM and its Python workers. That the first job begins is told on stdout: BEGINS.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from jobs.commands import night
from jobs.runner import run_job
from jobs.runner.lake import Lake

BEGINS = "begins"


def die_at(moment: str) -> None:
    """Wrap the one door that every commit goes through, so that the chosen commit is the last thing before death."""
    when, _, number = moment.partition(":")
    real, lock, count = Lake._commit, threading.Lock(), 0

    def commit(self: Lake, table: str, write: Any) -> None:
        nonlocal count
        with lock:  # jobs commit their tables side by side; the n-th is then one for all
            count += 1
            mine = when != "never" and count == int(number)
            if mine and when == "before":
                os.killpg(0, signal.SIGKILL)
            real(self, table, write)
            if mine:
                os.killpg(0, signal.SIGKILL)

    Lake._commit = commit  # type: ignore[method-assign]


def tell_that_it_begins() -> None:
    """Wrap what runs a job."""
    real = run_job.run

    def run(*given: Any, **named: Any) -> run_job.Outcome:
        print(BEGINS, flush=True)
        return real(*given, **named)

    run_job.run = run


if __name__ == "__main__":
    moment, what, *flags = sys.argv[1:]
    die_at(moment)
    tell_that_it_begins()
    if what == "night":
        sys.exit(night.main(flags))
    run_job.main(what, flags)
