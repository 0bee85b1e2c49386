"""What every command shares: its flags, and exit codes that say whether a retry can help."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import traceback
from collections.abc import Callable

from jobs.runner import environment_fault
from schemas.errors import ConfError, DataError, TooEarlyError


def parse_date(text: str) -> dt.date:
    """A --run-date; argparse turns the ValueError into exit code 2 and a line that shows the text."""
    if len(text) != len("2017-12-03"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write it YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write it YYYY-MM-DD") from None


def common_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every command."""
    parser.add_argument(
        "--run-date", required=True, type=parse_date, help="the last full day of logs to see, YYYY-MM-DD"
    )
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--landing", help="where the raw files are, in place of the deployment's landing")
    parser.add_argument("--since", type=parse_date, help="process every day from here on again (ingest and clean)")
    parser.add_argument(
        "--reingest", action="store_true", help="read raw files again that are no longer as they were read (ingest)"
    )


def exit_code(action: Callable[[], object]) -> int:
    """Run and translate: 0 done, 2 wrong usage or configuration, 3 broken data, 4 too early, 1 anything else.

    Where something under the run is broken, the last line says what and what to do, below the traceback.
    """
    try:
        action()
    except ConfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4 if isinstance(error, TooEarlyError) else 2
    except DataError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 3
    except Exception as error:
        said = environment_fault.sentence(error)
        if said is None:
            raise
        traceback.print_exc()
        print(f"error: {said}", file=sys.stderr)
        return 1
    return 0
