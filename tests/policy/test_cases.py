"""The shared corpus in `tests/cases`: decision, reasons and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Clause, PolicySource
from fiducial.policy.facts import Facts
from fiducial.policy.rulebook import Rulebook, compile_rulebook, lint

FILES = sorted((Path(__file__).parent.parent / "cases").glob("*.yaml"))
DOCUMENTS: dict[str, dict[str, Any]] = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES}
CASES = [
    pytest.param(stem, case, id=f"{stem}: {case['name']}")
    for stem, document in DOCUMENTS.items()
    for case in document["cases"]
]


def charter_of(document: dict[str, Any]) -> Charter:
    given = document["charter"]
    about = {"agent": "case", "owners": {"responsible": "a", "accountable": "b"}, **given.get("about", {})}
    text = given.get("policies", "")
    return Charter.build(
        About.model_validate(about),
        {name: Contract.model_validate(one) for name, one in given["contracts"].items()},
        [Clause.model_validate(one) for one in given.get("clauses", ())],
        [PolicySource(file="policies/rules.cedar", text=text)] if text else [],
    )


RULEBOOKS: dict[str, Rulebook] = {}


def rulebook_of(stem: str) -> Rulebook:
    if stem not in RULEBOOKS:
        RULEBOOKS[stem] = compile_rulebook(charter_of(DOCUMENTS[stem]))
    return RULEBOOKS[stem]


def test_the_corpus_is_large_and_its_charters_are_clean() -> None:
    assert len(CASES) >= 60
    for document in DOCUMENTS.values():
        assert lint(charter_of(document)) == []
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("stem", "case"), CASES)
def test_case(stem: str, case: dict[str, Any]) -> None:
    rulebook = rulebook_of(stem)
    principal = rulebook.principal(case.get("user", "emma"), case.get("roles", ()), autonomous_agent=case.get("agent"))
    facts = msgspec.convert(case.get("facts", {}), Facts, strict=True)
    ruling = rulebook.slice(case["tool"]).ask(
        principal, case.get("arguments", {}), facts, frozenset(case.get("approvals", ()))
    )
    expect = case["expect"]
    got: dict[str, Any] = {
        "kind": ruling.kind,
        "policies": sorted({str(reason.policy) for reason in ruling.reasons if reason.policy}),
        "fault": ruling.fault,
        "role": ruling.role,
        "quorum": ruling.quorum,
        "approvals": list(ruling.approvals),
        "masks": list(ruling.masks),
        "question": ruling.question,
    }
    wanted = {"policies": [], "fault": None, "masks": [], **expect}
    wanted["policies"] = sorted(wanted["policies"])
    assert {key: got[key] for key in wanted} == wanted
    if ruling.kind in ("denied", "held", "unclear"):
        assert ruling.reasons, "a refusal says why"
