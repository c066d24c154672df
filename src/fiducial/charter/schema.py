"""The JSON Schema that contracts are written in, and the shape of values that a schema stands for.

What is understood (JSON Schema 2020-12, with the spellings of OpenAPI 3.0 that mean the same):

    type, enum, const, nullable    several types are a union, `null` among them makes it nullable
    anyOf, oneOf, allOf            unions; `allOf` only around a single schema
    properties, required, additionalProperties, minProperties, maxProperties
    items, minItems, maxItems, uniqueItems
    minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf
    minLength, maxLength, pattern  patterns are RE2, searched for anywhere, in linear time
    $ref, $defs, definitions       within the same schema; a cycle is refused

Annotations (title, description, default, examples, format, ... and `x-` extensions) say nothing about which values
are accepted and are passed over. Any other keyword raises `ValueError` naming it: a constraint that is not understood
is never dropped in silence. A schema without `type` takes the type that its keywords imply (`properties`: an object),
which is stricter than JSON Schema, where such keywords do not bind values of other types.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec
import re2

from fiducial.charter.checks import MAX_INTEGER, compile_shape, searcher
from fiducial.charter.shape import Shape, ShapeType

__all__ = ["ANNOTATIONS", "KEYWORDS", "Shape", "shape"]

_MAX_SCHEMA_DEPTH = 32
_MAX_SCHEMAS = 10_000

_TYPES: tuple[ShapeType, ...] = ("string", "integer", "number", "boolean", "array", "object")

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "format", "deprecated", "readOnly", "writeOnly"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
    | {"$schema", "$id", "$comment", "$anchor", "externalDocs", "xml"}
)
_BY_TYPE: dict[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
}
_GENERAL = frozenset({"type", "enum", "const", "nullable", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions"})
KEYWORDS = frozenset().union(_GENERAL, *_BY_TYPE.values())
"""Every keyword that is understood, without the annotations."""
_UNIONS = ("anyOf", "oneOf", "allOf")


class _Place(msgspec.Struct, frozen=True):
    """Where in a document the reading stands."""

    defs: Mapping[str, Any]
    """Definitions in reach."""
    seen: tuple[str, ...] = ()
    """References followed to get here, to find cycles."""
    depth: int = 0
    counted: list[None] = msgspec.field(default_factory=list)
    """One entry a schema read, shared by the whole document."""

    def below(self, name: str | None = None) -> _Place:
        """One level deeper, through the reference `name` if given."""
        seen = self.seen if name is None else (*self.seen, name)
        return msgspec.structs.replace(self, seen=seen, depth=self.depth + 1)

    def count(self) -> None:
        """Raises `ValueError` past the bounds; references that fan out would else grow without any."""
        self.counted.append(None)
        if self.depth > _MAX_SCHEMA_DEPTH:
            raise ValueError(f"the schema is nested deeper than {_MAX_SCHEMA_DEPTH} levels")
        if len(self.counted) > _MAX_SCHEMAS:
            raise ValueError(f"the schema holds more than {_MAX_SCHEMAS} schemas, references written out")


def shape(schema: Mapping[str, Any] | bool, defs: Mapping[str, Any] | None = None) -> Shape:
    """The shape of `schema`; `defs` holds the definitions of the document around it.

    Raises `ValueError`, naming the keyword, when something in it is not understood or contradicts itself.
    """
    return _shape(schema, _Place(dict(defs or {})))


def _shape(schema: object, at: _Place) -> Shape:
    at.count()
    if schema is True:
        return Shape(type="any")
    if schema is False:
        raise ValueError("the schema `false` accepts nothing: leave the parameter out")
    if not isinstance(schema, Mapping):
        raise ValueError("a schema must be a mapping")
    for key in schema:
        known = key in KEYWORDS or key in ANNOTATIONS or (isinstance(key, str) and key.startswith("x-"))
        if not known:
            close = difflib.get_close_matches(str(key), KEYWORDS, n=1)
            raise ValueError(
                f"the keyword `{key}` is not understood" + (f": did you mean `{close[0]}`?" if close else "")
            )
    own: dict[str, Any] = {}
    for keyword in ("definitions", "$defs"):
        held = schema.get(keyword, {})
        if not isinstance(held, Mapping):
            raise ValueError(f"`{keyword}` must be a mapping of names to schemas")
        own.update(held)
    if own:
        at = msgspec.structs.replace(at, defs={**at.defs, **own})
    binding = {key for key in schema if key in KEYWORDS} - {"$defs", "definitions"}
    nullable = _flag(schema, "nullable")
    for keyword in ("$ref", *_UNIONS):
        if keyword in schema:
            if beside := binding - {keyword, "nullable"}:
                raise ValueError(f"`{keyword}` cannot be combined with `{min(beside)}`")
            if keyword == "$ref":
                result = _referred(schema["$ref"], at)
            else:
                result = _union(keyword, schema[keyword], at)
            return msgspec.structs.replace(result, nullable=True) if nullable else result
    return _plain(schema, nullable, at)


def _referred(reference: object, at: _Place) -> Shape:
    match = re.fullmatch(r"#/(?:\$defs|definitions)/([^/]+)", reference) if isinstance(reference, str) else None
    if match is None:
        raise ValueError("`$ref` must point to `#/$defs/NAME` in the same schema")
    name = match[1].replace("~1", "/").replace("~0", "~")
    if name in at.seen:
        raise ValueError(f"`$ref` to `{name}` is cyclic: such values have no bound")
    if name not in at.defs:
        raise ValueError(f"`$ref` points to `{name}`, which `$defs` does not hold")
    return _shape(at.defs[name], at.below(name))


def _union(keyword: str, members: object, at: _Place) -> Shape:
    if not isinstance(members, (list, tuple)) or not members:
        raise ValueError(f"`{keyword}` must be a list of schemas that is not empty")
    if keyword == "allOf":
        if len(members) != 1:
            raise ValueError("`allOf` of several schemas is not understood: write them as one")
        return _shape(members[0], at.below())
    given = [member for member in members if not _is_null(member)]
    shapes = [_shape(member, at.below()) for member in given]
    nullable = len(given) < len(members) or any(one.nullable for one in shapes)
    if not shapes:
        raise ValueError(f"`{keyword}` accepts nothing but null: leave the parameter out")
    if len(shapes) == 1:
        return msgspec.structs.replace(shapes[0], nullable=nullable)
    if keyword == "anyOf" and any(one == Shape(type="any", nullable=one.nullable) for one in shapes):
        return Shape(type="any", nullable=True)
    bare = tuple(msgspec.structs.replace(one, nullable=False) for one in shapes)
    return Shape(type="any", nullable=nullable, one_of=bare, exactly_one=keyword == "oneOf")


def _is_null(schema: object) -> bool:
    if not isinstance(schema, Mapping):
        return False
    return schema.get("type") in ("null", ["null"]) or ("const" in schema and schema["const"] is None)


def _plain(schema: Mapping[str, Any], nullable: bool, at: _Place) -> Shape:
    types = schema.get("type")
    names = [types] if isinstance(types, str) else list(types) if isinstance(types, (list, tuple)) else None
    if types is not None and (names is None or not names):
        raise ValueError("`type` must be a type's name or a list of them")
    if names is not None and "null" in names:
        nullable, names = True, [name for name in names if name != "null"]
        if not names:
            raise ValueError("`type` accepts nothing but null: leave the parameter out")
    for name in names or ():
        if name not in _TYPES:
            close = difflib.get_close_matches(str(name), _TYPES, n=1)
            raise ValueError(f"the type `{name}` is not known" + (f": did you mean `{close[0]}`?" if close else ""))
    enum = _enum(schema)
    if enum is not None:
        if nullable or names is None:
            nullable = any(value is None for value in enum)
        enum = tuple(value for value in enum if value is not None)
        if not enum:
            raise ValueError("`enum` accepts nothing but null: leave the parameter out")
    if names is None:
        names = _implied(schema, enum)
    if len(set(names)) > 1:
        if set(names) == {"integer", "number"}:
            names = ["number"]
        else:
            rest = {key: value for key, value in schema.items() if key not in ("type", "nullable", "enum", "const")}
            parts = tuple(_plain({**_relevant(rest, name), "type": name}, False, at) for name in names)
            return Shape(type="any", nullable=nullable, enum=enum, one_of=parts)
    return _typed(_TYPES[_TYPES.index(names[0])] if names else "any", schema, nullable, enum, at)


def _enum(schema: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if "const" in schema:
        if "enum" in schema:
            raise ValueError("`const` cannot be combined with `enum`")
        return (schema["const"],)
    if "enum" not in schema:
        return None
    values = schema["enum"]
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError("`enum` must be a list of values that is not empty")
    return tuple(values)


def _implied(schema: Mapping[str, Any], enum: tuple[Any, ...] | None) -> list[Any]:
    """The type that the keywords imply; empty: any."""
    if enum is not None:
        kinds = {_json_type(value) for value in enum}
        if kinds == {"integer", "number"}:
            return ["number"]
        return list(kinds) if len(kinds) == 1 else []
    implied = [name for name, keywords in _BY_TYPE.items() if keywords & schema.keys()]
    if len(implied) > 1:
        raise ValueError(f"`type` is missing, and the keywords belong to both {implied[0]} and {implied[1]}")
    return implied


def _relevant(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keywords that bind values of the type `name`."""
    other = frozenset().union(*(keywords for kind, keywords in _BY_TYPE.items() if kind != _family(name)))
    return {key: value for key, value in schema.items() if key not in other}


