"""The project as a whole: what it imports, how it is packaged, what its pages and fragments look like."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import fiducial

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HEAVY = ("agentdojo", "fastapi", "httpx", "matplotlib", "numpy", "rich", "starlette", "typer", "uvicorn")
"""Nothing that serves, draws, evaluates or prints belongs to the library itself."""


def _imported(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="no C compiler or no headers of this Python",
)
@pytest.mark.parametrize("source", sorted((ROOT / "src").rglob("*.pyx")), ids=lambda source: source.stem)
def test_what_can_be_compiled_is(source: Path) -> None:
    name = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
    assert importlib.util.find_spec(name) is not None, f"`{name}` is not compiled: install the package again"


def test_importing_the_library_brings_nothing_heavy() -> None:
    assert _imported("import fiducial").isdisjoint(HEAVY)


def test_importing_the_library_is_quick() -> None:
    code = "import time; start = time.process_time(); import fiducial; print(time.process_time() - start)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.3


def test_importing_the_library_does_nothing(tmp_path: Path) -> None:
    """No file, no thread, no logging handler: importing is free of side effects."""
    code = (
        "import threading, logging, fiducial; "
        "print(threading.active_count(), len(logging.getLogger('fiducial').handlers), len(logging.root.handlers))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["1", "0", "0"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_exported_is_sorted_and_exists() -> None:
    assert list(fiducial.__all__) == sorted(fiducial.__all__)
    for name in fiducial.__all__:
        assert getattr(fiducial, name).__doc__ or name == "__version__", f"{name} is not described"
    with pytest.raises(AttributeError):
        fiducial.nothing_of_the_kind  # noqa: B018


def test_the_installed_version_is_the_one_in_the_source() -> None:
    assert importlib.metadata.version("fiducial") == fiducial.__version__


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_module_says_what_it_is_and_leaves_nothing_unfinished(source: Path) -> None:
    text = source.read_text()
    assert ast.get_docstring(ast.parse(text)), "has no docstring"
    assert re.findall(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b", text) == []
    assert len(text.splitlines()) <= 700, "holds more than one subject"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_log_repeats_the_words_of_an_error(source: Path) -> None:
    """Nobody knows what they repeat: see `fiducial.core.faults`."""
    for call in (each for each in ast.walk(ast.parse(source.read_text())) if isinstance(each, ast.Call)):
        name = ast.unparse(call.func)
        assert not re.search(r"\blog\w*\.exception$", name), f"line {call.lineno}"
        for word in call.keywords:
            if word.arg == "exc_info":
                assert ast.unparse(word.value).startswith("wordless("), f"line {call.lineno}"


def test_no_benchmark_is_known_to_the_source() -> None:
    """What the guard knows about a benchmark it could not know about your tools."""
    found = {
        path.name: hits
        for path in [*SOURCES, *(ROOT / "src").rglob("*.cedar"), *(ROOT / "src").rglob("*.yaml")]
        if (
            hits := re.findall(
                r"agent.?do(?:jo|g)|agent.?dyn|important_instructions|injection_task", path.read_text(), re.I
            )
        )
    }
    assert found == {}


def test_news_fragments_are_named_by_their_kind() -> None:
    kinds = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "changelog.d" / "README.md").read_text(), re.MULTILINE))
    assert kinds == {"added", "changed", "fixed", "removed", "security"}
    for fragment in (ROOT / "changelog.d").iterdir():
        if fragment.name == "README.md":
            continue
        assert re.fullmatch(rf"[a-z0-9-]+\.(?:{'|'.join(kinds)})\.md", fragment.name), fragment.name
        text = fragment.read_text()
        assert text.strip(), f"{fragment.name} is empty"
        assert not text.startswith("#"), f"{fragment.name}: no heading"


def test_every_decision_is_listed_and_says_why() -> None:
    index = (ROOT / "design" / "README.md").read_text()
    for record in (ROOT / "design").glob("*.md"):
        if record.name == "README.md":
            continue
        assert f"({record.name})" in index, f"{record.name} is not in the index"
    for record in (ROOT / "design").glob("0*.md"):
        for heading in ("Context", "Decision", "Reasons", "Rejected"):
            assert f"\n## {heading}\n" in record.read_text(), f"{record.name} has no {heading}"


def test_the_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert licence.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in licence
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"


def test_make_lists_its_commands() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("venv", "test", "verify", "demo", "docs", "format", "bench", "clean"):
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), target


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
