"""The digest of a charter: equal for equal meaning, wherever and however it was written.

It is taken over the checked content with every default filled in. Comments, the order of keys, of clauses, cases and
files, the directory's place and the file a policy stands in do not count; everything that can change a verdict, or
what is said about one, does. Policies count by their tokens, statement by statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fiducial.core.canonical import digest
from fiducial.core.ids import Digest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from fiducial.charter.model import PolicySource

_VERSION = 1
"""Grows when the form below changes, so that digests of different forms never compare equal."""
_CEDAR = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*"?)|(?P<comment>//[^\n]*)|(?P<space>\s+)|(?P<name>\w+)|(?P<sign>==|!=|<=|>=|&&|\|\||::|.)',
    re.DOTALL,
)


def charter_digest(
    about: BaseModel,
    contracts: Mapping[str, BaseModel],
    clauses: Iterable[BaseModel],
    policies: Iterable[PolicySource],
    cases: Iterable[BaseModel],
    companions: Mapping[str, str],
) -> Digest:
    """SHA-256 of what the parts mean; `companions` maps other files to the digests of their content."""
    return digest(
        {
            "version": _VERSION,
            "about": _dump(about),
            "contracts": {name: _dump(contract) for name, contract in contracts.items()},
            "clauses": sorted((_dump(clause) for clause in clauses), key=lambda clause: str(clause["id"])),
            "policies": sorted(statement for source in policies for statement in _statements(source.text)),
            "cases": sorted((_dump(case) for case in cases), key=lambda case: str(case["name"])),
            "companions": dict(companions),
        }
    )


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)


def _statements(text: str) -> list[str]:
    """Each policy of `text` as its tokens joined by one space."""
    statements: list[list[str]] = [[]]
    for match in _CEDAR.finditer(text):
        if match.lastgroup in ("comment", "space"):
            continue
        statements[-1].append(match[0])
        if match[0] == ";":
            statements.append([])
    return [" ".join(tokens) for tokens in statements if tokens]
