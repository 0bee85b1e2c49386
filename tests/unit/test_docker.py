"""What of the Docker files can be told without Docker: they are of this repository, and of the versions it pins."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tests.support.tiny_shop import REPO

FOLDER = REPO / "conf" / "docker"
FILES = sorted(FOLDER.glob("*.Dockerfile"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_copied_stands_in_the_repository(file: Any) -> None:
    copied = re.findall(r"^COPY (?!--from=)(.+) \S+$", file.read_text(), re.MULTILINE)
    assert copied
    assert [name for line in copied for name in line.split() if not (REPO / name).exists()] == []


def test_the_image_has_the_versions_of_the_makefile() -> None:
    pinned = re.search(r"uv==([\d.]+)", (REPO / "Makefile").read_text())
    assert pinned
    assert f"uv=={pinned.group(1)}" in (FOLDER / "jobs.Dockerfile").read_text()


def test_the_pod_of_an_executor_is_one_that_kubernetes_takes() -> None:
    pod = YAML(typ="safe").load((FOLDER / "executor-pod.yaml").read_text())
    kubernetes_validate.validate(pod, "1.31", strict=True)
    named = (REPO / "conf" / "spark-kubernetes.conf").read_text()
    assert "spark.kubernetes.executor.podTemplateFile      conf/docker/executor-pod.yaml" in named
    mounts = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert all(name.startswith("spark-local-dir-") for name in mounts), "by that name Spark spills there"


def test_an_executor_s_container_starts_what_spark_asks_for(tmp_path: Path) -> None:
    shown = 'printf "%s\\n" "$@"'
    for name, body in (("java", shown), ("spark-submit", shown), ("python", "echo /jars")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    options = {f"SPARK_JAVA_OPT_{number}": f"-Doption={number} of many" for number in range(11)}
    told = {"MEMORY": "8g", "ID": "7", "CORES": "4", "POD_IP": "10.0.0.7", "POD_NAME": "night-exec-7"}
    environment = options | {f"SPARK_EXECUTOR_{name}": value for name, value in told.items()}
    environment |= {
        "SPARK_DRIVER_URL": "spark://driver",
        "SPARK_APPLICATION_ID": "app",
        "SPARK_RESOURCE_PROFILE_ID": "0",
    }
    environment |= {"SPARK_CONF_DIR": "/conf", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    entrypoint = [str(FOLDER / "entrypoint.sh")]

    def ran(*command: str) -> list[str]:
        return subprocess.run(
            [*entrypoint, *command], env=environment, check=True, capture_output=True, text=True
        ).stdout.splitlines()

    arguments = ran("executor")
    assert arguments[:11] == list(options.values())
    assert arguments[11:15] == ["-Xms8g", "-Xmx8g", "-cp", "/conf:/jars/*"]
    given = dict(zip(arguments[16::2], arguments[17::2], strict=True))
    assert given == {
        "--driver-url": "spark://driver",
        "--executor-id": "7",
        "--cores": "4",
        "--app-id": "app",
        "--hostname": "10.0.0.7",
        "--resourceProfileId": "0",
        "--podName": "night-exec-7",
    }
    assert ran("echo", "any other command") == ["any other command"]
    environment["SPARK_DRIVER_BIND_ADDRESS"] = "10.0.0.1"
    driver = ran("driver", "--class", "org.apache.spark.deploy.PythonRunner", "local:///job.py", "--run-date", "x y")
    assert driver[:4] == ["--conf", "spark.driver.bindAddress=10.0.0.1", "--deploy-mode", "client"]
    assert driver[4:] == ["--class", "org.apache.spark.deploy.PythonRunner", "local:///job.py", "--run-date", "x y"]
    assert str(FOLDER.relative_to(REPO) / "entrypoint.sh") in (FOLDER / "jobs.Dockerfile").read_text()


def test_compose_names_what_there_is() -> None:
    services = YAML(typ="safe").load((FOLDER / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "master", "worker", "airflow"}
    assert all(set(service.get("depends_on", ())) <= set(services) for service in services.values())
    built = services["airflow"]["build"]
    assert (FOLDER / built["context"]).resolve() == REPO
    assert (REPO / built["dockerfile"]).is_file()
    assert (REPO / services["airflow"]["environment"]["NIGHTSHELF_SPARK_CONF"]).is_file()
    told = str(services)
    assert "POSTGRES_PASSWORD:?" in told, "no password of its own"
