"""`fiducial contracts infer`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fiducial.charter.infer import infer_contracts
from fiducial.charter.yaml import read_yaml
from fiducial.cli.contracts import MAX_BYTES, app
from fiducial.errors import CharterError

TOOLS = [{"name": "send_sms", "description": "Sends an SMS", "inputSchema": {"properties": {"to": {"type": "string"}}}}]


def infer(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["infer", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({"tools": TOOLS}))
    return path


def test_the_draft_goes_to_the_terminal(tools: Path) -> None:
    output = infer(str(tools), "--server", "phone")
    data = read_yaml(output, "contracts.yaml").data
    assert data["tools"]["send_sms"]["server"] == "phone"
    assert data["tools"]["send_sms"]["guessed"] is True
    assert output.startswith("# ")


def test_the_draft_goes_to_a_new_file_only(tools: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "contracts.yaml"
    assert "1 contracts drafted" in infer(str(tools), "--out", str(out))
    before = out.read_text()
    assert set(read_yaml(before, "c").data["tools"]) == set(infer_contracts(TOOLS))
    with pytest.raises(CharterError, match="never written over"):
        infer(str(tools), "--out", str(out))
    assert out.read_text() == before


def test_openapi_in_json_and_yaml(tmp_path: Path) -> None:
    text = '{"openapi": "3.0.1", "paths": {"/users/{id}": {"delete": {"operationId": "deleteUser"}}}}'
    for name in ("openapi.json", "openapi.yaml"):
        (tmp_path / name).write_text(text)
        assert "deleteUser:" in infer(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.json", b"{", "is not JSON"),
        ("t.json", b"\xff", "is not JSON"),
        ("t.json", b"[" * 100_000, "is not JSON"),
        ("t.json", b"5", "no list of tools"),
        ("t.json", b'[{"name": ""}]', "tool 1 has no name"),
        ("t.yaml", b"a: [", "not YAML"),
        ("t.json", b" " * (MAX_BYTES + 1), "more than"),
    ],
)
def test_what_is_no_tool_list_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CharterError, match=says):
        infer(str(tmp_path / name))
    with pytest.raises(CharterError, match="cannot be read"):
        infer(str(tmp_path / "none.json"))
