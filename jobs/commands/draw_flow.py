"""The night as a picture, text and SVG, and the tables as a page: all derived from jobs/flow.py and schemas/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from jobs.flow import BACKTEST, EVALUATION, MAINTENANCE, MODELS, NIGHT, RECOMMEND, TRAINING, Job
from schemas import TABLES
from schemas.derive import reference_page

COLOURS = {
    "landing": "#e8e8e8",
    "bronze": "#ecd2b4",
    "silver": "#d8dee6",
    "features": "#d5e8d4",
    "ops": "#e1d5e7",
    "gold": "#ffe699",
    "job": "#ffffff",
}
BOX_WIDTH, BOX_HEIGHT, SIDE_GAP, LEVEL_GAP, MARGIN = 216, 30, 24, 44, 20


def as_text(jobs: Sequence[Job]) -> str:
    """Two lines a job: what it reads, with the window of dates, and what it writes."""
    lines = []
    for number, job in enumerate(jobs, start=1):
        reads = ", ".join(f"{read.table}{f' of {read.kind}' * bool(read.kind)} ({read.window})" for read in job.reads)
        lines += [f"{number:>2}. {job.name}", f"      <- {reads or 'nothing'}", f"      -> {', '.join(job.writes)}"]
    return "\n".join(lines)


def arrows(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """(from, to) between tables and jobs; what a job reads of its own earlier nights is left out.

    Models of different kinds are shown apart.
    """
    found = []
    for job in jobs:
        for read in job.reads:
            if read.table not in job.writes:
                found.append((_models(read.kind or RECOMMEND) if read.window in MODELS else read.table, job.name))
        found += [(job.name, _models(job.trains) if job.trains else table) for table in job.writes]
    return list(dict.fromkeys(found))


def _models(kind: str) -> str:
    """The node of the models of one kind."""
    return f"ops.models of {kind}"


def levels(pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The level of each node, from the top: one below the lowest node it comes from."""
    level = {node: 0 for pair in pairs for node in pair}
    for _ in level:
        for source, target in pairs:
            level[target] = max(level[target], level[source] + 1)
    return level


def places(pairs: Sequence[tuple[str, str]], level: dict[str, int]) -> dict[str, float]:
    """The place of each node in its level: as near as may be below what it comes from, none upon another."""
    place: dict[str, float] = {}
    for depth in range(max(level.values()) + 1):
        wanted = {}
        for order, node in enumerate(node for node in level if level[node] == depth):
            above = [place[source] for source, target in pairs if target == node]
            wanted[node] = sum(above) / len(above) if above else float(order)
        free = 0.0
        for node in sorted(wanted, key=lambda name: (wanted[name], name)):
            place[node] = max(free, wanted[node])
            free = place[node] + 1
    return place


def as_svg(jobs: Sequence[Job]) -> str:
    """The same as an SVG page, from raw files down to gold: tables in the colour of their layer, jobs in white."""
    pairs = arrows(jobs)
    level, names = levels(pairs), {job.name for job in jobs}
    place = places(pairs, level)

    def corner(node: str) -> tuple[float, float]:
        return MARGIN + place[node] * (BOX_WIDTH + SIDE_GAP), MARGIN + level[node] * (BOX_HEIGHT + LEVEL_GAP)

    width = 2 * MARGIN + max(place.values()) * (BOX_WIDTH + SIDE_GAP) + BOX_WIDTH
    height = 2 * MARGIN + max(level.values()) * (BOX_HEIGHT + LEVEL_GAP) + BOX_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for source, target in pairs:
        (x1, y1), (x2, y2) = corner(source), corner(target)
        x1, x2, y1 = x1 + BOX_WIDTH / 2, x2 + BOX_WIDTH / 2, y1 + BOX_HEIGHT
        bend = LEVEL_GAP * 0.9
        curve = f"M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
        parts.append(f'<path d="{curve}" fill="none" stroke="#888888"/>')
    for node in level:
        x, y = corner(node)
        colour = COLOURS["job" if node in names else node.split(".")[0]]
        rounding = 0 if node in names else 12
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="{rounding}" '
            f'fill="{colour}" stroke="#555555"/><text x="{x + BOX_WIDTH / 2:.0f}" y="{y + 19:.0f}" '
            f'text-anchor="middle">{escape(node)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the night and the training; write the SVG and the page where asked to."""
    parser = argparse.ArgumentParser(prog="jobs.commands.draw_flow", description=__doc__)
    parser.add_argument("--svg", type=Path, help="write the picture here")
    parser.add_argument("--tables", type=Path, help="write the tables' reference here")
    given = parser.parse_args(arguments)
    parts = {"night": NIGHT, "weekly training": TRAINING + EVALUATION + BACKTEST, "weekly upkeep": MAINTENANCE}
    print("\n\n".join(f"{name}\n{as_text(jobs)}" for name, jobs in parts.items()))
    for path, text in (
        (given.svg, as_svg(NIGHT + TRAINING + EVALUATION + BACKTEST)),
        (given.tables, reference_page(TABLES.values())),
    ):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"\nwritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
