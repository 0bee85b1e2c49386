"""CDNOW: purchases of a music shop's customers, from the package `lifetimes` to the raw files of its days.

    python -m examples.cdnow --out landing/cdnow

writes one CSV a day with a purchase. The package is read as data and never imported.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

PACKAGE = "lifetimes"
COLUMNS = ("customer_id", "date", "number_of_cds", "dollar_value")
SAMPLE_COLUMNS = ("customer_id", "sample_id", *COLUMNS[1:])


def package_data() -> Path:
    """The installed package's folder of data sets. FileNotFoundError where it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the data package {PACKAGE} is not installed: make setup")
    return Path(spec.origin).parent / "datasets"


def read(file: Path, columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    """One row a purchase: `columns`, with the date as a date."""
    lines = pd.read_csv(
        file, sep=r"\s+", names=list(columns), skiprows=int(columns == COLUMNS), dtype={"customer_id": str, "date": str}
    )
    return lines.assign(date=pd.to_datetime(lines["date"], format="%Y%m%d"))


def write(source: Path, out: Path) -> int:
    """How many files were written into `out`, which appears complete or not at all."""
    lines = read(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        written = Path(scratch) / out.name
        written.mkdir()
        for day, of_day in lines.groupby("date", sort=True):
            of_day.to_csv(written / f"purchases_{day:%Y-%m-%d}.csv", index=False, date_format="%Y-%m-%d")
        files = len(list(written.iterdir()))
        shutil.move(written, out)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Parse the flags, write the files; 2 where the package is missing or `out` exists."""
    parser = argparse.ArgumentParser(prog="examples.cdnow", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    given = parser.parse_args(arguments)
    if given.out.exists():
        print(f"{given.out} exists: remove it to write it anew", file=sys.stderr)
        return 2
    try:
        files = write(package_data() / "CDNOW_master.txt", given.out)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{files} files, one a day, in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
