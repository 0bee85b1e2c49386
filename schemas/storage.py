"""[storage]: the object store of a deployment whose lake or landing is one, and the names of its objects. No Spark."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import model_validator

from schemas.strict import Strict

SECRETS = ("key", "secret", "token", "password", "credential", "profile")  # parts of the names of keys that hold one
CHAIN = (
    "credentials do not belong in this file: the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), ~/.aws, or "
    "the role of the machine or pod has them"
)


class Storage(Strict):
    """[storage]: where an object store is and how it is spoken to; empty for AWS itself.

    `single_driver`: only one process at a time ever commits to the lake, so a store without conditional writes will do.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool = False
    single_driver: bool = False

    @model_validator(mode="before")
    @classmethod
    def _no_credentials(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if any(part in str(name).lower() for part in SECRETS):
                raise ValueError(f"{name}: {CHAIN}")
        return values

    @model_validator(mode="after")
    def _a_plain_endpoint(self) -> Storage:
        parts = urlsplit(self.endpoint)
        if self.endpoint and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("endpoint: must be like https://s3.example.com or http://127.0.0.1:9000")
        if parts.username or parts.password:
            raise ValueError(f"endpoint: {CHAIN}")
        return self


def is_object_store(uri: str) -> bool:
    """Whether a path or URI names objects of S3 or of a store that speaks its protocol."""
    return uri.startswith(("s3://", "s3a://"))


def spark_uri(uri: str) -> str:
    """A URI as Hadoop's file systems take it: s3a:// for s3://."""
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri


def public_uri(uri: str) -> str:
    """A URI as every other reader takes it: s3:// for s3a://."""
    return f"s3://{uri.removeprefix('s3a://')}" if uri.startswith("s3a://") else uri


def bucket_of(uri: str) -> str:
    """The bucket of an object's URI."""
    return urlsplit(uri).netloc
