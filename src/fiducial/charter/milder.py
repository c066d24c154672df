"""In what one contract of a tool is milder than another one: what it lets through, believes or hides, and that not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fiducial.charter.contracts import Audience, Contract, Effect, Output, Parameter, Role
from fiducial.charter.findings import quote
from fiducial.charter.schema import shape

_EFFECTS, _AUDIENCES = tuple(Effect), tuple(Audience)
ROLES = (Role.OPTION, Role.CONTENT, Role.MAGNITUDE, Role.TARGET)
"""Mildest first."""


def milder(ours: Contract, theirs: Contract) -> list[str]:
    """In what `ours` is milder than `theirs`, in words; empty when it is so in nothing.

    An effect that a capture takes back exactly is no milder for that. Phrases by which users ask are not compared: they
    are of a language.
    """
    return [
        *_of_the_act(ours, theirs),
        *(words for name, one in ours.parameters.items() for words in _of_one(name, one, theirs.parameters.get(name))),
        *_of_the_output(ours.output, theirs.output),
    ]


def _of_the_act(ours: Contract, theirs: Contract) -> Iterator[str]:
    kept = ours.effect is Effect.REVERSIBLE and ours.capture is not None and not ours.capture.optional
    if _EFFECTS.index(ours.effect) < _EFFECTS.index(theirs.effect) and not kept:
        yield f"its effect is {ours.effect.value}, not {theirs.effect.value}"
    if ours.kind is not theirs.kind:
        yield f"its kind is {ours.kind.value}, not {theirs.kind.value}"
    if _AUDIENCES.index(ours.audience) < _AUDIENCES.index(theirs.audience):
        yield f"its audience is {ours.audience.value}, not {theirs.audience.value}"
    for what in ("cost", "preview", "postcondition"):
        if (wanted := getattr(theirs, what)) is not None and getattr(ours, what) != wanted:
            yield f"its {what} is {'another one' if getattr(ours, what) is not None else 'left out'}"


def _of_one(name: str, ours: Parameter, theirs: Parameter | None) -> Iterator[str]:
    if theirs is None:
        yield f"it takes {quote(name)}"
        return
    if ROLES.index(ours.role) < ROLES.index(theirs.role):
        yield f"{quote(name)} is {ours.role.value}, not {theirs.role.value}"
    if shape(ours.schema_) != shape(theirs.schema_):
        yield f"{quote(name)} takes other values"
    if missing := set(theirs.classes) - set(ours.classes):
        yield f"{quote(name)} does not hold {_listed(missing)}"


def _of_the_output(ours: Output, theirs: Output) -> Iterator[str]:
    records = {"$"} & set(theirs.trusted)
    if not records and (more := set(ours.trusted) - set(theirs.trusted)):
        yield f"its output is trusted at {_listed(more)}"
    if not records and (more := set(ours.prose) - {*theirs.prose, *theirs.trusted}):
        yield f"what is short in its output is trusted at {_listed(more)}"
    if fewer := set(theirs.untrusted) - set(ours.untrusted):
        yield f"its output is not untrusted at {_listed(fewer)}"
    for each, paths in theirs.classes.items():
        if fewer := set(paths) - set(ours.classes.get(each, ())):
            yield f"its output does not hold {each} at {_listed(fewer)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quote, sorted(names)))


__all__ = ["ROLES", "milder"]
