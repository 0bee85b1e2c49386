"""Build build/nightshelf-s3.jar from conf/s3/: what Spark needs of ours to write to an object store. Needs a JDK.

`python -m jobs.commands.build_jar`
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyspark

from jobs.runner.cli import exit_code
from jobs.runner.session import fetched_jars, properties
from schemas.errors import ConfError

ROOT = Path(__file__).resolve().parents[2]
CONF, SOURCES, JAR = ROOT / "conf" / "spark-s3.conf", ROOT / "conf" / "s3", ROOT / "build" / "nightshelf-s3.jar"


def compiler() -> str:
    """The path of javac. ConfError without one: a Java runtime is not enough."""
    found = shutil.which("javac")
    if not found:
        raise ConfError("there is no javac: make jar needs a JDK (Debian: apt install openjdk-17-jdk-headless)")
    return found


def libraries() -> list[str]:
    """What the sources are compiled against: Spark's own jars and those that conf/spark-s3.conf names, fetched."""
    return [f"{Path(pyspark.__file__).parent}/jars/*", *fetched_jars(properties(str(CONF)))]


def build(jar: Path, javac: str, classpath: list[str]) -> None:
    """Compile the sources into a jar, each entry dated alike: the same sources give the same jar."""
    with tempfile.TemporaryDirectory() as classes:
        sources = sorted(map(str, SOURCES.rglob("*.java")))
        command = [javac, "--release", "17", "-proc:none", "-d", classes, "-cp", ":".join(classpath), *sources]
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
        if compiled.returncode:
            raise ConfError(f"{SOURCES} does not compile:\n{compiled.stderr}")
        jar.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(classes).rglob("*.class")):
                archive.writestr(zipfile.ZipInfo(str(file.relative_to(classes))), file.read_bytes())


def main() -> int:
    """Build the jar, print its path."""

    def act() -> None:
        javac = compiler()
        build(JAR, javac, libraries())
        print(JAR.relative_to(ROOT))

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
