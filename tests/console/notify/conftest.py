"""Real receivers: an HTTP server that checks signatures as a receiver would, and a mail server with STARTTLS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.outbox import Outbox
from fiducial.console.notify.settings import NotifySettings, read_settings
from fiducial.console.services import Services

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def signed_with(self, key: bytes) -> bool:
        """As the Standard Webhooks specification has receivers check it, written here from the specification alone."""
        said = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        given = [each.partition(",") for each in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(mac, wanted) for version, _, mac in given)


class Receiver:
    """Keeps what comes; answers with the statuses in `answers`, then with 204."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hang = threading.Event()
        self.hang.set()
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._news:
                    receiver.got.append(Received(self.path, headers, body))
                    status, said = receiver.answers.pop(0) if receiver.answers else (204, {})
                    receiver._news.notify_all()
                receiver.hang.wait(30)
                try:
                    self.send_response(status)
                    for name, value in {**said, "content-length": "0"}.items():
                        self.send_header(name, value)
                    self.end_headers()
                except OSError:
                    pass  # whoever asked is gone

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, count: int, seconds: float = 20.0) -> list[Received]:
        """The first `count` messages, once they are there."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.got) >= count, seconds), f"{len(self.got)} of {count} came"
            return list(self.got)

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def webhook_key() -> bytes:
    return KEY


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., NotifySettings]:
    """The settings that a text describes, with an environment that has a secret and whatever else is given."""

    def read(text: str, **environment: str) -> NotifySettings:
        path = tmp_path / "notify.yaml"
        path.write_text(text)
        return read_settings(path, {"HOOK_SECRET": SECRET, **environment})

    return read


@pytest.fixture
def hook(write: Callable[..., NotifySettings], receiver: Receiver) -> NotifySettings:
    """One webhook, `siem`, that is told of everything."""
    return write(
        f"channels:\n  siem: {{kind: webhook, url: '{receiver.url}/hook', secrets: [HOOK_SECRET]}}\n"
        "routes:\n  - to: [siem]\n"
    )


@pytest.fixture
def round_(services: Services) -> Iterator[Callable[[NotifySettings], float]]:
    """One round of every channel, in this thread; seconds until the next, of the last channel."""
    notifiers: dict[int, Notifier] = {}

    def _of(settings: NotifySettings) -> Notifier:
        if id(settings) not in notifiers:
            notifiers[id(settings)] = Notifier(services, settings)
        return notifiers[id(settings)]

    def run(settings: NotifySettings) -> float:
        wait = 0.0
        for post in _of(settings)._posts:
            wait = post.round(Outbox(services.store, services.clock, post._channel.name))
        return wait

    yield run
    for notifier in notifiers.values():
        notifier.stop()


class Letters:
    """A mail server that wants STARTTLS and a password, or with `safe=False` offers neither; keeps what it takes."""

    def __init__(self, certificate: Any, *, safe: bool = True) -> None:
        self.taken: list[Any] = []
        self.answer = "250 taken"
        self.greeted: list[str] = []
        letters = self

        class Handler:
            async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
                if address.startswith("gone@"):
                    return "550 nobody here"
                envelope.rcpt_tos.append(address)
                return "250 yes"

            async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
                if letters.answer.startswith("250"):
                    letters.taken.append(envelope)
                    letters.greeted.append(session.host_name)
                return letters.answer

        def known(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
            fits = isinstance(data, LoginPassword) and (data.login, data.password) == (b"fiducial", b"right")
            return AuthResult(success=fits, handled=False)

        wanted: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        if safe:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate.certificate, certificate.key)
            wanted = {
                "tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": known,
            }  # fmt: skip

        def one() -> SMTP:
            return SMTP(Handler(), hostname="localhost", loop=self._loop, **wanted)

        self._server = self._loop.run_until_complete(self._loop.create_server(one, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def letters(certificate: Any) -> Iterator[Letters]:
    made = Letters(certificate)
    yield made
    made.close()


@pytest.fixture
def open_letters(certificate: Any) -> Iterator[Letters]:
    """Takes mail in the clear."""
    made = Letters(certificate, safe=False)
    yield made
    made.close()


@pytest.fixture
def webhook_secret() -> str:
    return SECRET
