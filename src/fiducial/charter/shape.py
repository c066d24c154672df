"""Shapes: what a JSON Schema says, normalized, and the same in words."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

ShapeType: TypeAlias = Literal["string", "integer", "number", "boolean", "array", "object", "any"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a schema says, normalized. Bounds that are `None` do not bind."""

    type: ShapeType
    """`any`: every JSON value, unless `one_of` or `enum` restrict it."""
    nullable: bool = False
    """Whether `null` is accepted too."""
    enum: tuple[Any, ...] | None = None
    """The only values accepted; never holds `None` (see `nullable`)."""
    one_of: tuple[Shape, ...] = ()
    """For `any`: the value must fit one of these."""
    exactly_one: bool = False
    """The value must fit exactly one of `one_of` (`oneOf`); else at least one (`anyOf`)."""
    items: Shape | None = None
    """For `array`: the shape of every element; `None`: any."""
    properties: dict[str, Shape] | None = None
    """For `object`: the declared members; `None`: none are declared."""
    required: frozenset[str] = frozenset()
    """For `object`: members that must be present."""
    additional: bool = True
    """For `object`: whether members outside `properties` are accepted."""
    values: Shape | None = None
    """For `object`: the shape of those members; `None`: any."""
    min_properties: int | None = None
    max_properties: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_minimum: int | float | None = None
    exclusive_maximum: int | float | None = None
    multiple_of: int | float | None = None
    min_length: int | None = None
    """In code points."""
    max_length: int | None = None
    pattern: str | None = None
    """RE2, found anywhere in the string."""
    min_items: int | None = None
    max_items: int | None = None
    unique: bool = False
    """No two elements are equal."""

    def expectation(self) -> str:
        """What a value must be, in words: `an integer from 1 to 5 or null`."""
        return _expectation(self) + (" or null" if self.nullable else "")


_ARTICLES = {
    "string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "an object", "any": "a JSON value",
}  # fmt: skip


def _expectation(what: Shape) -> str:
    if what.enum is not None:
        shown = [f"`{value}`" for value in what.enum[:8] if isinstance(value, (str, int, float))]
        listed = ", ".join(shown) + (", …" if len(what.enum) > len(shown) else "")
        return f"one of {listed}" if shown else "one of the listed values"
    if what.one_of:
        return " or ".join(dict.fromkeys(_expectation(one) for one in what.one_of))
    words = [_ARTICLES[what.type]]
    if what.type == "array" and what.items is not None and what.items.type != "any":
        words.append(f"of {_expectation(what.items)}")
    words.extend(_between("characters", what.min_length, what.max_length))
    words.extend(_between("elements", what.min_items, what.max_items))
    words.extend(_between("members", what.min_properties, what.max_properties))
    words.extend(
        f"{word} {bound}"
        for word, bound in (
            ("of at least", what.minimum),
            ("of at most", what.maximum),
            ("greater than", what.exclusive_minimum),
            ("less than", what.exclusive_maximum),
            ("that is a multiple of", what.multiple_of),
        )
        if bound is not None
    )
    if what.pattern is not None:
        words.append(f"matching `{what.pattern}`")
    if what.unique:
        words.append("with no repeats")
    return " ".join(words)


def _between(unit: str, low: int | None, high: int | None) -> list[str]:
    if low is not None and high is not None:
        return [f"of {low} to {high} {unit}"]
    if low is not None:
        return [f"of at least {low} {unit}"]
    return [f"of at most {high} {unit}"] if high is not None else []
