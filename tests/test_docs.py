"""The documentation is true: its examples run, its reference pages match the code, and its site needs nobody else's.

In every page, blocks are taken in order, in one directory and one namespace a page, with the `examples` beside them:

- a ```python block runs. What it must print is the ```text block after `<!-- prints -->`.
- in a ```console block each line that begins with `$ ` runs, and the lines after it are what it must print; a line of
  `…` stands for any lines, and `…` inside a line for any characters. `make` targets are only looked up. A command that
  ends with `&` goes on beside the rest of its page; the lines after it are the first that it prints, and those after
  `$ wait %2` what the second of them has printed since, when it has ended. The ports 8440, 8441 and 4317 are others
  here, which nobody else uses.
- in a command, `hld_…` and the like are the last such id that the page has printed: nobody can know it before.
- `<!-- saved as NAME -->` above a block keeps it as that file.
- `<!-- not run: why -->` above a block leaves it out; `<!-- exits 1 -->` says which status the block's commands have.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fiducial.cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    path
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
    if re.search(r"^```(python|console)", path.read_text(), re.MULTILINE)
]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n+)?^```(?P<language>python|console|text)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def matches(expected: str, printed: str) -> bool:
    """True when `printed` is `expected`, where `…` stands for anything and ends of lines do not count."""
    lines = [line.rstrip() for line in expected.strip("\n").split("\n")]
    parts = ["(?:.*\n)*?" if line.strip() == "…" else _line(line) + "\n" for line in lines]
    text = "\n".join(line.rstrip() for line in printed.strip("\n").split("\n")) + "\n"
    return re.fullmatch("".join(parts), text) is not None


def _line(line: str) -> str:
    return ".*?".join(map(re.escape, line.split("…")))


ELSEWHERE = {
    "adk.md": "google.adk",
    "claude-agent.md": "claude_agent_sdk",
    "crewai.md": "crewai",
    "inspect.md": "inspect_ai",
    "openai-agents.md": "agents",
}
"""Pages whose framework cannot be installed beside the others: page → module."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name in ELSEWHERE:
        pytest.importorskip(ELSEWHERE[page.name], reason="run by tests/test_elsewhere.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = page.read_text()
    for port, other in zip(_PORTS, _free_ports(len(_PORTS)), strict=True):
        text = text.replace(f":{port}", f":{other}")
    running = _Page(page.name)
    try:
        running.run(text, page)
    finally:
        running.end()


_PORTS = (8440, 8441, 4317)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in free]


class _Page:
    """A page as it runs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._namespace: dict[str, Any] = {"__name__": "example"}
        self._beside: list[subprocess.Popen[str]] = []
        self._printed = ""
        """By the last Python block."""
        self._heard = ""
        """All that was printed."""

    def run(self, text: str, page: Path) -> None:
        for block in _BLOCK.finditer(text):
            note, language, body = block["note"] or "", block["language"], block["body"]
            line = text[: block.start("body")].count("\n")
            if note.startswith("not run:"):
                continue
            if note.startswith("saved as "):
                Path(note.removeprefix("saved as ")).write_text(body)
            elif language == "python":
                # Padded with empty lines, so that a traceback gives the line in the page.
                code = compile("\n" * line + body, str(page), "exec")
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(code, self._namespace)
                self._printed = output.getvalue()
                self._heard += self._printed
            elif language == "console":
                status = int(note.removeprefix("exits ")) if note.startswith("exits ") else 0
                for command, expected in re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", body, re.MULTILINE):
                    self._command(command, expected, status, f"{self._name}:{line}")
            elif note == "prints":
                assert matches(body, self._printed), f"{self._name}:{line}: prints instead:\n{self._printed}"

    def _command(self, command: str, expected: str, status: int, where: str) -> None:
        command = re.sub(r"\b(\w{3}_|sha256:)…", lambda found: self._last(found[1], where), command)
        words = shlex.split(command)
        if words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), f"{where}: no such target: {command}"
            return
        if words[-1] == "&":
            self._beside.append(_begun(words[:-1]))
            said = _first(self._beside[-1], expected, where)
            self._heard += said
            return
        if words[0] == "wait":
            ending = self._beside[int(words[1].removeprefix("%")) - 1]
            said = ending.communicate(timeout=60)[0]
            done = ending.returncode
        elif words[0] == "fiducial" and not {"<", ">"} & {*words}:
            done, said = _fiducial(words[1:])
        else:
            done, said = _shell(command)
        self._heard += said
        assert done == status, f"{where}: `{command}` exits {done}:\n{said}"
        if expected.strip():
            assert matches(expected, said), f"{where}: `{command}` prints instead:\n{said}"

    def _last(self, prefix: str, where: str) -> str:
        found = re.findall(rf"\b{prefix}\w+", self._heard)
        assert found, f"{where}: the page has printed no `{prefix}…`"
        return found[-1]

    def end(self) -> None:
        for each in self._beside:
            each.terminate()
            each.communicate(timeout=20)


def _fiducial(words: list[str]) -> tuple[int, str]:
    """Run the command in this process, which saves the seconds that each start would take."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fiducial", *words])
        patch.setenv("COLUMNS", "120")
        patch.setenv("NO_COLOR", "1")
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                fiducial.cli.main()
                status = 0
            except SystemExit as ended:
                status = int(ended.code or 0)
    return status, output.getvalue()


def _shell(command: str) -> tuple[int, str]:
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        env=_environment(),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _begun(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(), stdin=subprocess.DEVNULL
    )


def _first(started: subprocess.Popen[str], expected: str, where: str) -> str:
    """What a command that goes on prints first, which is as expected; it answers where it says that it listens."""
    assert started.stdout is not None
    said = "".join(started.stdout.readline() for _ in expected.strip("\n").split("\n"))
    assert matches(expected, said), f"{where}: `{shlex.join(started.args)}` prints instead:\n{said}"  # type: ignore[arg-type]
    for host, port in re.findall(r"http://([\d.]+):(\d+)", said):
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, f"{where}: nothing listens at {host}:{port}"
                time.sleep(0.05)
    return said


def _environment() -> dict[str, str]:
    """With the commands of this environment, and what somebody sees at once."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\nc\n", False),
        ("a", "a\nb", False),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a\n…\nd", "a\nb", False),
        ("… of 9 (", "3 of 9 (", True),
        ("took …", "took 3 ms\nmore", False),
    ],
)
def test_the_comparison_itself(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


def test_some_pages_are_tested() -> None:
    assert {"README.md", "getting-started.md", "guard.md", "cli.md"} <= {page.name for page in PAGES}


def test_the_reference_pages_match_the_code() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["settings.md", "facts.md", "errors.md", "cli.md"])
def test_every_name_in_the_reference_is_described(name: str) -> None:
    rows = [line for line in (ROOT / "docs" / name).read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    # Not with --quiet, which lowers what --strict counts to errors.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loading = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in (tmp_path / "site").rglob("*.html"):
        assert loading.findall(page.read_text()) == [], page
    for sheet in [*(tmp_path / "site").rglob("*.css"), *(tmp_path / "site").rglob("*.svg")]:
        assert re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*//", sheet.read_text()) == [], sheet


def test_the_links_of_the_front_pages_lead_somewhere() -> None:
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{page.name}: {target}"
