"""A log published to an object store: a real server of the S3 API, on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from fiducial.cli import app
from fiducial.core.store import Commit
from fiducial.errors import RolledBack, StoreError
from fiducial.store.published.audit import audit
from fiducial.store.published.bucket import Bucket
from fiducial.store.published.publish import publish
from fiducial.store.published.tiles import CHECKPOINT


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def address(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    name = f"logs-{os.urandom(6).hex()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/agents/log"


def fill(store: Any, make: Any, number: int) -> None:
    for each in range(number):
        store.commit(Commit(entries=(make(),), durable=each == number - 1)).result()
    store.flush()


def test_objects_are_kept_swapped_and_discarded(address: str) -> None:
    bucket = Bucket(address)
    assert bucket.get("a") is None
    bucket.put("a", b"1")
    bucket.put("tile/0/000.p/1", b"p")
    bucket.put("tile/0/000", b"t")
    assert bucket.get("a") == b"1"
    bucket.discard("tile/0/000.p")
    bucket.discard("nothing")
    assert (bucket.get("tile/0/000.p/1"), bucket.get("tile/0/000")) == (None, b"t")
    with pytest.raises(StoreError, match="another process"):
        bucket.swap("a", None, b"2")
    with pytest.raises(StoreError, match="another process"):
        bucket.swap("a", b"0", b"2")
    bucket.swap("a", b"1", b"2")
    bucket.swap("b", None, b"1")
    assert (bucket.get("a"), bucket.get("b")) == (b"2", b"1")
    assert Bucket(address.rsplit("/", 1)[0]).get("a") is None


@pytest.mark.parametrize("first", [True, False])
def test_of_two_that_swap_at_once_one_does(address: str, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the same before either of them writes."""
    before = None if first else b"0"
    if before is not None:
        Bucket(address).put(CHECKPOINT, before)
    both, read = threading.Barrier(2), Bucket._read

    def slow(bucket: Bucket, path: str) -> Any:
        found = read(bucket, path)
        if path == CHECKPOINT:
            both.wait(20)
        return found

    monkeypatch.setattr(Bucket, "_read", slow)
    faults: list[StoreError] = []

    def swap(number: int) -> None:
        try:
            Bucket(address).swap(CHECKPOINT, before, b"%d" % number)
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=swap, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert len(faults) == 1
    assert "another process" in str(faults[0])


def test_a_store_that_ignores_conditions_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Bucket._write
    monkeypatch.setattr(Bucket, "_write", lambda bucket, path, data, **_: write(bucket, path, data))
    with pytest.raises(StoreError, match="ignores conditions"):
        Bucket(address).swap(CHECKPOINT, None, b"x")
    assert Bucket(address).get(CHECKPOINT) is None


def test_what_cannot_be_reached_says_so(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("s3://", "https://bucket/x", "s3:///x", "s3://b/x?y=1"):
        with pytest.raises(StoreError, match="no address"):
            Bucket(wrong)
    with pytest.raises(StoreError, match="NoSuchBucket"):
        Bucket("s3://nobody-has-this").put("a", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        Bucket(address).get("a")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_log_is_published_goes_on_and_verifies(
    address: str, kind: str, make: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from fiducial.store.sqlite import SqliteStore

    opened = SqliteStore(tmp_path / "log.db") if kind == "sqlite" else request.getfixturevalue("postgres").open()
    with opened as store:
        fill(store, make, 260)
        with store.ledger() as ledger:
            assert publish(ledger, Bucket(address)).added == 261
            fill(store, make, 300)
            assert publish(ledger, Bucket(address)).added == 300
            assert publish(ledger, Bucket(address)).added == 0
            key = ledger.keys()[-1]
    assert audit(Bucket(address), key=key).checkpoint.size == 561
    bucket = boto3.client("s3").list_objects_v2(Bucket=address.split("/")[2])
    names = [each["Key"].removeprefix("agents/log/") for each in bucket["Contents"]]
    assert "tile/0/000" in names
    assert not any(name.startswith(("tile/0/000.p/", "tile/entries/000.p/")) for name in names)
    with SqliteStore(tmp_path / "other.db") as other, other.ledger() as ledger, pytest.raises((StoreError, RolledBack)):
        publish(ledger, Bucket(address))


def test_the_commands_take_a_bucket(address: str, make: Any, tmp_path: Path) -> None:
    from fiducial.store.sqlite import SqliteStore

    with SqliteStore(tmp_path / "log.db") as store:
        fill(store, make, 3)
    runner = CliRunner()
    done = runner.invoke(app, ["log", "publish", str(tmp_path / "log.db"), address])
    assert (done.exit_code, done.output) == (0, "4 entries published, 4 of them new\n")
    done = runner.invoke(app, ["log", "verify", "--tiles", address])
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["log", "verify", "--tiles", address + "-elsewhere"])
    assert done.exit_code != 0
