"""The object store of a deployment, for each of its three clients: Hadoop (Spark), delta-rs and Arrow.

The one place that knows [storage]. Credentials come from each client's own provider chain: the environment, ~/.aws, the
role of the machine or pod.
"""

from __future__ import annotations

import re
import socket
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as pa_fs
from pyspark.sql import SparkSession

from jobs.runner.environment_fault import EnvironmentFault
from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.storage import CHAIN, Storage, bucket_of, is_object_store, public_uri

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 2.0, 3.0  # of the first request of a command
LOG_STORE = "spark.delta.logStore.s3a.impl"
CONDITIONAL_LOG_STORE = "io.nightshelf.s3.ConditionalLogStore"
SINGLE_DRIVER_LOG_STORE = "io.delta.storage.S3SingleDriverLogStore"
CREATE_IF_NONE = "fs.option.create.conditional.overwrite"
RETRY_ATTEMPTS = 2  # of the first request: a store that is busy once is no fault

# What a store's answer says, by its code or its HTTP status -> what is wrong and what to do.
WRONG_REGION = r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|HTTP status 30[17]"
WRONG_CREDENTIALS = r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch|INVALID_"
WRONG_CREDENTIALS += r"CLIENT_TOKEN_ID|ExpiredToken|InvalidToken|MISSING_AUTHENTICATION|UNRECOGNIZED_CLIENT"
SKEWED = r"REQUEST_TIME_TOO_SKEWED|RequestTimeTooSkewed|REQUEST_EXPIRED"
UNREACHABLE = r"NETWORK_CONNECTION|curlCode|REQUEST_TIMEOUT|Couldn't resolve|timed? ?out"

_STORES: dict[str, Storage] = {}  # by bucket: a URI alone says how its store is spoken to
_PROBED: set[str] = set()  # lakes whose store keeps the condition


def use(deployment: Deployment) -> None:
    """Make [storage] known for the buckets of a deployment's lake and landing."""
    for uri in (deployment.lake, deployment.landing):
        if is_object_store(uri):
            _STORES[bucket_of(uri)] = deployment.storage


def spark_properties(deployment: Deployment) -> dict[str, str]:
    """[storage] as Hadoop's client takes it; empty where lake and landing are disks."""
    if not any(map(is_object_store, (deployment.lake, deployment.landing))):
        return {}
    store = deployment.storage
    given = {"endpoint": store.endpoint, "endpoint.region": store.region}
    properties = {f"spark.hadoop.fs.s3a.{name}": value for name, value in given.items() if value}
    properties["spark.hadoop.fs.s3a.path.style.access"] = str(store.path_style).lower()
    properties["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(not store.endpoint.startswith("http://")).lower()
    properties[LOG_STORE] = SINGLE_DRIVER_LOG_STORE if store.single_driver else CONDITIONAL_LOG_STORE
    return properties


def delta_options(uri: str) -> dict[str, str] | None:
    """[storage] as delta-rs takes it; None for a disk."""
    if not is_object_store(uri):
        return None
    store = _STORES.get(bucket_of(uri), Storage())
    options = {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(not store.path_style).lower()}
    if store.endpoint:
        options |= {
            "AWS_ENDPOINT_URL": store.endpoint,
            "AWS_ALLOW_HTTP": str(store.endpoint.startswith("http:")).lower(),
        }
    if store.region:
        options["AWS_REGION"] = store.region
    if store.single_driver:
        options["AWS_S3_ALLOW_UNSAFE_RENAME"] = "true"
    return options


def file_system(uri: str, **limits: Any) -> tuple[pa_fs.FileSystem, str]:
    """Arrow's file system of an object's URI, and the path there; `limits` are those of S3FileSystem."""
    store = _STORES.get(bucket_of(uri), Storage())
    parts = urlsplit(store.endpoint)
    options: dict[str, Any] = {"force_virtual_addressing": bool(store.endpoint) and not store.path_style}
    if store.endpoint:
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    if store.region:
        options["region"] = store.region
    return pa_fs.S3FileSystem(**options, **limits), public_uri(uri).removeprefix("s3://")


def check(deployment: Deployment) -> None:
    """One list request to the store of a lake and of a landing on one, before anything else is started.

    ConfError or EnvironmentFault with what is wrong, within ten seconds; Hadoop's client would retry for minutes.
    """
    use(deployment)
    roots = {bucket_of(uri): uri for uri in (deployment.landing, deployment.lake) if is_object_store(uri)}
    for bucket, uri in roots.items():
        system, path = file_system(
            uri,
            connect_timeout=SECONDS_TO_CONNECT,
            request_timeout=SECONDS_TO_ANSWER,
            retry_strategy=pa_fs.AwsStandardS3RetryStrategy(max_attempts=RETRY_ATTEMPTS),
        )
        try:
            _connect(deployment.storage.endpoint)
            system.get_file_info(pa_fs.FileSelector(path))
        except FileNotFoundError:  # nothing written there yet, or no bucket
            with suppress(OSError):  # one who may list a prefix alone may not ask for the bucket
                if system.get_file_info(bucket).type is pa_fs.FileType.NotFound:
                    raise _fault(deployment, bucket, "NoSuchBucket") from None
        except OSError as error:
            raise _fault(deployment, bucket, str(error)) from None


def _connect(endpoint: str) -> None:
    """OSError where nothing listens at an endpoint: Arrow's client waits longer than its limits say."""
    parts = urlsplit(endpoint)
    if parts.hostname:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname, port), SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise OSError(f"NETWORK_CONNECTION: {error}") from None


