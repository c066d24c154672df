"""The strict check of a call's arguments against a contract.

Nothing is coerced: `"5"` is not 5, `true` is not an integer, neither is `5.0`; a key that no parameter declares is
refused. Values must be JSON: no NaN or infinities, no integers past ±(2⁶³ − 1) (Cedar's Long), no lone surrogates (no
UTF-8 form), nothing nested deeper than `MAX_DEPTH`, and `MAX_SIZE` in all. Messages name the parameter and what is
expected of it, and never repeat the value, which may be secret or hostile.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fiducial.charter.checks import MAX_DEPTH, MAX_INTEGER, MAX_SIZE, Check, compile_shape, show_key, weigh
from fiducial.charter.contracts import Contract
from fiducial.charter.schema import shape
from fiducial.charter.shape import Shape

__all__ = ["MAX_DEPTH", "MAX_INTEGER", "MAX_SIZE", "arguments_checker"]

_MAX_PROBLEMS = 20
"""Problems reported a call; an attacker who sends a thousand unknown keys does not get a thousand lines logged."""
_FREE = (Shape(type="string"), Shape(type="string", nullable=True))
"""Shapes that every text fits."""


def arguments_checker(contract: Contract) -> Callable[[Mapping[str, Any]], list[str]]:
    """A function from a call's arguments to what is wrong with them; an empty list when nothing is.

    Compile once a contract: the check of three short arguments then takes about a microsecond. Raises `ValueError`,
    naming the parameter, when a parameter's schema is not understood.
    """
    checks: dict[str, tuple[Check, type[str] | None]] = {}
    wanted: dict[str, str] = {}
    for name, parameter in contract.parameters.items():
        try:
            what = shape(parameter.schema_)
            checks[name], wanted[name] = (compile_shape(what), str if what in _FREE else None), what.expectation()
        except ValueError as error:
            raise ValueError(f"parameter `{name}`: {error}") from None
    required = tuple(name for name, parameter in contract.parameters.items() if parameter.required)
    find = checks.get

    def check(arguments: Mapping[str, Any]) -> list[str]:
        given: object = arguments
        if type(given) is not dict and not isinstance(given, Mapping):
            return ["the arguments must be an object"]
        problems: list[str] = []
        size = 0
        for name, value in arguments.items():
            entry = find(name)
            if entry is None:
                problems.append(_undeclared(name, checks))
                continue
            one, free = entry
            kind = type(value)
            if kind is str and value.isascii():
                size += len(value)
                if kind is free:
                    continue
            elif (
                kind is not bool and value is not None and (kind is not int or not -MAX_INTEGER <= value <= MAX_INTEGER)
            ):
                weight = weigh(value)
                if isinstance(weight, str):
                    problems.append(f"`{name}` must be {weight}")
                    continue
                size += weight
            found = one(value)
            if found is not None:
                problems.append(f"`{name}{found[0]}` must be {found[1]}")
        for name in required:
            if name not in arguments:
                problems.append(f"`{name}` is missing: it must be {wanted[name]}")
        if size > MAX_SIZE:
            problems.append(f"the arguments must be smaller: together they may have {MAX_SIZE} characters")
        if len(problems) > _MAX_PROBLEMS:
            problems[_MAX_PROBLEMS:] = [f"and {len(problems) - _MAX_PROBLEMS} more"]
        return problems

    return check


def _undeclared(name: object, checks: Iterable[str]) -> str:
    message = f"there is no parameter {show_key(name)}"
    close = difflib.get_close_matches(name[:64], checks, n=1) if isinstance(name, str) else []
    return message + (f": did you mean `{close[0]}`?" if close else "")
