"""SQL query over the lake, with every table named `<layer>.<table>`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.errors import AnalysisException, ParseException

from jobs.runner.catalog import name_tables
from jobs.runner.cli import exit_code
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.deployment import load
from schemas.errors import ConfError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the query and print up to 100 rows; without one, list the tables."""
    parser = argparse.ArgumentParser(prog="jobs.commands.sql", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--query", default="", help="SQL, e.g. SELECT * FROM gold.recommendations LIMIT 5")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        spark = session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log")
        tables = name_tables(Lake(spark, deployment))
        if not given.query:
            print("\n".join(tables) or f"no tables yet in {deployment.public_lake}")
            return
        try:
            spark.conf.set("spark.sql.variable.substitute", "false")  # ${...} is part of the query
            spark.sql(given.query).show(100, truncate=False)
        except (AnalysisException, ParseException) as error:
            raise ConfError(str(error).split("\n")[0]) from None

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
