"""`fiducial up` and `fiducial token`, as somebody would use them, and an agent's host in another language."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NODE = shutil.which("node", path=str(Path(sys.executable).parent))


def fiducial(*words: str, ok: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fiducial", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return (done.stdout + done.stderr).strip()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the doors of a shop's assistant are."""
    monkeypatch.chdir(tmp_path)
    fiducial("init", "shop")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "fiducial", "up", "shop.db", "--charter", "shop", "--listen", listen]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert listen in server.stdout.readline()
    try:
        while True:
            try:
                if httpx2.get(f"http://{listen}/health").status_code == 200:
                    break
            except httpx2.HTTPError:
                time.sleep(0.1)
        yield f"http://{listen}"
    finally:
        server.terminate()
        server.communicate(timeout=20)


def token() -> str:
    return fiducial("token", "support-bot", "--db", "shop.db", "--by", "olga")


def test_a_token_opens_the_doors_until_its_program_is_dismissed(shop: str) -> None:
    made = token()
    headers = {"Authorization": f"Bearer {made}"}
    opened = httpx2.post(f"{shop}/v1/sessions", json={"user": "emma"}, headers=headers)
    assert opened.status_code == 201
    # It is worth nothing in the console, where it has no role.
    assert httpx2.get(f"{shop}/api/v1/requests", headers=headers).status_code == 403
    log = fiducial("log", "tail", "--db", "shop.db")
    assert re.search(r"person=support-bot by=olga act=created", log)
    assert made not in log


def test_a_person_s_token_does_not(shop: str) -> None:
    assert "may not come in as a host" in fiducial("token", "admin", "--db", "shop.db", "--by", "olga", ok=False)
    assert httpx2.post(f"{shop}/v1/sessions", json={"user": "emma"}).status_code == 401


def test_a_token_of_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fiducial("token", "support-bot", "--db", "none.db", ok=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", ["approve", pytest.param("deny", marks=pytest.mark.long)])
def test_a_host_in_typescript_has_all_ten_steps(shop: str, answer: str) -> None:
    assert NODE is not None
    environment = {**os.environ, "FIDUCIAL_URL": shop, "FIDUCIAL_TOKEN": token()}
    script = str(ROOT / "examples" / "typescript" / "agent.ts")
    host: Any = subprocess.Popen(
        [NODE, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        assert '"status":"paid"' in host.stdout.readline()
        waiting = host.stdout.readline()
        request = re.search(r"hld_\w+", waiting)
        assert request is not None, waiting + host.stdout.read()
        words = ["--why", "not her order"] if answer == "deny" else []
        fiducial(answer, request[0], *words, "--by", "admin", "--db", "shop.db")
        said = host.communicate(timeout=60)[0]
    finally:
        host.kill()
    assert host.returncode == 0, said
    assert ('"refunded":"ORD-9999"' in said) is (answer == "approve")
    assert ("not her order" in said) is (answer == "deny")
    fiducial("log", "verify", "shop.db")
    log = fiducial("log", "tail", "-n", "100", "--db", "shop.db")
    assert log.count("call.finished") == (2 if answer == "approve" else 1)
    assert log.count("session.closed") == 1


@pytest.mark.parametrize("command", [("up", "shop.db", "--charter", "shop"), ("decide", "shop", "refund_order")])
def test_what_a_charter_needs_and_is_not_there_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    pytest.importorskip("presidio_analyzer")
    monkeypatch.chdir(tmp_path)
    fiducial("init", "shop")
    with Path("shop/charter.yaml").open("a") as file:
        file.write("recognize: {model: en_no_such_names}\n")
    said = fiducial(*command, ok=False)
    assert said == (
        "fiducial: 1 problem\ncharter.yaml: `recognize`: the model `en_no_such_names` is not installed "
        "(python -m spacy download en_no_such_names)"
    )
    assert not Path("shop.db").exists()
