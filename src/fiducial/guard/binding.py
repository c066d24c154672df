"""What the words around a value say about it: an object that the user named, or an order in somebody else's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fiducial.charter.contracts import Role
from fiducial.charter.words import plain, sentences, stems
from fiducial.flow.provenance import Provenance
from fiducial.flow.trace import Origin, Trace
from fiducial.guard.intent import Asked, Intent
from fiducial.guard.kinds import day_of, kinds_of_value
from fiducial.guard.tool import Tool

_NONE: frozenset[str] = frozenset()
_BEFORE = frozenset({"pleas", "you", "must", "should", "to", "and", "then", "now", "first", "can", "could", "also",
                     "just", "simpl", "immediat", "next", "kind", "will", "or", "go", "them", "i", "we",
                     "do"})  # fmt: skip
"""Stems after which a verb orders or asks: `please send`, `you must send`, `and then send`."""
_CLAUSE = re.compile(r"[:;,)\]>|*•·‣▪→–—]+|(?<!\S)[-+=#~]+(?!\S)|(?<!\S)\d{1,3}[.)](?!\S)")
"""What stands before an order without being a word of it: a label's colon (`To do: send`), a comma, a dash, a
bullet, a tick box, the number of a step. Not an opening bracket: `(see the website …)` is how people refer."""
AROUND = 400
"""Characters around a value, on its line, that are read for an order."""
_SUSPECT = (Origin.UNTRUSTED, Origin.UNKNOWN)


def bound_elsewhere(
    intent: Intent, tool: Tool, arguments: Mapping[str, Any], traces: Mapping[str, Trace], asked: Asked
) -> frozenset[str]:
    """Parameters with a doubtful value of a kind of which the user named others, without leaving it open."""
    found = set()
    for name, trace in traces.items():
        if trace.origin not in _SUSPECT and not trace.contested:
            continue
        parameter = tool.parameters[name]
        if parameter.role not in (Role.TARGET, Role.MAGNITUDE):
            continue
        if trace.origin is Origin.UNKNOWN and parameter.unit == "time" and day_of(arguments[name]) in intent.days:
            continue  # the user's day; a model that takes it for another year's is wrong, and nobody's tool
        for kind in kinds_of_value(arguments[name], unit=parameter.unit):
            # When is said once for a whole request; on whom or where, with each thing that is asked for.
            if intent.names(kind) and (kind == "date" or not asked.leaves_open(kind)):
                found.add(name)
                break
    return frozenset(found) if found else _NONE


def instructed(provenance: Provenance, tool: Tool, traces: Mapping[str, Trace]) -> frozenset[str]:
    """Untrusted or contested targets whose value stands beside a sentence that orders this very act."""
    found = set()
    for name, trace in traces.items():
        if tool.parameters[name].role is not Role.TARGET:
            continue
        places = trace.where if trace.origin is Origin.UNTRUSTED else trace.against
        if any(orders(tool, provenance.excerpt(where, around=AROUND).partition(": ")[2]) for where in places):
            found.add(name)
    return frozenset(found) if found else _NONE


def orders(tool: Tool, text: str) -> bool:
    """Some sentence of `text` asks for the effect of `tool` in the imperative."""
    return any(_imperative(plain(sentence), tool.phrases) for sentence in sentences(text))


def _imperative(sentence: str, phrases: Iterable[frozenset[str]]) -> bool:
    """One phrase stands in the sentence, and one of its words opens a clause or follows a word that asks."""
    clauses = [stems(clause) for clause in _CLAUSE.split(sentence)]
    present = frozenset(word for clause in clauses for word in clause)
    asking = {
        word for clause in clauses for index, word in enumerate(clause) if index == 0 or clause[index - 1] in _BEFORE
    }
    return any(asked <= present and not asking.isdisjoint(asked) for asked in phrases)
