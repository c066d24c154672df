"""The file that says which MCP servers there are, and for whom."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from joserfc.jwk import KeySet, OctKey, OKPKey

from fiducial.errors import CharterError
from fiducial.gateway.mcp.settings import read_settings

KEY = OKPKey.generate_key("Ed25519", {"kid": "one"})
GOOD = """
servers:
  files:
    command: [npx, some-server]
    variables: [FILES_ROOT]
    charter: files
  tickets:
    url: https://tickets.example.org/mcp
    token_env: TICKETS
    alone: true
    pins: approved
users:
  issuer: https://id.example.org
attended:
  clients: [desktop]
hosts:
  support-bot: keys.json
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    (tmp_path / "private.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=True)))
    shared = KeySet([OctKey.generate_key(256)])
    (tmp_path / "shared.json").write_text(json.dumps(shared.as_dict(private=True)))
    (tmp_path / "mixed.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False), *shared.as_dict()["keys"]]}))
    short = {"kty": "RSA", "e": "AQAB", "n": urlsafe_b64encode(b"\xc1" * 128).decode()}
    (tmp_path / "short.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False), short]}))
    (tmp_path / "empty.json").write_text('{"keys": []}')
    return tmp_path


def test_what_the_file_says(folder: Path) -> None:
    (folder / "mcp.yaml").write_text(GOOD)
    read = read_settings(folder / "mcp.yaml", {"TICKETS": "secret"})
    assert list(read.servers) == ["files", "tickets"]
    assert (read.charter("files"), read.charter("tickets")) == (folder / "files", None)
    assert (read.token("files"), read.token("tickets")) == (None, "secret")
    assert (read.servers["files"].alone, read.servers["tickets"].alone) == (False, True)
    assert (read.servers["files"].pins, read.servers["tickets"].pins) == ("first-use", "approved")
    assert read.users is not None
    assert (read.users.issuer, read.users.scope, read.users.user) == ("https://id.example.org", "mcp", "sub")
    assert list(read.keys) == ["support-bot"]
    assert (read.attended.hosts, read.attended.clients) == ((), ("desktop",))


def test_of_no_client_is_it_said_that_its_user_answers_unless_the_file_says_so(folder: Path) -> None:
    (folder / "mcp.yaml").write_text(GOOD.replace("attended:\n  clients: [desktop]\n", ""))
    read = read_settings(folder / "mcp.yaml", {"TICKETS": "secret"})
    assert (read.attended.hosts, read.attended.clients) == ((), ())


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("servers:", "server:", "unknown-key|not a key"),
        ("    command: [npx, some-server]\n", "", "one of `command` and `url`"),
        ("    charter: files", "    url: https://x.example.org/", "one of `command` and `url`"),
        ("https://tickets.example.org/mcp", "http://tickets.example.org/mcp", "https"),
        ("https://tickets.example.org/mcp", "file:///etc/passwd", "https"),
        ("    alone: true", "    alone: yes please", "true or false"),
        ("    alone: true", "    variables: [X]", "not for a server of this kind"),
        ("    charter: files", "    token_env: TICKETS", "not for a server of this kind"),
        ("token_env: TICKETS", "token_env: NONE", "holds no token"),
        ("token_env: TICKETS", "token_env: LINES", "holds no token"),
        ("  files:", "  ../files:", "use a to z"),
        ("  files:", "  Files:", "use a to z"),
        ("https://id.example.org", "http://id.example.org", "https"),
        ("https://id.example.org", "https://id.example.org\n  scope: a b", "one scope"),
        ("keys.json", "none.json", "no JWK Set"),
        ("keys.json", "empty.json", "no JWK Set"),
        ("keys.json", "mcp.yaml", "no JWK Set"),
        ("keys.json", "private.json", "secret"),
        ("keys.json", "shared.json", "secret"),
        ("keys.json", "mixed.json", "secret"),
        ("keys.json", "short.json", "less than 2048 bits"),
        ("clients: [desktop]", "client: [desktop]", "not a key"),
        ("clients: [desktop]", "clients: desktop", "list|tuple"),
        (GOOD, "", "missing|empty"),
        (GOOD, "servers: {}", "empty"),
        (GOOD, "servers: [", "mcp.yaml"),
        ("alone: true", "alone: true\n    alone: false", "alone"),
    ],
)
def test_what_is_not_understood_is_refused(folder: Path, written: str, instead: str, said: str) -> None:
    assert written in GOOD
    (folder / "mcp.yaml").write_text(GOOD.replace(written, instead, 1))
    with pytest.raises(CharterError, match=said):
        read_settings(folder / "mcp.yaml", {"TICKETS": "secret", "LINES": "a\nb"})


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml", {})
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CharterError, match="it is no text"):
        read_settings(tmp_path / "bytes.yaml", {})