def _family(name: str) -> str:
    return "number" if name == "integer" else name


def _typed(
    kind: ShapeType,
    schema: Mapping[str, Any],
    nullable: bool,
    enum: tuple[Any, ...] | None,
    at: _Place,
) -> Shape:
    allowed = _BY_TYPE.get(_family(kind), frozenset())
    for keyword in sorted(schema.keys() & KEYWORDS - _GENERAL):
        if keyword not in allowed:
            raise ValueError(f"`{keyword}` does not bind values of the type `{kind}`")
    fields: dict[str, Any] = {}
    if kind == "string":
        fields = {"min_length": _count(schema, "minLength"), "max_length": _count(schema, "maxLength")}
        fields["pattern"] = _pattern(schema)
    elif kind in ("integer", "number"):
        fields = _bounds(schema)
    elif kind == "array":
        fields = {"min_items": _count(schema, "minItems"), "max_items": _count(schema, "maxItems")}
        fields["unique"] = _flag(schema, "uniqueItems")
        if "items" in schema:
            fields["items"] = _shape(schema["items"], at.below())
    elif kind == "object":
        fields = _members(schema, at)
    if enum is not None:
        bare = Shape(type=kind, **fields)
        fits = compile_shape(bare)
        if not all(fits(value) is None for value in enum):
            raise ValueError(f"`enum` holds a value that is not {bare.expectation()}")
    return Shape(type=kind, nullable=nullable, enum=enum, **fields)