def _fault(deployment: Deployment, bucket: str, text: str) -> Exception:
    """The error of a store that did not answer a list request, as one sentence."""
    store = deployment.storage
    where = f"{deployment.file}: [storage]"
    at = store.endpoint or f"AWS, region {store.region or 'of the environment'}"
    if re.search(UNREACHABLE, text):
        return EnvironmentFault(
            f"the object store at {at} cannot be reached: start it, or correct endpoint ({where}); then run this again"
        )
    if re.search(r"NO_SUCH_BUCKET|NoSuchBucket", text):
        return ConfError(f"{where}: there is no bucket {bucket} at {at}: create it, or correct lake and landing")
    if re.search(WRONG_REGION, text):
        return ConfError(f"{where} region: bucket {bucket} is not in region {store.region or 'of the environment'}")
    if re.search(SKEWED, text):
        return EnvironmentFault(f"the object store at {at} refuses this machine's clock: set it by a time server")
    if re.search(WRONG_CREDENTIALS, text):
        return ConfError(f"the object store at {at} does not accept the credentials of this run; {CHAIN}")
    if re.search("ACCESS_DENIED|AccessDenied|HTTP status 403", text):
        return ConfError(
            f"the credentials of this run may not list bucket {bucket} at {at}: give their role the lake's and the "
            f"landing's prefix, or correct them; {CHAIN}"
        )
    return EnvironmentFault(f"the object store at {at} did not list bucket {bucket}: {text.splitlines()[0][:300]}")


def probe(spark: SparkSession, deployment: Deployment) -> None:
    """ConfError unless the lake's store refuses to create an object that exists (If-None-Match), or one driver writes.

    Without that, of two commits at once one is lost, unseen. Three requests, once a process.
    """
    if not is_object_store(deployment.lake) or deployment.storage.single_driver or deployment.lake in _PROBED:
        return
    jvm: Any = spark.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(f"{deployment.lake}/_probes/{uuid.uuid4().hex}")
    system = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    _create(system, path)
    try:
        _create(system, path)
    except Exception as error:
        if not re.search("412|PreconditionFailed|FileAlreadyExists|RemoteFileChanged", str(error)):
            raise
    else:
        raise ConfError(
            f"{deployment.file}: [storage]: the object store of {public_uri(deployment.lake)} ignores If-None-Match: "
            "it overwrites what exists, and commits of two drivers at once would be lost. Use another store, "
            "or set single_driver = true and see to it that one job runs at a time"
        )
    finally:
        system.delete(path, False)
    _PROBED.add(deployment.lake)


def _create(system: Any, path: Any) -> None:
    builder = system.createFile(path).overwrite(True).must(CREATE_IF_NONE, True)
    builder.build().close()
