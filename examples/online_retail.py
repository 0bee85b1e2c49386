"""Online Retail: a gift shop's invoices, from the file that UCI gives to the raw files that its nights would have left.

    python -m examples.online_retail --source "Online Retail.xlsx" --out landing/online_retail

writes one gzip CSV a trading day, named by the day. What the file holds is told in examples/README.md.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def read(source: Path) -> pd.DataFrame:
    """One row an invoice line, every value as text but InvoiceDate; from UCI's workbook or a CSV of the same columns.

    Raises ValueError, naming the file, where a column is missing or an InvoiceDate cannot be read.
    """
    if source.suffix == ".xlsx":
        lines = pd.read_excel(source, dtype=dict.fromkeys(COLUMNS, str) | {"InvoiceDate": object})
    else:
        lines = pd.read_csv(source, dtype=str, keep_default_na=False, encoding_errors="strict")
    if missing := [name for name in COLUMNS if name not in lines.columns]:
        raise ValueError(f"{source}: lacks {', '.join(missing)}; it has {', '.join(map(str, lines.columns))}")
    moments = pd.to_datetime(lines["InvoiceDate"], errors="coerce", format="mixed")
    if moments.isna().any():
        row = int(moments.isna().to_numpy().argmax())
        raise ValueError(f"{source}: row {row + 2}: InvoiceDate {lines['InvoiceDate'].iloc[row]!r} is no date")
    return lines[list(COLUMNS)].assign(InvoiceDate=moments)


def cut(lines: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each trading day (YYYY-MM-DD) with its lines, in their order."""
    for day, of_day in lines.groupby(lines["InvoiceDate"].dt.date, sort=True):
        yield str(day), of_day


def write(source: Path, out: Path) -> int:
    """How many files were written into `out`, which appears whole or not at all."""
    lines = read(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        made = Path(scratch) / out.name
        made.mkdir()
        for day, of_day in cut(lines):
            of_day.to_csv(
                made / f"{day}.csv.gz",
                index=False,
                date_format="%Y-%m-%d %H:%M:%S",
                compression={"method": "gzip", "mtime": 0},
            )
        files = len(list(made.iterdir()))
        shutil.move(made, out)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Parse the flags, write the files; 2 where the source does not fit or `out` is there already."""
    parser = argparse.ArgumentParser(prog="examples.online_retail", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="Online Retail.xlsx, or a CSV of its columns")
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not stand yet")
    given = parser.parse_args(arguments)
    if given.out.exists():
        print(f"{given.out} stands already: remove it to write it anew", file=sys.stderr)
        return 2
    try:
        files = write(given.source, given.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{files} files, one a trading day, in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