def _members(schema: Mapping[str, Any], at: _Place) -> dict[str, Any]:
    properties = schema.get("properties")
    if properties is not None and not isinstance(properties, Mapping):
        raise ValueError("`properties` must be a mapping of names to schemas")
    required = schema.get("required", ())
    if not isinstance(required, (list, tuple)) or not all(isinstance(name, str) for name in required):
        raise ValueError("`required` must be a list of names")
    rest = schema.get("additionalProperties", True)
    values = None if isinstance(rest, bool) else _shape(rest, at.below())
    declared = (
        None if properties is None else {str(name): _shape(member, at.below()) for name, member in properties.items()}
    )
    if rest is False and (missing := set(required) - set(declared or ())):
        raise ValueError(f"`required` names `{min(missing)}`, which `properties` does not declare")
    return {
        "properties": declared,
        "required": frozenset(required),
        "additional": rest is not False,
        "values": values,
        "min_properties": _count(schema, "minProperties"),
        "max_properties": _count(schema, "maxProperties"),
    }


def _flag(schema: Mapping[str, Any], keyword: str) -> bool:
    value = schema.get(keyword, False)
    if not isinstance(value, bool):
        raise ValueError(f"`{keyword}` must be true or false")
    return value


def _count(schema: Mapping[str, Any], keyword: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if not _is_number(value) or value != int(value) or not 0 <= value <= MAX_INTEGER:
        raise ValueError(f"`{keyword}` must be a whole number, zero or more")
    return int(value)


def _is_number(value: object) -> bool:
    if type(value) is float:
        return isfinite(value)
    return type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        value = schema.get(keyword)
        if isinstance(value, bool) and keyword.startswith("exclusive"):  # OpenAPI 3.0: a flag on `minimum`
            continue
        if value is not None and not _is_number(value):
            raise ValueError(f"`{keyword}` must be a number")
        found[keyword] = value
    for bound in ("minimum", "maximum"):
        exclusive = "exclusive" + bound.capitalize()
        if schema.get(exclusive) is True:
            found[exclusive], found[bound] = found[bound], None
    if found["multipleOf"] is not None and found["multipleOf"] <= 0:
        raise ValueError("`multipleOf` must be greater than zero")
    return {
        "minimum": found["minimum"],
        "maximum": found["maximum"],
        "exclusive_minimum": found.get("exclusiveMinimum"),
        "exclusive_maximum": found.get("exclusiveMaximum"),
        "multiple_of": found["multipleOf"],
    }


def _pattern(schema: Mapping[str, Any]) -> str | None:
    pattern = schema.get("pattern")
    if pattern is None:
        return None
    if not isinstance(pattern, str):
        raise ValueError("`pattern` must be a string")
    try:
        searcher(pattern)
    except (re2.error, UnicodeEncodeError):
        raise ValueError(
            "`pattern` is not an RE2 expression (no look-around, no back-references): rewrite or drop it"
        ) from None
    return pattern


def _json_type(value: object) -> str:
    """The type of a JSON value; `integer` for whole numbers without a point; `other` when it is not JSON."""
    kind = type(value)
    for python, name in ((str, "string"), (bool, "boolean"), (int, "integer"), (float, "number")):
        if kind is python:
            return name
    if kind is list or kind is tuple:
        return "array"
    return "object" if kind is dict else "null" if value is None else "other"
