"""Kubernetes objects of a deployment: as reviewed (golden), valid by Kubernetes' and the operator's own schemas."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from jobs.commands import kube_objects
from jobs.commands.kube_objects import OPERATORS, Target
from jobs.flow import NIGHT, lacking
from schemas.dependencies import edges
from schemas.deployment import Deployment
from schemas.storage import Storage
from tests.support import tiny_shop
from tests.support.tiny_shop import REPO

DAY, VERSION = dt.date(2024, 3, 2), "1.35"
TOML = 'name = "tiny_shop"\nlake = "s3://shop/lake"\n'


@pytest.fixture
def on_store(deployment: Deployment) -> Deployment:
    storage = Storage(endpoint="http://store:9000", region="eu-1", path_style=True)
    spark = str(REPO / "conf" / "spark-kubernetes.conf")
    return deployment.model_copy(update={"lake": "s3a://shop/lake", "storage": storage, "spark": spark})


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("operator", OPERATORS)
def test_golden_objects(on_store: Deployment, operator: str) -> None:
    made = kube_objects.objects(on_store, TOML, DAY, Target(operator))
    text = "---\n".join(f"# {name}.yaml\n{kube_objects.as_yaml(value)}" for name, value in made.items())
    golden = REPO / "tests" / "golden" / f"kube_{operator}.yaml"
    if os.environ.get("GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), f"{golden.name} differs; `make golden` rewrites it"
    assert [plain(each) for each in YAML(typ="safe").load_all(text)] == [plain(each) for each in made.values()]


@pytest.mark.parametrize("operator", OPERATORS)
def test_core_objects_and_pods_are_valid_by_kubernetes_schemas(on_store: Deployment, operator: str) -> None:
    made = plain(kube_objects.objects(on_store, TOML, DAY, Target(operator)))
    core = [each for each in made.values() if each["kind"] not in ("SparkApplication", "Kustomization")]
    assert {each["kind"] for each in core} == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "NetworkPolicy"}
    for each in core:
        kubernetes_validate.validate(each, VERSION, strict=True)
    for each in (each for each in made.values() if each["kind"] == "SparkApplication"):
        spec = each["spec"]
        parts = (
            [spec["driver"], spec["executor"]] if operator == "kubeflow" else [spec["driverSpec"], spec["executorSpec"]]
        )
        for part in parts:
            pod = part.get("template") or part["podTemplateSpec"]
            kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod}, VERSION, strict=True)
            mounts = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_spark_application_is_one_that_kubeflows_operator_takes(on_store: Deployment) -> None:
    models = pytest.importorskip("kubeflow_spark_api.models", reason="make setup installs it")
    made = plain(kube_objects.objects(on_store, TOML, DAY, Target("kubeflow")))
    for each in (each for each in made.values() if each["kind"] == "SparkApplication"):
        taken = models.SparkV1beta2SparkApplication.from_dict(each).to_dict()
        assert plain(taken) == each, "a field that the operator does not know would be dropped"


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_job_names_the_jobs_that_it_waits_for(on_store: Deployment, operator: str) -> None:
    made = kube_objects.objects(on_store, TOML, DAY, Target(operator))
    applications = {
        each["metadata"]["labels"]["nightshelf/job"]: each
        for each in made.values()
        if each["kind"] == "SparkApplication"
    }
    here = [job.name for job in NIGHT if not lacking(job, on_store.kinds)]
    assert list(applications) == here
    assert "plan_stock" not in here, "the shop has no stock"
    waits = {
        (before, name)
        for name, each in applications.items()
        for before in each["metadata"].get("annotations", {}).get("nightshelf/after", "").split(",")
        if before
    }
    assert waits == {pair for pair in edges(NIGHT) if set(pair) <= set(here)}


def test_no_secret_is_written_and_the_store_can_be_reached(on_store: Deployment) -> None:
    made = plain(kube_objects.objects(on_store, TOML, DAY, Target("kubeflow", "shop", "registry/jobs:1")))
    assert "Secret" not in {each["kind"] for each in made.values()}
    driver = made["clean-items"]["spec"]["driver"]["template"]["spec"]["containers"][0]
    assert driver["envFrom"] == [{"secretRef": {"name": "nightshelf-credentials", "optional": True}}]
    assert driver["image"] == made["clean-items"]["spec"]["image"] == "registry/jobs:1"
    ports = [port["port"] for rule in made["network-policy"]["spec"]["egress"] for port in rule.get("ports", ())]
    assert ports == [53, 53, 443, 6443, 9000]
    spark = made["clean-items"]["spec"]["sparkConf"]
    assert spark["spark.hadoop.fs.s3a.endpoint"] == "http://store:9000"
    assert not [key for key in spark if key.startswith(("spark.master", "spark.kubernetes.", "spark.executor."))]
    assert {each["metadata"]["namespace"] for each in made.values() if "metadata" in each} == {"shop"}


def test_the_command_writes_a_folder_and_refuses_a_lake_on_a_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tiny_shop.make(tmp_path, days=1)
    flags = ["--run-date", "2024-03-02", "--conf", str(conf), "--out", str(tmp_path / "kube")]
    assert kube_objects.main(flags) == 2
    assert "lake and landing must be URIs that every pod reaches" in capsys.readouterr().err
    text = conf.read_text()
    for name in ("lake", "landing"):
        text = text.replace(f'{name} = "{tmp_path}/{name}"', f'{name} = "s3://shop/{name}"')
    conf.write_text(text)
    assert kube_objects.main(flags) == 0
    written = {path.stem: YAML(typ="safe").load(path.read_text()) for path in (tmp_path / "kube").iterdir()}
    assert {f"{name}.yaml" for name in written} == {*written["kustomization"]["resources"], "kustomization.yaml"}
    assert written["deployment"]["data"]["deployment.toml"] == text
