"""What Spark and Python say of a full disk, a torn commit, a spoilt model: one sentence each, without Spark."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import pytest

from jobs.runner import environment_fault, integrity
from jobs.runner.cli import exit_code
from tests.support.clusters import closed_port
from udfs.encoder.model_folder import sha256, write_manifest

JAVA = "An error occurred while calling o96.save.\n: org.apache.spark.SparkException: "
LOST = "Job aborted due to stage failure: Task 0 in stage 8.0 failed 4 times, most recent failure: Lost task 0.3 in "


# -- the sentence, without Spark ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            JAVA + "[TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/gold/x. SQLSTATE: 58030\n"
            "\tat org.apache.spark.sql.delta.files.DeltaFileFormatWriter$.run(DeltaFileFormatWriter.scala:1)\n"
            "Caused by: org.apache.hadoop.fs.FSError: java.io.IOException: No space left on device\n",
            ["no space left on device for /lake/gold/x (free now: ", "make room"],
        ),
        (
            JAVA + LOST + "stage 8.0 (TID 14) (10.0.0.5 executor 3): java.io.IOException: No space left on device\n"
            "\tat java.base/java.io.FileOutputStream.writeBytes(Native Method)\n",
            ["no space left on device for a folder on 10.0.0.5: ", "spark.local.dir"],
        ),
        (
            "java.nio.file.FileSystemException: /a/b.jar -> /local/userFiles/b.jar: No space left on device",
            ["no space left on device for /local/userFiles/b.jar (free now"],
        ),
        (
            JAVA + LOST + "stage 9.0 (TID 18) (192.0.2.2 executor driver): java.io.FileNotFoundException: "
            "/lake/gold/x/part-0.parquet (Read-only file system)",
            ["/lake/gold/x/part-0.parquet is on a read-only file system", "mount it writable"],
        ),
        (
            "org.apache.hadoop.security.AccessControlException: Permission denied: user=ann, access=WRITE, "
            'inode="/lake/gold":root:root:drwxr-xr-x',
            ["permission denied for /lake/gold: give the user"],
        ),
        (
            "java.nio.file.AccessDeniedException: s3a://shop/lake/gold/x/0.parquet: Service: S3; Status Code: 403",
            ["permission denied for s3a://shop/lake/gold/x/0.parquet: give"],
        ),
        (
            "An error occurred while calling None.org.apache.spark.sql.classic.SparkSession.\n"
            ": java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.",
            ["the Spark application was ended from outside: its master cannot be reached", "spark.master"],
        ),
        (
            "Application has been killed. Reason: All masters are unresponsive! Giving up.",
            ["its master cannot be reached, or ended it"],
        ),
    ],
)
def test_what_spark_says_becomes_a_sentence(text: str, words: list[str]) -> None:
    said = environment_fault.sentence(RuntimeError(text))
    assert said
    assert "\n" not in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on device for /lake/page.html (free now: "),
        (errno.EDQUOT, "no space left on device for /lake/page.html (free now: "),
        (errno.EROFS, "/lake/page.html is on a read-only file system"),
        (errno.EACCES, "permission denied for /lake/page.html"),
    ],
)
def test_what_python_says_becomes_a_sentence(code: int, words: str) -> None:
    said = environment_fault.sentence(OSError(code, os.strerror(code), "/lake/page.html"))
    assert said
    assert words in said


def test_the_error_that_led_to_another_counts() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("what was staged could not be removed")
    except RuntimeError as error:
        said = environment_fault.sentence(error, "/lake")
    assert said
    assert "no space left on device for the lake, or a folder for temporary files (free now: / " in said


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    said = environment_fault.sentence(
        RuntimeError("java.io.IOException: Mkdirs failed to create file:/proc/models/x (exists=false")
    )
    assert said
    assert "/proc/models/x" in said


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a column is called 'No space left on device'"),
        RuntimeError(JAVA + "java.net.SocketException: Permission denied"),
        PermissionError(errno.EACCES, "Permission denied"),  # a socket's: it names no file
        KeyError("rank"),
    ],
)
def test_anything_else_stays_as_it_is(error: Exception) -> None:
    assert environment_fault.sentence(error) is None

    def act() -> None:
        raise error

    with pytest.raises(type(error)):
        exit_code(act)


def test_the_last_line_is_the_sentence_below_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/lake/page.html")

    assert exit_code(act) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("error: /lake/page.html is on a read-only file system")


def test_a_master_is_away_only_where_all_its_addresses_are() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environment_fault.check_master(f"spark://127.0.0.1:{closed_port()},127.0.0.1:{port}")
    environment_fault.check_master("local[2]")
    with pytest.raises(
        environment_fault.EnvironmentFault, match=r"spark://nowhere\.invalid:7077 cannot be reached \(nowhere.invalid"
    ):
        environment_fault.check_master("spark://nowhere.invalid:7077")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b'{"commitInfo":{}}\n{"add":{"path":"a', "is torn: line 2 of 2 is no complete JSON object"),
        (b'{"commitInfo":{}}\n' + bytes(512), "is torn: line 2 of 2"),
        (b'{"commitInfo":{}}\n12', "is torn: line 2 of 2"),
    ],
)
def test_a_torn_commit_is_told_apart(content: bytes, words: str) -> None:
    with pytest.raises(integrity.NotWholeError, match=re.escape(words)):
        integrity.check_commit(content)


def test_a_whole_commit_may_lack_its_last_line_break() -> None:
    integrity.check_commit(b'{"commitInfo":{}}\n{"add":{}}')


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors", "ranker.json"):
        (tmp_path / name).write_text(name)
    write_manifest(tmp_path)
    integrity.check_model(tmp_path, sha256(tmp_path / "model.safetensors"))
    return tmp_path


def test_a_model_file_that_changed_is_named_with_both_hashes(model: Path) -> None:
    before = sha256(model / "ranker.json")
    (model / "ranker.json").write_text("{}")
    after = sha256(model / "ranker.json")
    with pytest.raises(
        integrity.NotWholeError, match=f"ranker.json: manifest.json expects sha256 {before}, found {after}"
    ):
        integrity.check_model(model, sha256(model / "model.safetensors"))


@pytest.mark.parametrize("name", ["ranker.json", "model.safetensors", "manifest.json"])
def test_a_model_file_that_is_missing_is_named(model: Path, name: str) -> None:
    weights = sha256(model / "model.safetensors")
    (model / name).unlink()
    with pytest.raises(integrity.NotWholeError, match=f"{name}.* (found no such file|is missing)"):
        integrity.check_model(model, weights)


def test_weights_that_are_not_the_registrys_are_refused(model: Path) -> None:
    with pytest.raises(
        integrity.NotWholeError, match=r"model.safetensors: ops.models expects sha256 0000, found [0-9a-f]{64}"
    ):
        integrity.check_model(model, "0000")
