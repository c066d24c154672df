"""The commands: trying channels out, making links void, and a console that tells people."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console_world import ROOT, held
from typer.testing import CliRunner

from fiducial.cli import app
from fiducial.console.links import PATH
from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.settings import NotifySettings
from fiducial.console.services import Services
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.store.sqlite import SqliteStore

CHANNELS = """
channels:
  siem: {{kind: webhook, url: '{url}/hook', secrets: [HOOK_SECRET]}}
  chat: {{kind: slack, url_env: CHAT_URL}}
routes:
  - to: [siem, chat]
"""


def _run(*words: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "NO_COLOR": "1", **environment})
    return done.exit_code, done.output


@pytest.fixture
def file(tmp_path: Path, receiver: Any) -> Path:
    made = tmp_path / "channels.yaml"
    made.write_text(CHANNELS.format(url=receiver.url))
    return made


def test_each_channel_is_tried_and_what_came_back_is_said(
    file: Path, receiver: Any, webhook_secret: str, webhook_key: bytes
) -> None:
    environment = {"HOOK_SECRET": webhook_secret, "CHAT_URL": f"{receiver.url}/services/hidden"}
    status, said = _run("notify", "test", "--notify", str(file), **environment)
    assert status == 0, said
    assert re.fullmatch(r"sent +siem +webhook +it answered 204\nsent +chat +slack +it answered 204\n", said)
    assert receiver.got[0].signed_with(webhook_key)
    receiver.answers += [(204, {}), (403, {})]
    status, said = _run("notify", "test", "--notify", str(file), **environment)
    assert status == 1
    assert re.search(r"failed +chat +slack +it answered 403", said)
    assert "hidden" not in said


def test_settings_that_cannot_be_used_are_said_before_anything_is_sent(
    file: Path, receiver: Any, webhook_secret: str, tmp_path: Path
) -> None:
    status, said = _run("notify", "test", "--notify", str(file), HOOK_SECRET=webhook_secret, CHAT_URL="")
    assert (status, receiver.got) == (2, [])
    assert "channels.yaml:4" in said
    assert "`CHAT_URL`" in said
    status, said = _run("notify", "test", "--notify", str(tmp_path / "none.yaml"))
    assert status == 2
    assert "cannot be read" in said
    status, said = _run("up", str(tmp_path / "x.db"), "--charter", str(ROOT / "examples/charters/agentdojo/banking"),
                        "--notify", str(file), CHAT_URL="")  # fmt: skip
    assert status == 2
    assert not (tmp_path / "x.db").exists()


def test_links_are_made_void(services: Services, store: SqliteStore) -> None:
    held(services)
    [hold] = services.desk.waiting()
    link = services.links.address("", hold.id, hold.role, hold.expires_us).removeprefix(PATH)
    store.flush()
    assert _run("notify", "void", "--db", str(store.path), "--by", "nobody")[0] == 2
    assert services.links.read(link).hold == hold.id
    assert _run("notify", "void", "--db", str(store.path), "--by", "admin") == (0, "every link there was is void\n")
    with pytest.raises(OversightError, match="void"):
        services.links.read(link)


def test_who_would_not_be_told_is_found(services: Services, write: Callable[..., NotifySettings]) -> None:
    def unheard(route: str) -> list[str]:
        settings = write(
            f"channels: {{a: {{kind: slack, url_env: URL}}}}\nroutes: [{{to: [a]{route}}}]\n",
            URL="https://hooks.example.org/x",
        )
        notifier = Notifier(services, settings)
        notifier.stop()
        return notifier.unheard()

    assert unheard("") == []
    assert unheard(", roles: [operator]") == ["fraud-desk", "user"]
    assert unheard(", events: [request]") == ["user"]
    assert unheard(", agents: [another]") == ["fraud-desk", "operator", "user"]


@pytest.mark.long
def test_a_console_that_was_started_with_notifications_tells_people(
    file: Path, receiver: Any, webhook_secret: str, tmp_path: Path, rulebook: Any
) -> None:
    charter = tmp_path / "charter"
    shutil.copytree(ROOT / "examples/charters/agentdojo/banking", charter)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "shared.db"
    words = ["up", str(path), "--charter", str(charter), "--listen", f"127.0.0.1:{port}", "--notify", str(file)]
    environment = {**os.environ, "HOOK_SECRET": webhook_secret, "CHAT_URL": f"{receiver.url}/chat"}
    server = subprocess.Popen(
        [sys.executable, "-m", "fiducial", *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        assert f"127.0.0.1:{port}" in server.stdout.readline()
        with SqliteStore(path) as store:
            services = Services(store, rulebook)
            held(services)
            got = {each.path: each.json for each in receiver.wait(2)}
            assert got["/hook"]["data"]["link"].startswith(f"http://127.0.0.1:{port}{PATH}")
            assert "Approval needed" in got["/chat"]["text"]
            services.close()
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
        assert server.returncode in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 30
    finally:
        server.kill()
        server.communicate()


def test_a_console_that_ends_stops_telling_first(services: Services, hook: NotifySettings) -> None:
    notifier = Notifier(services, hook)
    notifier.start()
    services.on_close(notifier.stop)
    services.people.note(PersonId("viewer"), by=PersonId("viewer"), act="looked")
    services.close()
    assert not any(post.is_alive() for post in notifier._posts)
