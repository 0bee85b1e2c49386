"""Kubernetes objects of a deployment: a kustomize folder with a SparkApplication for each job of the nightly run.

`python -m jobs.commands.kube_objects --conf conf/mine.toml --run-date 2017-12-03 --operator kubeflow --out build/kube`
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from jobs.flow import NIGHT, lacking
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.object_store import spark_properties
from jobs.runner.session import properties
from schemas.dependencies import edges
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from schemas.job import Job

OPERATORS = {"kubeflow": "sparkoperator.k8s.io/v1beta2", "apache": "spark.apache.org/v1"}
NAME, SPARK = "nightshelf", "4.2.0"
CODE, MOUNTED = "/opt/nightshelf", "/etc/nightshelf"  # in the image, and where the deployment's file is mounted
CREDENTIALS = "nightshelf-credentials"  # a Secret that the user makes: AWS_ACCESS_KEY_ID and the like
USER = 10001  # of conf/docker/jobs.Dockerfile
# What an operator has a field for, and what Airflow's client mode alone needs.
STORE = ("spark.jars", "spark.hadoop.", "spark.sql.parquet.output")
OWN_FIELDS = ("spark.master", "spark.driver.memory", "spark.executor.", "spark.kubernetes.", "spark.pyspark.python")


@dataclass(frozen=True)
class Target:
    """Where a run's objects go: whose SparkApplications, which namespace, which image."""

    operator: str = "kubeflow"
    namespace: str = NAME
    image: str = "nightshelf-jobs"


def objects(deployment: Deployment, text: str, run_date: dt.date, target: Target) -> dict[str, Any]:
    """File name -> object: what every job shares, and the SparkApplications of a date in the flow's order.

    text: the deployment's TOML file, which becomes a ConfigMap.
    """
    namespace, config_map = target.namespace, f"{NAME}-{deployment.name.replace('_', '-')}"
    shared = {
        "service-account": _object("v1", "ServiceAccount", NAME, namespace),
        "role": _role(namespace),
        "role-binding": _binding(namespace),
        "deployment": _object("v1", "ConfigMap", config_map, namespace)
        | {"data": {"deployment.toml": LiteralScalarString(text)}},
        "network-policy": _network_policy(deployment, namespace),
    }
    given = properties(deployment.spark) | _of_store() | spark_properties(deployment)
    make = _kubeflow if target.operator == "kubeflow" else _apache
    pods = {part: _pod(config_map, f"spark-kubernetes-{part}", target.image) for part in ("driver", "executor")}
    jobs = [job for job in NIGHT if not lacking(job, deployment.kinds)]
    pairs = edges(NIGHT)
    names = {job.name for job in jobs}
    for job in jobs:
        metadata = _metadata(job, run_date, namespace, [a for a, b in pairs if b == job.name and a in names])
        shared[job.name.replace("_", "-")] = {
            "apiVersion": OPERATORS[target.operator],
            "kind": "SparkApplication",
            "metadata": metadata,
            "spec": make(job, run_date, given, target.image, pods),
        }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{name}.yaml" for name in shared],
    }
    return {"kustomization": kustomization, **shared}


def _object(version: str, kind: str, name: str, namespace: str) -> dict[str, Any]:
    labels = {"app": NAME}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }


def _role(namespace: str) -> dict[str, Any]:
    """What a driver may do: start, watch and remove its executors, in its own namespace."""
    verbs = ["create", "get", "list", "watch", "patch", "delete", "deletecollection"]
    rule = {"apiGroups": [""], "resources": ["pods", "services", "configmaps", "persistentvolumeclaims"]}
    return _object("rbac.authorization.k8s.io/v1", "Role", NAME, namespace) | {"rules": [rule | {"verbs": verbs}]}


def _binding(namespace: str) -> dict[str, Any]:
    return _object("rbac.authorization.k8s.io/v1", "RoleBinding", NAME, namespace) | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }


def _network_policy(deployment: Deployment, namespace: str) -> dict[str, Any]:
    """Who speaks to the jobs' pods: they to each other. Whom these speak to beside: names, the API and the store."""
    ours = {"podSelector": {"matchLabels": {"app": NAME}}}
    parts = urlsplit(deployment.storage.endpoint)
    store = parts.port or (80 if parts.scheme == "http" else 443)
    return _object("networking.k8s.io/v1", "NetworkPolicy", NAME, namespace) | {
        "spec": {
            "podSelector": {"matchLabels": {"app": NAME}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [ours]}],
            "egress": [
                {"to": [ours]},
                {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
                {"ports": [{"protocol": "TCP", "port": port} for port in sorted({443, 6443, store})]},
            ],
        }
    }


def _metadata(job: Job, run_date: dt.date, namespace: str, after: Sequence[str]) -> dict[str, Any]:
    labels = {"app": NAME, f"{NAME}/job": job.name, f"{NAME}/run-date": str(run_date)}
    metadata = {"name": f"{job.name.replace('_', '-')}-{run_date}", "namespace": namespace, "labels": labels}
    return metadata | ({"annotations": {f"{NAME}/after": ",".join(after)}} if after else {})


def _arguments(run_date: dt.date) -> list[str]:
    return [
        *("--run-date", str(run_date), "--conf", f"{MOUNTED}/deployment.toml"),
        *("--outcome-file", "/dev/termination-log"),
    ]


