"""Outcome file of a command: JSON for its caller, such as a scheduler or a pod's termination message.

{"job", "run_date", "rows": {table: count}, "model_version"} of a run that ended well; {"job", "run_date", "error"} of
one that did not, where the error is the line that the command printed last. A killed command leaves the file empty.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from schemas.errors import ConfError

Report: TypeAlias = Callable[[Mapping[str, Any]], None]

MOST_OF_AN_ERROR = 2_000  # characters: Kubernetes keeps 4,096 bytes of a termination message


def reporter(place: str | None, job: str, run_date: dt.date) -> Report:
    """A writer of the outcome to `place`, a path or a URI (file, s3, s3a, gs, abfs, hdfs); without one, a no-op.

    The file is emptied at once. ConfError where it cannot be written: no run begins that cannot be reported.
    """
    if not place:
        return lambda _: None
    try:
        _write(place, "")
    except (OSError, ValueError) as error:
        raise ConfError(f"--outcome-file {place}: cannot be written: {error}") from None

    def report(result: Mapping[str, Any]) -> None:
        about = {"job": job, "run_date": run_date} | dict(result)
        if "error" in about:
            about["error"] = str(about["error"])[:MOST_OF_AN_ERROR]
        try:
            _write(place, json.dumps(about, default=str))
        except OSError as error:  # the run is over, and the exit code reports it, too
            print(f"the outcome could not be written to {place}: {error}", file=sys.stderr)

    return report


def _write(place: str, text: str) -> None:
    """Write in place: a pod's termination message is a mounted file, which nothing can be renamed to."""
    if "://" not in place:
        Path(place).write_text(text, encoding="utf-8")
        return
    from pyarrow import fs  # needs no JVM, which may have failed

    system, path = fs.FileSystem.from_uri(place.replace("s3a://", "s3://", 1))
    with system.open_output_stream(path) as stream:
        stream.write(text.encode())
