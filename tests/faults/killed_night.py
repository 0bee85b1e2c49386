"""A night that kills itself: `python -m tests.faults.killed_night <moment> <night's flags>`.

`<moment>` is `before:N` or `after:N`, the night's N-th commit of a table, or `never`. What is killed, by SIGKILL, is
the whole process group: the driver, its JVM and its Python workers. Each commit is told on stdout: `commit N <table>`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from jobs import night
from jobs.runtime import Lake


def die_at(moment: str) -> None:
    """Wrap the one door that every commit goes through, so that the chosen commit is the last thing before death."""
    when, _, number = moment.partition(":")
    real, lock, count = Lake._commit, threading.Lock(), 0

    def commit(self: Lake, table: str, write: Any) -> None:
        nonlocal count
        with lock:  # jobs commit their tables side by side; the n-th is then one for all
            count += 1
            mine = when != "never" and count == int(number)
            print(f"commit {count} {table}", flush=True)
            if mine and when == "before":
                os.killpg(0, signal.SIGKILL)
            real(self, table, write)
            if mine:
                os.killpg(0, signal.SIGKILL)

    Lake._commit = commit  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.exit(night.main(sys.argv[2:]))