def _pod(config_map: str, container: str, image: str) -> dict[str, Any]:
    """Pod template of a driver or executor: a disk for spills, the deployment's file, no more rights than needed."""
    return {
        "metadata": {"labels": {"app": NAME}},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER},
            "containers": [
                {
                    "name": container,
                    "image": image,
                    "workingDir": "/spills",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "envFrom": [{"secretRef": {"name": CREDENTIALS, "optional": True}}],
                    "volumeMounts": [
                        {"name": "spark-local-dir-1", "mountPath": "/spills"},
                        {"name": "deployment", "mountPath": MOUNTED, "readOnly": True},
                    ],
                }
            ],
            "volumes": [
                {"name": "spark-local-dir-1", "emptyDir": {"sizeLimit": "64Gi"}},
                {"name": "deployment", "configMap": {"name": config_map}},
            ],
        },
    }


def _kubeflow(
    job: Job, run_date: dt.date, given: Mapping[str, str], image: str, pods: Mapping[str, Any]
) -> dict[str, Any]:
    """A SparkApplication of the Kubeflow Spark operator. Exit codes 2 to 4 help no retry, so none is made."""
    return {
        "type": "Python",
        "pythonVersion": "3",
        "mode": "cluster",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "sparkVersion": SPARK,
        "mainApplicationFile": f"local://{CODE}/jobs/{job.name}.py",
        "arguments": _arguments(run_date),
        "restartPolicy": {"type": "Never"},
        "sparkConf": _plain(given),
        "driver": {
            "cores": 1,
            "memory": given.get("spark.driver.memory", "6g"),
            "serviceAccount": NAME,
            "template": pods["driver"],
        },
        "executor": {
            "instances": int(given.get("spark.executor.instances", "2")),
            "cores": int(given.get("spark.executor.cores", "4")),
            "memory": given.get("spark.executor.memory", "8g"),
            "memoryOverhead": given.get("spark.executor.memoryOverhead", "12g"),
            "template": pods["executor"],
        },
    }


def _apache(
    job: Job, run_date: dt.date, given: Mapping[str, str], image: str, pods: Mapping[str, Any]
) -> dict[str, Any]:
    """A SparkApplication of Apache Spark's own operator."""
    sizes = {key: value for key, value in given.items() if key.startswith(("spark.executor.", "spark.driver.memory"))}
    own = {
        "spark.kubernetes.authenticate.driver.serviceAccountName": NAME,
        "spark.kubernetes.container.image": image,
        "spark.executor.instances": given.get("spark.executor.instances", "2"),
    }
    return {
        "pyFiles": f"local://{CODE}/jobs/{job.name}.py",
        "driverArgs": _arguments(run_date),
        "runtimeVersions": {"sparkVersion": SPARK},
        "applicationTolerations": {"restartConfig": {"restartPolicy": "Never"}},
        "sparkConf": dict(sorted((_plain(given) | sizes | own).items())),
        "driverSpec": {"podTemplateSpec": pods["driver"]},
        "executorSpec": {"podTemplateSpec": pods["executor"]},
    }


def _of_store() -> dict[str, str]:
    """What conf/spark-s3.conf has for the object store: pods share no disk."""
    shipped = properties(str(Path(__file__).resolve().parents[2] / "conf" / "spark-s3.conf"))
    return {key: value for key, value in shipped.items() if key.startswith(STORE)}


def _plain(given: Mapping[str, str]) -> dict[str, str]:
    """Spark's properties but those that an operator has fields for; the image's Python, and its jar by full path."""
    kept = {key: value for key, value in given.items() if not key.startswith(OWN_FIELDS)}
    if jars := kept.get("spark.jars"):
        kept["spark.jars"] = f"local://{CODE}/{jars}"
    return dict(sorted({**kept, "spark.pyspark.python": f"{CODE}/.venv/bin/python"}.items()))


def as_yaml(value: Mapping[str, Any]) -> str:
    """An object as YAML."""
    writer, text = YAML(), io.StringIO()
    writer.width = 4096
    writer.representer.ignore_aliases = lambda _: True
    writer.dump(value, text)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, write the folder, print its path."""
    parser = argparse.ArgumentParser(prog="jobs.commands.kube_objects", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--run-date", required=True, type=parse_date, help="the date of the run, YYYY-MM-DD")
    parser.add_argument("--operator", choices=OPERATORS, default="kubeflow", help="whose SparkApplications")
    parser.add_argument("--namespace", default=Target.namespace)
    parser.add_argument("--image", default=Target.image, help="the image of conf/docker/jobs.Dockerfile")
    parser.add_argument("--out", default="build/kube", help="the folder to write")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        if "://" not in deployment.lake or "://" not in deployment.landing:
            raise ConfError(
                f"{given.conf}: lake and landing must be URIs that every pod reaches, such as s3://bucket/lake"
            )
        text = Path(given.conf).read_text(encoding="utf-8")
        folder = Path(given.out)
        folder.mkdir(parents=True, exist_ok=True)
        target = Target(given.operator, given.namespace, given.image)
        written = objects(deployment, text, given.run_date, target)
        for name, value in written.items():
            (folder / f"{name}.yaml").write_text(as_yaml(value), encoding="utf-8")
        print(f"{folder}: {len(written)} objects; kubectl apply -k {folder}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
