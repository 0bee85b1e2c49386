"""Icecat: an electronics catalogue and judged queries, as the raw files that a shop would have landed.

    python -m examples.icecat --source FOLDER --out landing/icecat

FOLDER has products.csv.gz and judgments.csv (examples/README.md says from where); each becomes one file named by --day.
"""

import argparse
import csv
import gzip
import shutil
import sys
import tempfile
from pathlib import Path

DAY = "2020-06-01"  # of the newest product
FILES = {
    "products.csv.gz": ("item_id", "title", "description", "brand", "price_cents", "released_on", "attributes"),
    "judgments.csv": ("query", "docid", "rating"),
}


def check(source: Path) -> None:
    """ValueError, naming the file, where one of FILES lacks a column."""
    for name, columns in FILES.items():
        path = source / name
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            header = next(csv.reader([file.readline().decode()]), [])
        if missing := [column for column in columns if column not in header]:
            raise ValueError(f"{path}: lacks {', '.join(missing)}; it has {', '.join(header)}")


def write(source: Path, out: Path, day: str) -> list[str]:
    """Names of the files written into `out`, which appears complete or not at all; their bytes are the source's."""
    check(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    names = {name: name.replace(".", f"_{day}.", 1) for name in FILES}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        landed = Path(scratch) / out.name
        landed.mkdir()
        for name, dated in names.items():
            shutil.copyfile(source / name, landed / dated)
        shutil.move(landed, out)
    return sorted(names.values())


def main(arguments: list[str] | None = None) -> int:
    """Parse the flags, write the files; 2 where the source does not fit or `out` exists."""
    parser = argparse.ArgumentParser(prog="examples.icecat", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a folder with products.csv.gz and judgments.csv")
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--day", default=DAY, help=f"date of the files; default {DAY}")
    given = parser.parse_args(arguments)
    if given.out.exists():
        print(f"{given.out} exists: remove it to write it anew", file=sys.stderr)
        return 2
    try:
        names = write(given.source, given.out, given.day)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{' and '.join(names)} in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
