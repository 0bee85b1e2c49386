"""A shop whose lake and landing are on an object store of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pa_fs
import pyspark
import pytest

from tests.support.tiny_conf import PROPERTIES
from tests.support.tiny_shop import REPO

PYTHON = REPO / ".venv-s3" / "bin" / "python"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}
JAR, IVY = REPO / "build" / "nightshelf-s3.jar", Path.home() / ".ivy2.5.2" / "jars"
SHIPPED_BY_SPARK = ("hadoop-client", "slf4j", "log4j")
OURS = ("spark.jars", "spark.hadoop.", "spark.sql.parquet.output")  # of conf/spark-s3.conf: what a disk does not need


@contextlib.contextmanager
def serve(*options: str) -> Iterator[str]:
    """The URL of a store with an empty bucket `shop`."""
    if not PYTHON.exists():
        pytest.skip("the object store's environment .venv-s3 is missing; `make test-s3` makes it")
    command = [str(PYTHON), str(REPO / "tests" / "support" / "object_store_server.py"), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | KEYS)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        arrow(url).create_dir("shop")
        yield url
    finally:
        server.kill()
        server.wait()


def arrow(url: str) -> pa_fs.S3FileSystem:
    """The store as Arrow's file system."""
    return pa_fs.S3FileSystem(
        access_key="tests",
        secret_key="tests",
        region="us-east-1",
        endpoint_override=url,
        allow_bucket_creation=True,
    )


def requests(url: str) -> dict[str, int]:
    """How many requests of each kind there were since the last time."""
    with urllib.request.urlopen(f"{url}/__requests", timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def properties(path: Path) -> Path:
    """The tiny shop's Spark properties with those of conf/spark-s3.conf."""
    shipped = (REPO / "conf" / "spark-s3.conf").read_text().splitlines()
    lines = [line for line in PROPERTIES.splitlines() if not line.startswith("spark.jars.packages")]
    own = [line.replace("build/", f"{REPO}/build/") for line in shipped if line.startswith(OURS)]
    path.write_text("\n".join([*lines, *own, ""]))
    return path


def move(conf: Path, url: str, keys: str = "") -> Path:
    """A deployment like a tiny shop's whose lake and landing are copies of its own on the store."""
    store = arrow(url)
    for name in ("lake", "landing"):
        if (conf.parent / name).is_dir():
            pa_fs.copy_files(str(conf.parent / name), f"shop/{name}", destination_filesystem=store)
    properties(conf.parent / "spark-s3.conf")
    text = conf.read_text()
    for name in ("lake", "landing"):
        text = text.replace(f'{name} = "{conf.parent}/{name}"', f'{name} = "s3://shop/{name}"')
    text = text.replace(f'spark = "{conf.parent}/spark.conf"', f'spark = "{conf.parent}/spark-s3.conf"')
    assert text.count("s3://shop") == 2
    assert "spark-s3.conf" in text
    moved = conf.with_name("on_s3.toml")
    moved.write_text(f'{text}\n[storage]\nendpoint = "{url}"\nregion = "us-east-1"\npath_style = true\n{keys}\n')
    return moved


def classpath() -> str:
    """What Spark loads for a lake on an object store, and our jar."""
    if not JAR.exists() or not shutil.which("javac"):
        pytest.skip("build/nightshelf-s3.jar, or a JDK, is missing; `make test-s3` builds the jar")
    fetched = [str(jar) for jar in IVY.glob("*.jar") if not any(name in jar.name for name in SHIPPED_BY_SPARK)]
    return ":".join([str(JAR), f"{Path(pyspark.__file__).parent}/jars/*", *fetched])


def run(*command: str, seconds: int = 1500) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: `python -m <command>`, with the keys of the store."""
    environment = os.environ | KEYS | {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
