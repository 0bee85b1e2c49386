"""Runs a module as `python -m` does, and samples where its main thread spends its time.

    python -P sampled.py SECONDS.json CHECKOUT MODULE [ARGUMENT ...]

The main thread's stack is read twenty times a second. Each sample's wall time is added to a pair: the two innermost
different functions of the checkout ("jobs/launch.py:_audit > jobs/quality.py:audit"), and what these wait for (`spark`:
a call into the JVM; `great_expectations`; `delta-rs`; `import`; `wait`: for another thread; else `python`).
SECONDS.json gets [[site, kind, seconds], ...], the longest first, also when the module raises. cpu.json beside it gets
the CPU seconds of this process and of all that it started (the JVM, Python workers): other work on the machine changes
them less than wall seconds.

This file imports nothing of the bench, so that it measures any checkout: the code that it runs comes from PYTHONPATH.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from types import FrameType

SECONDS_BETWEEN_SAMPLES = 0.05
IMPORTING = "<frozen importlib"
# A part of the path of a source file -> what a stack that has it below the checkout's innermost function waits for.
KINDS = (
    ("/great_expectations/", "great_expectations"),
    ("/deltalake/", "delta-rs"),
    ("/py4j/", "spark"),
    ("/concurrent/futures/", "wait"),
)


def site_of(frame: FrameType | None, checkout: str) -> tuple[str, str]:
    """(site, kind) of a stack, from its innermost frame outward."""
    sites: list[str] = []
    kinds: set[str] = set()
    while frame is not None and len(sites) < 2:
        file = frame.f_code.co_filename
        if file.startswith(checkout):
            site = f"{file.removeprefix(checkout)}:{frame.f_code.co_qualname}"
            if site not in sites:
                sites.append(site)
        elif not sites:
            kinds |= {kind for part, kind in KINDS if part in file}
            if file.startswith(IMPORTING):
                kinds.add("import")
        frame = frame.f_back
    order = ("import", *(kind for _, kind in KINDS))
    return " > ".join(reversed(sites)) or "outside the checkout", next((k for k in order if k in kinds), "python")


class Sampler(threading.Thread):
    """Adds up the main thread's wall time by site until it is stopped."""

    def __init__(self, checkout: str) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[tuple[str, str], float] = {}
        self._checkout = checkout.rstrip("/") + "/"
        self._main = threading.main_thread().ident
        self._done = threading.Event()

    def run(self) -> None:
        """Sample until stop()."""
        last = time.perf_counter()
        while not self._done.wait(SECONDS_BETWEEN_SAMPLES):
            key = site_of(sys._current_frames().get(self._main or 0), self._checkout)
            now = time.perf_counter()
            self.seconds[key] = self.seconds.get(key, 0.0) + now - last
            last = now

    def stop(self) -> list[tuple[str, str, float]]:
        """End sampling; (site, kind, seconds), the longest first."""
        self._done.set()
        self.join()
        rows = [(site, kind, round(seconds, 3)) for (site, kind), seconds in self.seconds.items()]
        return sorted(rows, key=lambda row: (-row[2], row[:2]))


def cpu_seconds(proc: Path = Path("/proc")) -> float:
    """CPU seconds of this process and its descendants that still live or were waited for; 0 without a /proc."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        parents[int(stat.parent.name)], ticks[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    total = 0
    for process in parents:
        ancestor: int | None = process
        while ancestor not in (None, os.getpid()):
            ancestor = parents.get(ancestor)
        if ancestor is not None:
            total += ticks[process]
    return total / os.sysconf("SC_CLK_TCK")


def main(arguments: list[str]) -> None:
    """Run the module; write what was sampled."""
    out, checkout, module, *module_arguments = arguments
    spec = importlib.util.find_spec(module)
    if spec is None or not (spec.origin or "").startswith(f"{checkout}/"):
        sys.exit(f"{module} would be of {spec and spec.origin}, not of {checkout}: has it __init__.py?")
    sys.argv = [module, *module_arguments]
    sampler = Sampler(checkout)
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(out).write_text(json.dumps(sampler.stop()) + "\n", "utf-8")
        Path(out).with_name("cpu.json").write_text(json.dumps(cpu_seconds()) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
