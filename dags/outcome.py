"""The file to which a job writes its outcome (jobs/runner/outcome.py), from the task's side.

NIGHTSHELF_OUTCOMES: a folder or URI that tasks and drivers both see; a temporary folder if not set, which is enough
where drivers run beside Airflow (local and client mode).
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)


@contextmanager
def outcome_file(job: str) -> Iterator[str]:
    """A new file or URI for a job's outcome; a local file is removed in the end."""
    shared = os.environ.get("NIGHTSHELF_OUTCOMES")
    if shared and "://" in shared:
        yield f"{shared.rstrip('/')}/{job}-{uuid.uuid4().hex}.json"
        return
    with tempfile.TemporaryDirectory(prefix="nightshelf-", dir=shared, ignore_cleanup_errors=True) as folder:
        if shared:
            Path(folder).chmod(0o777)  # a driver elsewhere may run as another user
        yield f"{folder}/outcome.json"


def read_outcome(file: str) -> dict[str, Any]:
    """The outcome that a job has written; empty where the job was killed before, or the file cannot be read."""
    try:
        text = (ObjectStoragePath(file) if "://" in file else Path(file)).read_text(encoding="utf-8")
        outcome: dict[str, Any] = json.loads(text or "{}")
    except (OSError, ValueError) as error:
        log.warning("the job's outcome cannot be read from %s: %s", file, error)
        return {}
    return outcome
