"""Progress of a running job: a line updated in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console

console = Console(stderr=True, highlight=False)
meters: list[Meter] = []  # of the job that runs


def say(text: str) -> None:
    """One line of progress."""
    console.print(f"    {text}", style="dim", markup=False, soft_wrap=True)


class Meter:
    """Progress of a long job: its phases in order, each with its seconds on some machine.

    Only their ratios matter: the time left follows from the time so far and the share done.
    """

    def __init__(self, phases: Mapping[str, float]) -> None:
        """Before the first phase."""
        self._phases, self._total = dict(phases), sum(phases.values())
        self._started, self._phase, self._share = time.monotonic(), "", 0.0

    def begin(self, phase: str) -> None:
        """Begin a phase: those before it are done."""
        if phase not in self._phases:
            raise ValueError(f"phase {phase!r} is none of {', '.join(self._phases)}")
        self._phase, self._share = phase, 0.0

    def part(self, share: float) -> None:
        """So much of the current phase is done, 0 to 1."""
        self._share = min(max(share, 0.0), 1.0)

    def line(self) -> str:
        """Phase, part done, time left; empty before the first phase."""
        if not self._phase:
            return ""
        names = list(self._phases)
        place = names.index(self._phase)
        before = sum(self._phases[name] for name in names[:place])
        done = (before + self._share * self._phases[self._phase]) / self._total
        text = f"{self._phase} ({place + 1} of {len(names)}, {self._share:.0%}), {done:.0%} of all"
        if done < 0.02:
            return text
        return f"{text}, some {(time.monotonic() - self._started) * (1 - done) / done:.0f} s left"


@contextlib.contextmanager
def metered(phases: Mapping[str, float]) -> Iterator[Meter]:
    """A meter that `watching` shows while the block runs."""
    meter = Meter(phases)
    meters.append(meter)
    try:
        yield meter
    finally:
        meters.remove(meter)
