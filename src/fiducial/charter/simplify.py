"""Schemas from elsewhere, reduced to what contracts understand.

References are written out, several `allOf` are merged, and whatever `fiducial.charter.schema` does not understand is
left out, part by part, so that as much as possible stays checked. Where nothing can be kept the schema accepts any JSON
value: the server still checks its own, and the facts about a value do not depend on its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiducial.charter.schema import ANNOTATIONS, KEYWORDS, shape

MAX_DEPTH = 16
"""Deepest nesting kept; deeper parts accept anything."""
MAX_SCHEMAS = 2_000
"""Most schemas written out for one parameter."""
_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})
_DROPPED = ANNOTATIONS - {"description", "format", "default"}


def simplified(schema: object, root: Mapping[str, Any]) -> dict[str, Any]:
    """`schema`, found in the document `root`, as a schema that contracts understand; never raises."""
    return _Simplifier(root).simplify(schema, 0, ())


class _Simplifier:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._count = 0

    def simplify(self, schema: object, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        """The part of `schema` that is understood."""
        self._count += 1
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH or self._count > MAX_SCHEMAS:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = None if reference in seen else self._resolve(reference)
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self.simplify({**(target or {}), **beside}, depth + 1, (*seen, reference))
        parts = schema.get("allOf")
        if isinstance(parts, (list, tuple)):
            schema = self._merged(schema, parts, depth, seen)
        kept = {key: self._member(key, value, depth, seen) for key, value in schema.items() if key in KEYWORDS}
        kept = {key: value for key, value in kept.items() if value is not None}
        for key in ("$defs", "definitions", "allOf", "$ref"):
            kept.pop(key, None)
        result = _sound(kept)
        for key in ("description", "format"):
            if depth == 0 and isinstance(schema.get(key), str):
                result[key] = _text(schema[key])
        return result

    def _resolve(self, reference: str) -> Mapping[str, Any] | None:
        """What a reference within the document points to."""
        if not reference.startswith("#/"):
            return None
        found: Any = self._root
        for step in reference[2:].split("/"):
            if not isinstance(found, Mapping):
                return None
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
        return found if isinstance(found, Mapping) else None

    def _merged(self, schema: Mapping[str, Any], parts: Any, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        """`schema` with the schemas of its `allOf` merged in: members joined, else the first to say something wins."""
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in parts[:32]:
            for key, value in self.simplify(part, depth + 1, seen).items():
                present = merged.get(key)
                if key == "properties" and isinstance(present, Mapping):
                    merged[key] = {**value, **present}
                elif key == "required" and isinstance(present, (list, tuple)):
                    merged[key] = [*present, *(name for name in value if name not in present)]
                else:
                    merged.setdefault(key, value)
        return merged

    def _member(self, key: str, value: Any, depth: int, seen: tuple[str, ...]) -> Any:
        """One keyword's value, with the schemas in it reduced; `None` drops the keyword."""
        if key == "properties":
            if not isinstance(value, Mapping):
                return None
            return {str(name): self.simplify(member, depth + 1, seen) for name, member in value.items()}
        if key == "items" or (key == "additionalProperties" and isinstance(value, Mapping)):
            return self.simplify(value, depth + 1, seen)
        if key in ("anyOf", "oneOf"):
            if not isinstance(value, (list, tuple)) or not value:
                return None
            return [
                {"type": "null"} if isinstance(one, Mapping) and one.get("type") == "null" else
                self.simplify(one, depth + 1, seen)
                for one in value[:64]
            ]  # fmt: skip
        return value


def _sound(kept: dict[str, Any]) -> dict[str, Any]:
    """`kept`, less what keeps it from being understood."""
    for union in ("anyOf", "oneOf"):
        if union in kept:
            alone = {key: kept[key] for key in (union, "nullable") if key in kept}
            if _understood(alone):
                return alone
            del kept[union]
    if _understood(kept):
        return kept
    for key in sorted(kept, key=lambda key: key in ("type", "properties", "items")):
        less = {other: value for other, value in kept.items() if other != key}
        if key != "type" and _understood(less):
            return less
    kind = kept.get("type")
    return {"type": kind} if isinstance(kind, str) and kind in _TYPES else {}


def _understood(schema: Mapping[str, Any]) -> bool:
    try:
        shape(schema)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _text(value: str) -> str:
    return " ".join(value.split())[:300].encode("utf-8", "replace").decode()
