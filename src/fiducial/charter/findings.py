"""Findings: what the models' validation reports, in the words of someone who reads charters, with lines.

Validation speaks of types of the implementation; this is the one place where it is translated. Values are repeated only
where they are names that the charter's author wrote (a key, a misspelt choice), and then bounded.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from fiducial.charter.yaml import Document
    from fiducial.core.path import Path

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "string": "text", "int": "an integer", "float": "a number", "bool": "true or false", "dict": "a mapping",
    "mapping": "a mapping", "list": "a list", "tuple": "a list", "model": "a mapping", "time_delta": "a duration",
    "timedelta": "a duration",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def did_you_mean(word: object, among: Iterable[str]) -> str:
    """`did you mean x?` with the word of `among` that is closest to `word`; empty when none is close."""
    words = list(among)
    close = difflib.get_close_matches(str(word)[:64], words, n=1, cutoff=0.6)
    if not close:
        folded = {one.lower(): one for one in words}
        close = difflib.get_close_matches(str(word)[:64].lower(), folded, n=1, cutoff=0.6)
        close = [folded[one] for one in close]
    return f"did you mean `{close[0]}`?" if close else ""


def quote(value: object) -> str:
    """A name from the charter, in backticks, bounded and on one line."""
    flat = " ".join(str(value).split()).replace("`", "'")
    return f"`{flat if len(flat) <= 60 else flat[:59] + '…'}`"


def validated(document: Document, written: Any, model: type[Model], at: Path) -> Model | None:
    """`written`, found at `at`, as `model` as far as it can be told; `None` when it cannot.

    What is wrong with it is added to the document's problems.
    """
    try:
        try:
            return model.model_validate(written)
        except ValidationError as error:
            report(document, error, model, at)
            return model.model_validate(mended(written, error, model))
    except ValidationError:
        return None
    except (RecursionError, OverflowError):
        document.problem(at, "invalid-value", "this cannot be read", "make it simpler")
    return None


def report(document: Document, error: ValidationError, model: type[BaseModel], at: Path = ()) -> None:
    """Add every error of `error`, found validating what stands at `at` as `model`, to the document's problems."""
    for detail in error.errors(include_url=False):
        _one(document, detail, model, at)


_MENDED = ("extra_forbidden", "enum", "literal_error")


def mended(written: Any, error: ValidationError, model: type[BaseModel]) -> Any:
    """`written` without the keys and choices that nobody knows; a misspelt key is read as the one it resembles."""
    copy = deepcopy(written)
    for detail in error.errors(include_url=False):
        if detail["type"] not in _MENDED or not detail["loc"]:
            continue
        *above, last = detail["loc"]
        inner: Any = copy
        for step in above:
            inner = _within(inner, step)
        if not isinstance(inner, dict) or last not in inner:
            continue
        value = inner.pop(last)
        close = did_you_mean(last, set(_keys(model, tuple(above))) - inner.keys())
        if detail["type"] == "extra_forbidden" and close:
            inner[close.split("`")[1]] = value
    return copy


def _within(value: Any, step: int | str) -> Any:
    if isinstance(value, list) and isinstance(step, int):
        return value[step] if 0 <= step < len(value) else None
    return value.get(step) if isinstance(value, dict) else None


def _one(document: Document, detail: ErrorDetails, model: type[BaseModel], at: Path) -> None:
    loc = tuple(step for step in detail["loc"] if step != "[key]")
    path = at + loc
    kind, context = detail["type"], detail.get("ctx", {})
    name = quote(path[-1]) if path and isinstance(path[-1], str) else "this"
    if kind == "extra_forbidden":
        keys = _keys(model, loc[:-1])
        fix = did_you_mean(loc[-1], keys) or "the keys here are " + ", ".join(f"`{key}`" for key in keys)
        document.problem(path, "unknown-key", f"{name} is not a key here", fix)
    elif kind == "missing":
        document.problem(path[:-1], "missing-key", f"{name} is missing{_inside(at, loc)}", "add it")
    elif kind in ("enum", "literal_error"):
        expected = str(context.get("expected", "")).replace("'", "`")
        given = detail["input"]
        shown = quote(given) if isinstance(given, str) else "this"
        close = did_you_mean(given, expected.replace("`", "").replace(" or ", ", ").split(", "))
        document.problem(path, "unknown-value", f"{shown} is not a value of {name}: it is {expected}", close)
    elif kind in ("value_error", "assertion_error"):
        said = str(context.get("error", "is not valid"))
        joint = " " if said.startswith(("has ", "is ", "must ")) else ": "
        document.problem(path, "invalid-value", name + joint + said)
    else:
        document.problem(path, "invalid-value", f"{name} must be {_wanted(kind, context)}")


def _inside(at: Path, loc: Path) -> str:
    parent = [step for step in (*at, *loc)[:-1] if isinstance(step, str)]
    return f" in {quote(parent[-1])}" if parent else ""


def _wanted(kind: str, context: dict[str, Any]) -> str:
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{word} {context.get(key)}"
    if kind == "string_pattern_mismatch":
        return f"text that matches `{context.get('pattern')}`"
    if kind.endswith("too_short"):
        return "filled: it is empty" if context.get("min_length") == 1 else "longer"
    for prefix, words in _EXPECTED.items():
        if kind.startswith(prefix + "_") or kind == prefix:
            return words
    return "another value"


def _keys(model: Any, loc: Path) -> list[str]:
    """The keys that may stand at `loc` in what `model` describes; empty when that cannot be told."""
    for step in loc:
        model = _member(model, step)
    found = _model(model)
    return sorted(field.alias or name for name, field in found.model_fields.items()) if found else []


def _member(annotation: Any, step: str | int) -> Any:
    """The annotation of one member of `annotation`."""
    model = _model(annotation)
    if model is not None:
        for name, field in model.model_fields.items():
            if step in (name, field.alias):
                return field.annotation
        return None
    for candidate in _alternatives(annotation):
        origin, arguments = typing.get_origin(candidate), typing.get_args(candidate)
        if origin in (tuple, list) and arguments:
            return arguments[0]
        if origin is dict:
            return arguments[1]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _alternatives(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _alternatives(part)]
    return [annotation]
