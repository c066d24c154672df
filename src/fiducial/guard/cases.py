"""Cases: a charter's own unit tests, run through the guard as a call would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fiducial.charter.model import DECLARE_PLAN, Case, Charter
from fiducial.core.verdict import Fault, Verdict
from fiducial.guard.drivers import drive
from fiducial.guard.guard import Guard
from fiducial.guard.judgement import Request
from fiducial.guard.plans import arguments_of
from fiducial.guard.steps import judge
from fiducial.policy.facts import PreviewFacts


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one case came to."""

    case: Case
    verdict: Verdict
    wrong: tuple[str, ...] = ()
    """What differs from what was expected, in words; empty when the case passes."""

    @property
    def passed(self) -> bool:
        return not self.wrong


def run_cases(charter: Charter) -> list[CaseResult]:
    """Run every case of `charter`, each in a session of its own. Raises `CharterError` as `Guard` does."""
    guard = Guard(charter)
    return [run_case(guard, case) for case in charter.cases]


def run_case(guard: Guard, case: Case) -> CaseResult:
    """Run one case."""
    given = case.given
    approvals = frozenset(given.approvals)
    with guard.session(user=given.user, roles=given.roles, task=given.task, system=given.system) as session:
        if given.plan is not None:
            # What people approved in the case, they approved of its plan too.
            plan = Request(tool=DECLARE_PLAN, arguments=arguments_of(given.plan), approvals=approvals)
            session.plan_nothing()
            declared = drive(judge(session, plan)).verdict
            if any(reason.fault is Fault.BAD_ARGUMENTS for reason in declared.reasons):
                wrong = f"its plan does not fit the tools: {declared.reasons[0].message}"
                return CaseResult(case=case, verdict=declared, wrong=(wrong,))
        for seen in given.observed:
            session.observe(seen.tool, seen.arguments, seen.result)
        request = Request(
            tool=case.call.tool,
            arguments=case.call.arguments,
            confidence=case.call.confidence,
            approvals=approvals,
            preview=_previewed(given.preview),
        )
        verdict = drive(judge(session, request)).verdict
    return CaseResult(case=case, verdict=verdict, wrong=tuple(_differences(case, verdict)))


def _previewed(found: Mapping[Any, int] | None) -> PreviewFacts | None:
    return None if found is None else msgspec.convert({"ran": True, **found}, PreviewFacts)


def _differences(case: Case, verdict: Verdict) -> list[str]:
    expect, wrong = case.expect, []
    if verdict.kind != expect.verdict:
        because = "; ".join(reason.policy or reason.message for reason in verdict.reasons)
        wrong.append(f"came to {verdict.kind}, not {expect.verdict}" + (f" ({because})" if because else ""))
    if expect.policies is not None:
        fired = {reason.policy for reason in verdict.reasons if reason.policy is not None}
        if missing := set(expect.policies) - fired:
            wrong.append(f"did not fire: {', '.join(sorted(missing))}")
        if extra := fired - set(expect.policies):
            wrong.append(f"fired unexpectedly: {', '.join(sorted(extra))}")
    if expect.fault is not None:
        faults = {reason.fault.value for reason in verdict.reasons if reason.fault is not None}
        if expect.fault not in faults:
            wrong.append(f"has no fault {expect.fault}")
    return wrong
