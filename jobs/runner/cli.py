"""What every command shares: its flags, and exit codes that say whether a retry can help."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import traceback
from collections.abc import Callable, Mapping

from jobs.runner import environment_fault
from jobs.runner.outcome import Report, reporter
from schemas.errors import BusyError, ConfError, DataError, HeldError, TooEarlyError, stated

EXIT_CODES = {TooEarlyError: 4, ConfError: 2, DataError: 3, BusyError: 1}  # the first class that matches
DRY = "(--dry-run writes nothing)"


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
    parser.add_argument(
        "--accept-drift",
        action="store_true",
        help="figures beyond the limits of drift are right: warn of them, for this run, instead of stopping",
    )
    parser.add_argument("--outcome-file", help="a path or URI for the outcome as JSON, such as /dev/termination-log")


def exit_code(action: Callable[[], object], report: Report = lambda _: None, instead: str = "") -> int:
    """Run and translate: 0 done, 2 wrong usage or configuration, 3 broken data, 4 too early, 1 anything else.

    The last line says what is wrong and what to do; above it are an error's examples, or `instead` where they must not
    be shown. A fault of the environment is printed below its traceback. `report` is called with the mapping that the
    action returns, if any, or {"error": the last line}; for an error that is none of ours, with its kind and place.
    """
    try:
        result = action()
    except (ConfError, DataError, BusyError) as error:
        kind = next(kind for kind in EXIT_CODES if isinstance(error, kind))
        if error.examples:
            print(instead or "\n".join(error.examples), file=sys.stderr)
        word = "held" if isinstance(error, HeldError) else "refused" if kind is DataError else "error"
        return _failed(f"{word}: {error}", report, EXIT_CODES[kind])
    except BaseException as error:
        fault = environment_fault.sentence(error) if isinstance(error, Exception) else None
        if fault is None:
            report({"error": stated(error)})
            raise
        traceback.print_exc()
        return _failed(f"error: {fault}", report, 1)
    report(result if isinstance(result, Mapping) else {})
    return 0


def reported(given: argparse.Namespace, job: str, action: Callable[[], object]) -> int:
    """The exit code of an action, whose outcome goes to the --outcome-file, if any.

    With that file, a scheduler has started the command and stores its output: then no example is printed.
    """
    instead = f"examples of rows are shown where this is run by hand: the same line without --outcome-file {DRY}"
    try:
        report = reporter(given.outcome_file, job, given.run_date)
    except ConfError as error:
        return _failed(f"error: {error}", lambda _: None, 2)
    return exit_code(action, report, instead if given.outcome_file else "")


def _failed(line: str, report: Report, code: int) -> int:
    print(line, file=sys.stderr)
    report({"error": line})
    return code
