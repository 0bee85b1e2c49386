"""What a person sees while a job runs: one line that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from rich.console import Console

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line of progress."""
    console.print(f"    {text}", style="dim", markup=False)
