"""A published log in an object store that speaks the S3 API, below a prefix of a bucket.

Two publishers cannot fork a checkpoint: it is replaced on condition that it still is the one that was read
(`If-Match`), or that there is none (`If-None-Match: *`). A store that does not know these conditions is found out
before a checkpoint is replaced, because it replaces another object that it should have left.

Addresses are `s3://BUCKET[/PREFIX]`. Where the store is, and its credentials, come from the places that boto3 looks at:
`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `~/.aws`, the machine's role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    raise ImportError("publishing to an object store needs another package: `pip install 'fiducial[s3]'`") from error

from fiducial.errors import StoreError
from fiducial.store.published.tiles import CHECKPOINT

SCHEME: Final = "s3://"
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_PROBE: Final = "fiducial-probe"
"""An object by which is found out whether the store knows conditions; it stays, one byte long."""
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_SHORTLY: Final = "public, max-age=5"
_CONFIG: Final = Config(
    connect_timeout=10, read_timeout=30, retries={"max_attempts": 4, "mode": "standard"},
    s3={"addressing_style": "auto"},
)  # fmt: skip


class Bucket:
    """`fiducial.store.published.objects.Objects` in a bucket."""

    def __init__(self, address: str) -> None:
        """Raises `StoreError` for an address that is none, and for a store that knows no conditions."""
        parts = urlsplit(address)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise StoreError(f"`{address}` is no address of a bucket, such as s3://bucket/prefix")
        self.where = address.rstrip("/")
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        with self._translated("the bucket"):
            self._client: Any = boto3.client("s3", config=_CONFIG)
        self._conditional = False

    def get(self, path: str) -> bytes | None:
        """See `Objects`."""
        found = self._read(path)
        return found[0] if found is not None else None

    def put(self, path: str, data: bytes) -> None:
        """See `Objects`."""
        self._write(path, data)

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """See `Objects`."""
        self._demand_conditions()
        found = self._read(path)
        if (found[0] if found is not None else None) != old:
            raise self._replaced(path)
        condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found[1]}
        if not self._write(path, new, **condition):
            raise self._replaced(path)

    def discard(self, prefix: str) -> None:
        """See `Objects`."""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(prefix) + "/"
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    # One by one: deleting many at once needs checksums that not every store knows.
                    self._client.delete_object(Bucket=self._bucket, Key=each["Key"])

    def _read(self, path: str) -> tuple[bytes, str] | None:
        """What is there, and its entity tag."""
        with self._translated(path):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._key(path))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            with found["Body"] as body:
                return body.read(), found["ETag"]

    def _write(self, path: str, data: bytes, **condition: str) -> bool:
        """False when the condition does not hold."""
        kept = {"CacheControl": _SHORTLY if path == CHECKPOINT else _FOR_EVER}
        kept["ContentType"] = "text/plain; charset=utf-8" if path == CHECKPOINT else "application/octet-stream"
        with self._translated(path):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._key(path), Body=data, **kept, **condition)
            except ClientError as error:
                if condition and _code(error) in _CHANGED:
                    return False
                raise
        return True

    def _demand_conditions(self) -> None:
        if not self._conditional:
            if self._read(_PROBE) is None:
                self._write(_PROBE, b"-")
            if self._write(_PROBE, b"-", IfNoneMatch="*") or self._write(_PROBE, b"-", IfMatch='"0"'):
                raise StoreError(
                    f"`{self.where}` ignores conditions on writes, so two publishers could fork the log there; publish "
                    "to a folder and copy that, or use a store that knows `If-Match` and `If-None-Match`"
                )
            self._conditional = True

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    def _replaced(self, path: str) -> StoreError:
        return StoreError(f"another process replaced `{self.where}/{path}` meanwhile; run the command again")

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise StoreError(
                f"the published log `{self.where}`: `{path}` cannot be read or written ({_code(error)}); "
                "check the bucket, its region and the credentials"
            ) from error
        except (BotoCoreError, OSError) as error:
            raise StoreError(
                f"the published log `{self.where}`: `{path}` cannot be read or written ({type(error).__name__}); "
                "check AWS_ENDPOINT_URL, the region and the credentials"
            ) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
