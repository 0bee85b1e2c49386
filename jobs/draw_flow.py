"""The night as a picture, text and SVG, and the tables as a page: all derived from jobs/flow.py and schemas/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from jobs.flow import NIGHT, TRAINING, Job
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
BOX_WIDTH, BOX_HEIGHT, COLUMN_GAP, ROW_GAP, MARGIN = 208, 30, 62, 14, 20


def as_text(jobs: Sequence[Job]) -> str:
    """Two lines a job: what it reads, with the window of dates, and what it writes."""
    lines = []
    for number, job in enumerate(jobs, start=1):
        reads = ", ".join(f"{read.table} ({read.window})" for read in job.reads)
        lines += [f"{number:>2}. {job.name}", f"      <- {reads}", f"      -> {', '.join(job.writes)}"]
    return "\n".join(lines)


def arrows(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """(from, to) between tables and jobs; what a job reads of its own earlier nights is left out."""
    found = []
    for job in jobs:
        found += [(read.table, job.name) for read in job.reads if read.table not in job.writes]
        found += [(job.name, table) for table in job.writes]
    return found


def columns(pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The column of each node: one right of the rightmost node it comes from."""
    place = {node: 0 for pair in pairs for node in pair}
    for _ in place:
        for source, target in pairs:
            place[target] = max(place[target], place[source] + 1)
    return place


def rows(pairs: Sequence[tuple[str, str]], place: dict[str, int]) -> dict[str, float]:
    """The row of each node: as near as may be to the mean row of where it comes from, none upon another."""
    row: dict[str, float] = {}
    for column in range(max(place.values()) + 1):
        members = [node for node in place if place[node] == column]
        wanted = {}
        for order, node in enumerate(members):
            sources = [row[source] for source, target in pairs if target == node and source in row]
            wanted[node] = sum(sources) / len(sources) if sources else float(order)
        free = 0.0
        for node in sorted(members, key=lambda name: (wanted[name], name)):
            row[node] = max(free, wanted[node])
            free = row[node] + 1
    return row


def as_svg(jobs: Sequence[Job]) -> str:
    """The same as an SVG page: tables by colour of layer, jobs in white."""
    pairs = arrows(jobs)
    place, names = columns(pairs), {job.name for job in jobs}
    row = rows(pairs, place)

    def corner(node: str) -> tuple[float, float]:
        return MARGIN + place[node] * (BOX_WIDTH + COLUMN_GAP), MARGIN + row[node] * (BOX_HEIGHT + ROW_GAP)

    width = 2 * MARGIN + max(place.values()) * (BOX_WIDTH + COLUMN_GAP) + BOX_WIDTH
    height = 2 * MARGIN + max(row.values()) * (BOX_HEIGHT + ROW_GAP) + BOX_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for source, target in pairs:
        (x1, y1), (x2, y2) = corner(source), corner(target)
        x1, y1, y2 = x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
        bend = COLUMN_GAP * 0.8
        curve = f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
        parts.append(f'<path d="{curve}" fill="none" stroke="#999999"/>')
    for node in place:
        x, y = corner(node)
        colour = COLOURS["job" if node in names else node.split(".")[0]]
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
            f'rx="{0 if node in names else 12}" '
            f'fill="{colour}" stroke="#555555"/><text x="{x + BOX_WIDTH / 2:.0f}" y="{y + 19:.0f}" '
            f'text-anchor="middle">{escape(node)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the night and the training; write the SVG and the page where asked to."""
    parser = argparse.ArgumentParser(prog="jobs.draw_flow", description=__doc__)
    parser.add_argument("--svg", type=Path, help="write the picture here")
    parser.add_argument("--tables", type=Path, help="write the tables' reference here")
    given = parser.parse_args(arguments)
    print(f"night\n{as_text(NIGHT)}\n\nweekly training\n{as_text(TRAINING)}")
    for path, text in ((given.svg, as_svg(NIGHT + TRAINING)), (given.tables, reference_page(TABLES.values()))):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"\nwritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
