"""Reviews of women's clothing, as the raw files that a shop would have landed; the days are SIMULATED.

    python -m examples.clothing_reviews --source reviews.csv.gz --out landing/clothing_reviews

The data set has neither dates nor users: each review is put on a day by a hash of its number, over 400 days.
"""

import argparse
import csv
import gzip
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

FIRST_DAY, DAYS = date(2017, 1, 1), 400
ITEM = ("Clothing ID", "Division Name", "Department Name", "Class Name")
REVIEW = (
    *("Clothing ID", "Title", "Review Text", "Rating", "Recommended IND", "Positive Feedback Count"),
    *("Division Name", "Department Name", "Class Name"),
)


def read(source: Path) -> list[dict[str, str]]:
    """The data set's rows, with their number as `number`. ValueError, naming the file, where a column is missing."""
    with gzip.open(source, "rt", encoding="utf-8") if source.suffix == ".gz" else source.open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in REVIEW if name not in (rows.fieldnames or ())]:
            raise ValueError(f"{source}: lacks {', '.join(missing)}")
        return [row | {"number": str(number)} for number, row in enumerate(rows)]


def moment(number: str) -> datetime:
    """The simulated moment of a review, by a hash of its number."""
    seconds = int.from_bytes(hashlib.sha256(number.encode()).digest()[:8], "big") % (DAYS * 86_400)
    return datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(seconds=seconds)


def write(source: Path, out: Path) -> int:
    """The number of days, each a file of reviews in `out`, which appears complete or not at all.

    The items are in one file of the first day.
    """
    rows = read(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    by_day: dict[date, list[tuple[str, ...]]] = {}
    for row in rows:
        at = moment(row["number"])
        cells = (row["number"], at.isoformat(sep=" "), *(row[name] for name in REVIEW[:6]))
        by_day.setdefault(at.date(), []).append(cells)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        landed = Path(scratch) / out.name
        landed.mkdir()
        _file(landed / f"items_{FIRST_DAY}.csv", ITEM, _items(rows))
        for day, cells_of_day in sorted(by_day.items()):
            header = ("number", "simulated_moment", *REVIEW[:6])
            cells_of_day.sort(key=lambda cells: cells[1])
            _file(landed / f"reviews_{day}.csv", header, cells_of_day)
        shutil.move(landed, out)
    return len(by_day)


def _items(rows: list[dict[str, str]]) -> Iterator[tuple[str, ...]]:
    """Each item once, as its first review has it."""
    first = {row["Clothing ID"]: row for row in reversed(rows)}
    for name in sorted(first, key=int):
        yield tuple(first[name][column] for column in ITEM)


def _file(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def main(arguments: list[str] | None = None) -> int:
    """Parse the flags, write the files; 2 where the source does not fit or `out` exists."""
    parser = argparse.ArgumentParser(prog="examples.clothing_reviews", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="the data set's CSV, gzipped or not")
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    given = parser.parse_args(arguments)
    if given.out.exists():
        print(f"{given.out} exists: remove it to write it anew", file=sys.stderr)
        return 2
    try:
        days = write(given.source, given.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{days} days of reviews (days simulated) and a file of items in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
