"""Checks: a shape compiled into closures that test values without allocating anything when they fit.

A check is given a sane JSON value: one for which `weigh` found a size. It recurses by the shape, whose depth is
bounded, never by the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

import re2

from fiducial.charter.shape import Shape

MAX_INTEGER = 2**63 - 1
"""Largest magnitude of an integer: Cedar's Long is 64-bit signed, and its lowest value has no negation."""
MAX_DEPTH = 64
"""Deepest nesting of arguments, the arguments themselves being level 1; recorded tool calls reach 6."""
MAX_SIZE = 16 * 2**20
"""Characters of all strings and keys, plus 8 a nested value; a model's longest answer is a hundredth of it."""

Miss: TypeAlias = tuple[str, str]
"""Where, relative to the value (`[3].name`), and what is wrong there."""
Check: TypeAlias = Callable[[Any], Miss | None]


def _key(value: Any) -> object:
    """A hashable stand-in: equal exactly when the JSON values are equal (`1` and `1.0` are, `1` and `true` are not)."""
    kind = type(value)
    if kind is bool:
        return ("boolean", value)
    if kind is list or kind is tuple:
        return ("array", *map(_key, value))
    if kind is dict:
        return ("object", frozenset((name, _key(member)) for name, member in value.items()))
    return value


def compile_shape(what: Shape) -> Check:
    """A check of one sane JSON value (see `weigh`) against `what`."""
    check = _unrestricted(what)
    if what.enum is not None:
        check = _listed(what, check)
    if not what.nullable:
        return check

    def nullable(value: Any) -> Miss | None:
        return None if value is None else check(value)

    return nullable


def _unrestricted(what: Shape) -> Check:
    if what.one_of:
        return _alternatives(what)
    if what.type == "string":
        return _string(what)
    if what.type in ("integer", "number"):
        return _numeric(what)
    if what.type == "array":
        return _array(what)
    if what.type == "object":
        return _object(what)
    miss = ("", what.expectation())
    if what.type == "boolean":
        return lambda value: None if value is True or value is False else miss
    return lambda value: miss if value is None else None


def _listed(what: Shape, check: Check) -> Check:
    keys = frozenset(map(_key, what.enum or ()))
    miss = ("", what.expectation())

    def listed(value: Any) -> Miss | None:
        return miss if check(value) is not None or _key(value) not in keys else None

    return listed


def _alternatives(what: Shape) -> Check:
    checks = tuple(map(compile_shape, what.one_of))
    miss = ("", what.expectation())
    twice = ("", "fit for exactly one of its alternatives: " + what.expectation())
    if not what.exactly_one:
        return lambda value: None if any(check(value) is None for check in checks) else miss

    def exactly(value: Any) -> Miss | None:
        fitting = sum(check(value) is None for check in checks)
        return None if fitting == 1 else twice if fitting else miss

    return exactly


def _string(what: Shape) -> Check:
    miss = ("", what.expectation())
    low, high = what.min_length or 0, what.max_length
    search = searcher(what.pattern) if what.pattern is not None else None
    if search is None and not low and high is None:
        return lambda value: None if type(value) is str else miss
    longest = MAX_SIZE if high is None else high

    def string(value: Any) -> Miss | None:
        if type(value) is not str or not low <= len(value) <= longest:
            return miss
        return None if search is None or search(value) else miss

    return string


