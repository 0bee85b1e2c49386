"""Check that this machine can run the jobs: Java, Spark with Delta (jars fetched the first time), BERT weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.offline.base_of import base_of
from jobs.runner.cli import exit_code
from jobs.runner.session import session
from jobs.runner.version import code_version
from schemas.deployment import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Start Spark once, check the weights, print the versions."""
    parser = argparse.ArgumentParser(prog="jobs.commands.doctor", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        weights = base_of(deployment)
        spark = session(deployment, log_file=Path("logs") / "setup.log")
        java = spark.sparkContext._jvm.System.getProperty("java.version")  # type: ignore[union-attr]
        print(f"Spark {spark.version} with Delta on Java {java}; weights checked: {weights}; {code_version()}")
        spark.stop()

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
