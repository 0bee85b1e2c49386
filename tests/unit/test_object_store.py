"""The object store of a deployment: keys, names for each client, and one sentence for each way it can refuse."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.runner import object_store
from jobs.runner.environment_fault import EnvironmentFault
from jobs.runner.session import session
from schemas.deployment import Deployment, load
from schemas.errors import ConfError, NightshelfError
from schemas.storage import Storage, public_uri, spark_uri
from tests.support import tiny_shop


def with_storage(tmp_path: Path, keys: str, lake: str = "s3://shop/lake") -> Path:
    conf = tiny_shop.make(tmp_path, days=1)
    text = conf.read_text().replace(f'lake = "{tmp_path}/lake"', f'lake = "{lake}"')
    conf.write_text(f"{text}\n[storage]\n{keys}\n")
    return conf


@pytest.mark.parametrize(
    "keys",
    ['access_key = "AKIA"', 'secret_access_key = "x"', 'session_token = "x"', 'endpoint = "https://AKIA:x@store"'],
)
def test_credentials_are_refused_wherever_they_are_written(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ConfError, match=r"storage.*credentials do not belong in this file: the environment"):
        load(with_storage(tmp_path, keys))


def test_credentials_in_the_lakes_name_are_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match="credentials do not belong") as caught:
        load(with_storage(tmp_path, "", "s3://AKIA:word@shop/lake"))
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('endpoint = "store:9000"', "endpoint: must be like https://s3.example.com"),
        ('region = "x"\nzone = "y"', "storage.zone: unknown key"),
        ('path_style = "yes"', "storage.path_style: Input should be a valid boolean"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ConfError, match=message):
        load(with_storage(tmp_path, keys))


def test_spark_gets_s3a_and_every_other_reader_s3(tmp_path: Path) -> None:
    deployment = load(with_storage(tmp_path, 'region = "eu-central-1"'))
    assert (deployment.lake, deployment.public_lake) == ("s3a://shop/lake", "s3://shop/lake")
    for uri in ("/a/s3://b", "file:///a", "gs://b/c", "hdfs://n/c"):
        assert spark_uri(uri) == public_uri(uri) == uri


def store_of(lake: str = "s3a://shop/lake", **keys: Any) -> Deployment:
    return Deployment.model_construct(lake=lake, landing="/landing", storage=Storage(**keys), file="shop.toml")


def test_each_client_gets_the_keys_in_its_own_words() -> None:
    deployment = store_of(endpoint="http://store:9000", region="x", path_style=True)
    object_store.use(deployment)
    assert object_store.spark_properties(deployment) == {
        "spark.hadoop.fs.s3a.endpoint": "http://store:9000",
        "spark.hadoop.fs.s3a.endpoint.region": "x",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.delta.logStore.s3a.impl": "io.nightshelf.s3.ConditionalLogStore",
    }
    assert object_store.delta_options("s3a://shop/lake/ops/runs") == {
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "x",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }
    system, path = object_store.file_system("s3a://shop/lake/ops/runs")
    assert (system.region, path) == ("x", "shop/lake/ops/runs")


def test_one_driver_alone_needs_no_condition_and_a_disk_nothing() -> None:
    deployment = store_of(single_driver=True)
    object_store.use(deployment)
    single = object_store.spark_properties(deployment)["spark.delta.logStore.s3a.impl"]
    assert single == "io.delta.storage.S3SingleDriverLogStore"
    assert (object_store.delta_options("s3a://shop/lake") or {})["AWS_S3_ALLOW_UNSAFE_RENAME"] == "true"
    disk = store_of("/lake")
    object_store.check(disk)
    assert object_store.spark_properties(disk) == {}
    assert object_store.delta_options("/lake") is None


class Refusing(http.server.BaseHTTPRequestHandler):
    """A store that answers every request with one error."""

    status, code = 200, ""

    def do_GET(self) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (301, "PermanentRedirect", ConfError, r"shop.toml: \[storage\] region: bucket shop is not in region eu"),
        (400, "AuthorizationHeaderMalformed", ConfError, "region: bucket shop is not in region eu"),
        (
            403,
            "InvalidAccessKeyId",
            ConfError,
            "does not accept the credentials of this run; credentials do not belong",
        ),
        (403, "SignatureDoesNotMatch", ConfError, "does not accept the credentials of this run"),
        (400, "ExpiredToken", ConfError, "does not accept the credentials of this run"),
        (403, "AccessDenied", ConfError, "may not list bucket shop at http.*give their role the lake's"),
        (404, "NoSuchBucket", ConfError, "there is no bucket shop at http"),
        (403, "RequestTimeTooSkewed", EnvironmentFault, "refuses this machine's clock"),
        (503, "SlowDown", EnvironmentFault, "did not list bucket shop: "),
    ],
)
def test_a_refusal_is_one_sentence(
    refusing: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type, message: str
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    monkeypatch.setattr(Refusing, "code", code)
    with pytest.raises(NightshelfError, match=message) as caught:
        object_store.check(store_of(endpoint=refusing, region="eu", path_style=True))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_nobody_at_the_endpoint_is_a_fault_that_a_retry_may_mend() -> None:
    with pytest.raises(EnvironmentFault, match=r"http://127.0.0.1:9 cannot be reached: start it"):
        object_store.check(store_of(endpoint="http://127.0.0.1:9"))


def test_a_missing_jar_is_named_before_spark_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)  # another test may have one
    deployment = load(with_storage(tmp_path, ""))
    (tmp_path / "spark.conf").write_text("spark.master local[1]\nspark.jars missing.jar\n")
    with pytest.raises(
        ConfError, match=r"spark.jars: there is no missing.jar; make jar builds ours \(it needs a JDK\)"
    ):
        session(deployment)