def _numeric(what: Shape) -> Check:
    miss = ("", what.expectation())
    whole = what.type == "integer"
    low, high, above, below = what.minimum, what.maximum, what.exclusive_minimum, what.exclusive_maximum
    step = what.multiple_of
    free = low is None and high is None and above is None and below is None and step is None

    def numeric(value: Any) -> Miss | None:
        kind = type(value)
        if kind is not int and (whole or kind is not float):
            return miss
        if free:
            return None
        fits = (
            (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
            and (below is None or value < below)
            and (step is None or _is_multiple(value, step))
        )
        return None if fits else miss

    return numeric


def _is_multiple(value: int | float, step: int | float) -> bool:
    """Exact for integers; for decimals the quotient may be off by rounding, as 0.3 / 0.1 is."""
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    quotient = value / step
    return isfinite(quotient) and abs(quotient - round(quotient)) <= 1e-9 * max(1.0, abs(quotient))


def _array(what: Shape) -> Check:
    miss = ("", what.expectation())
    element = compile_shape(what.items) if what.items is not None and what.items != Shape(type="any") else None
    low, high = what.min_items or 0, MAX_SIZE if what.max_items is None else what.max_items

    def array(value: Any) -> Miss | None:
        if type(value) is not list or not low <= len(value) <= high:
            return miss
        if element is not None:
            for index, member in enumerate(value):
                if (found := element(member)) is not None:
                    return f"[{index}]{found[0]}", found[1]
        if what.unique and len({_key(member) for member in value}) < len(value):
            return miss
        return None

    return array


def _object(what: Shape) -> Check:
    miss = ("", what.expectation())
    members = {name: compile_shape(member) for name, member in (what.properties or {}).items()}
    rest = compile_shape(what.values) if what.values is not None else None
    required = tuple(sorted(what.required))
    low, high = what.min_properties or 0, MAX_SIZE if what.max_properties is None else what.max_properties

    def record(value: Any) -> Miss | None:
        if type(value) is not dict or not low <= len(value) <= high:
            return miss
        for name in required:
            if name not in value:
                return f".{name}", "present"
        for name, member in value.items():
            check = members.get(name)
            if check is None:
                if not what.additional:
                    return "", f"without the member {show_key(name)}, which it does not have"
                check = rest
            if check is not None and (found := check(member)) is not None:
                shown = f".{name}" if name in members else ".*"
                return shown + found[0], found[1]
        return None

    return record


def weigh(value: Any) -> str | int:
    """The size of a JSON value, or what keeps it from being one. Iterative: no nesting can exhaust the stack."""
    size = 0
    stack = [(value, 2)]
    pop, push = stack.pop, stack.append
    while stack:
        one, depth = pop()
        size += 8
        kind = type(one)
        if kind is str:
            size += len(one)
            if not one.isascii() and not encodable(one):
                return "valid Unicode: it holds a lone surrogate"
        elif kind is int:
            if not -MAX_INTEGER <= one <= MAX_INTEGER:
                return "within ±(2^63 − 1)"
        elif kind is float:
            if not isfinite(one):
                return "a finite number"
        elif kind is list or kind is dict:
            if depth > MAX_DEPTH:
                return f"nested at most {MAX_DEPTH} levels deep"
            if 8 * len(one) > MAX_SIZE:
                return f"smaller: all arguments together may have {MAX_SIZE} characters"
            if kind is list:
                for member in one:
                    push((member, depth + 1))
            else:
                for name, member in one.items():
                    if type(name) is not str:
                        return "JSON: keys are strings"
                    if not name.isascii() and not encodable(name):
                        return "valid Unicode: a key holds a lone surrogate"
                    size += len(name)
                    push((member, depth + 1))
        elif one is not None and kind is not bool:
            return "a JSON value"
        if size > MAX_SIZE:
            return f"smaller: all arguments together may have {MAX_SIZE} characters"
    return size


def encodable(text: str) -> bool:
    """Whether the text has a UTF-8 form: lone surrogates have none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def show_key(name: object) -> str:
    """A key as it may stand in a message: what an agent put there is bounded and plain."""
    if isinstance(name, str) and re.fullmatch(r"[\w.$ -]{1,64}", name, re.ASCII):
        return f"`{name}`"
    return "with a name that cannot be shown"


def searcher(pattern: str) -> Callable[[str], object]:
    options = re2.Options()
    options.log_errors = False
    search: Callable[[str], object] = re2.compile(pattern, options=options).search
    return search
