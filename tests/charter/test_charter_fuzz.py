"""Whatever stands in a charter's files: problems or a charter, never a crash."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.load import parse_charter
from fiducial.charter.yaml import read_yaml
from fiducial.cli.init import scaffold

FILES = scaffold("support")
NAMES = [*FILES, "cases/other.yaml", "policies/other.cedar", "metrics.yaml", "scenarios/s.yaml", "prompts/p.md", "x"]
DATA: dict[str, Any] = {name: read_yaml(text, name).data for name, text in FILES.items() if name.endswith(".yaml")}


def parse(files: dict[str, str]) -> None:
    charter, problems = parse_charter(files)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert (charter is None) == bool(errors)
    assert problems == sorted(problems)
    for problem in problems:
        assert problem.message
        assert "\n" not in str(problem)
    if charter is not None:
        assert charter.digest == parse_charter(files)[0].digest  # type: ignore[union-attr]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=300), max_size=4))
def test_arbitrary_text(files: dict[str, str]) -> None:
    parse({**FILES, **files})


_NAMES_OF_KEYS = (
    "tools clauses cases effect read pay kind parameters role target schema type $ref output classes preview undo tool "
    "arguments $arguments.x $result $..a never approval find_order refund_order USD 30s given call expect verdict "
    "observed tier chat"
)
_WORDS = st.sampled_from([*_NAMES_OF_KEYS.split(), ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**62) | st.floats(allow_nan=False, allow_infinity=False) | _WORDS
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(sorted(DATA)), _VALUES)
def test_arbitrary_data(name: str, value: Any) -> None:
    parse({**FILES, name: msgspec.json.encode(value).decode()})


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, member in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found += _places(member, (*path, key))
    return found


@st.composite
def _mutated(draw: st.DrawFn) -> dict[str, str]:
    """The scaffold with a few values replaced, removed, renamed or repeated elsewhere."""
    data = copy.deepcopy(DATA)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(data)))
        path = draw(st.sampled_from(_places(data[name])))
        if not path:
            data[name] = draw(_VALUES)
            continue
        parent = data[name]
        for step in path[:-1]:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "remove", "rename", "graft"])):
            case "replace":
                parent[path[-1]] = draw(_VALUES)
            case "remove":
                del parent[path[-1]]
            case "rename" if isinstance(parent, dict):
                parent[draw(_WORDS | st.text(max_size=5))] = parent.pop(path[-1])
            case _:
                donor = data[draw(st.sampled_from(sorted(data)))]
                parent[path[-1]] = copy.deepcopy(donor)
    return {**FILES, **{name: msgspec.json.encode(value).decode() for name, value in data.items()}}


@given(_mutated())
def test_mutated_charters(files: dict[str, str]) -> None:
    parse(files)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 4000), st.integers(0, 40), st.text(max_size=6))
def test_mutated_text(name: str, start: int, length: int, text: str) -> None:
    whole = FILES[name]
    parse({**FILES, name: whole[:start] + text + whole[start + length :]})
