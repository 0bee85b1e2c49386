"""Faults of a run's environment (a full disk, missing rights, a lost cluster) as one sentence for users. No Spark."""

from __future__ import annotations

import errno
import getpass
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import NightshelfError

SECONDS_TO_ANSWER = 10  # of a Spark master, until it counts as out of reach

FULL, READ_ONLY, DENIED = "no space left", "read-only", "permission denied"
# By errno of Python's OSError, and by the words that Java, Hadoop and Python write after an exception's name.
CODES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), FULL),
    errno.EROFS: READ_ONLY,
    **dict.fromkeys((errno.EACCES, errno.EPERM), DENIED),
}
WORDS = {
    FULL: r"No space left on device|Disk quota exceeded|There is not enough space on the disk",
    READ_ONLY: r"Read-only file system",
    DENIED: r"Permission denied|Operation not permitted|AccessDenied\w*|Access Denied|AccessControlException",
}
KINDS = "|".join(f"(?P<k{number}>{words})" for number, words in enumerate(WORDS.values()))
FAULT_LINE = re.compile(rf"^(?!.*\bjava\.net\.)(?=.*(?:Exception|Error)\b).*?(?:{KINDS}).*$", re.MULTILINE)
# Java reports that a folder could not be created, but not why: see _why_not.
NOT_CREATED = re.compile(r"(?:Mkdirs failed to create|CANNOT_CREATE_LOG_PATH\] Cannot create) (?:file:)?(?://)?(/\S+)")
WRITING_TO = re.compile(r"writing rows to (?:file:)?(\S+?)\.?(?:\s|$)")
PATH = re.compile(r"(?:\b[a-z][a-z0-9]*:/|(?<![\w.:/])/)[^\s'\"():,]+")
LOST = re.compile(r"\(TID \d+\) \((\S+) executor (?!driver)\S+\)")
MASTER_GONE = re.compile(r"All masters are unresponsive|Cannot call methods on a stopped SparkContext")


class EnvironmentFault(NightshelfError):  # noqa: N818
    """A fault of the environment; its text says what is broken and what to do. Exit code 1: a later retry may help."""


def sentence(error: BaseException, lake: str = "") -> str | None:
    """What is broken and what to do, where an error or one of its causes is a fault of the environment; else None.

    `lake`: a further folder whose free space is reported where a disk is full.
    """
    if isinstance(error, EnvironmentFault):
        return str(error)
    chain = _chain(error)
    for each in chain:
        kind = CODES.get(each.errno or 0) if isinstance(each, OSError) else None
        if kind and isinstance(each, OSError) and (each.filename or kind != DENIED):  # a socket's error names no file
            return _advice(kind, str(each.filename or ""), lake, "")
    text = "\n".join(map(_text, chain))
    if match := FAULT_LINE.search(text):
        kind = next(kind for n, kind in enumerate(WORDS) if match[f"k{n}"])
        host = LOST.search(text)
        return _advice(kind, _path(match, kind, text), lake, f" on {host[1]}" if host else "")
    if match := NOT_CREATED.search(text):
        return _advice(_why_not(Path(match[1])), match[1], lake, "")
    if MASTER_GONE.search(text):
        return (
            "the Spark application was ended from outside: its master cannot be reached, or ended it. Look at the "
            "master's page and its log, start it, or correct spark.master (the deployment's Spark properties, or "
            "Airflow's connection spark_default); then run this again"
        )
    return None


def check_master(master: str) -> None:
    """EnvironmentFault where nothing listens at any address of a standalone master (spark://host:port,host:port).

    Spark itself would try for more than a minute, and then report a stopped SparkContext.
    """
    if not master.startswith("spark://"):
        return
    refused = []
    for address in master.removeprefix("spark://").split(","):
        parts = urlsplit(f"//{address}")
        try:
            socket.create_connection((parts.hostname or "", parts.port or 7077), SECONDS_TO_ANSWER).close()
            return
        except OSError as error:
            refused.append(f"{address}: {error.strerror or error}")
    raise EnvironmentFault(
        f"the Spark master {master} cannot be reached ({'; '.join(refused)}): start it, or correct spark.master (the "
        "deployment's Spark properties, or Airflow's connection spark_default); then run this again"
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and its causes, the last one first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _text(error: BaseException) -> str:
    """Text of an error, with Java's stack trace where it has one."""
    try:
        return f"{error}\n{getattr(error, '_stackTrace', '')}"
    except Exception:  # Py4J asks the JVM for it, which may have died of the same fault
        return ""


def _path(match: re.Match[str], kind: str, text: str) -> str:
    """The last path before the words of a fault in its line, else the first after; else that of the table written."""
    line, words = match[0], next(match[f"k{n}"] for n, each in enumerate(WORDS) if each == kind)
    at = line.index(words)
    if named := PATH.findall(line[:at])[-1:] or PATH.findall(line[at:])[:1]:
        return re.sub("^file:/+", "/", named[0]).rstrip(".")
    writing = WRITING_TO.search(text)
    return writing[1] if writing else ""


def _why_not(path: Path) -> str:
    """Why a folder could not be created, by its nearest existing parent."""
    above = next((folder for folder in path.parents if folder.is_dir()), Path("/"))
    if os.statvfs(above).f_flag & os.ST_RDONLY:
        return READ_ONLY
    return FULL if os.access(above, os.W_OK) else DENIED


def _advice(kind: str, path: str, lake: str, host: str) -> str:
    where = f"{path}{host}" if path else f"a folder{host}" if host else "the lake, or a folder for temporary files"
    if kind == FULL:
        return (
            f"no space left on device for {where}{_free(path, lake) if not host else ''}: make room there, or name "
            "another place (the deployment's lake, spark.local.dir, TMPDIR), then run this again; no table has half a "
            "write, and all can be read meanwhile"
        )
    if kind == READ_ONLY:
        return (
            f"{where} is on a read-only file system, so nothing was written there: mount it writable (findmnt -T shows "
            "how it is; a disk that failed is made read-only by the system, dmesg says so), then run this again; its "
            "tables can be read meanwhile"
        )
    return (
        f"permission denied for {where}: give {_user()} the right to read and write there, then run this again; "
        "nothing was written there"
    )


def _free(path: str, lake: str) -> str:
    """` (free now: ...)` for the local folders that a run writes to."""
    spark = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    by_folder = {}
    for place in (path, lake, *spark, tempfile.gettempdir()):
        local = Path(place.removeprefix("file://"))
        if place and local.is_absolute():
            existing = next(folder for folder in (local, *local.parents) if folder.exists())
            by_folder[str(existing)] = f"{existing} {shutil.disk_usage(existing).free / 2**20:,.0f} MiB"
    return f" (free now: {', '.join(by_folder.values())})"


def _user() -> str:
    try:
        return f"the user {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
