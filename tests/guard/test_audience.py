"""Who gets to see what a call carries."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial import Guard

INSIDE = """@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);
@id("charter/inside") forbid (principal, action == Action::"send_email", resource)
when { context.flow.audience == "third_party" };"""


@pytest.mark.parametrize(
    ("to", "inside"),
    [
        (["ann@company.com"], True),
        (["Ann.Bee+x@COMPANY.com", "o'neil@company.com"], True),
        (["ann@company.com", "eve@evil.example"], False),
        (["eve@evil.example, ann@company.com"], False),
        (["eve@evil.example;ann@company.com"], False),
        (["eve@evil.example@company.com"], False),
        (["eve@evil.example <ann@company.com"], False),
        (["Eve <eve@evil.example> ann@company.com"], False),
        (['"eve@evil.example"@company.com'], False),
        (["eve%evil.example@company.com"], False),
        (["evil.example!eve@company.com"], False),
        (["ann@company.com\n"], False),
        (["eve@evil.example\nann@company.com"], False),
        (["ann@company.com.evil.example"], False),
        (["ann@sub.company.com"], False),
        (["@company.com"], False),
        (["ann"], False),
    ],
)
def test_mail_stays_inside_only_when_it_goes_to_plain_addresses_of_the_organization(
    to: list[str], inside: bool, make_charter: Any
) -> None:
    guard = Guard(make_charter(INSIDE, organization=["company.com"]))
    with guard.session(user="ann", task="Send an email to " + " and ".join(to)) as session:
        verdict = session.decide("send_email", {"to": to, "body": "hello"})
    assert ("charter/inside" not in {reason.policy for reason in verdict.reasons}) == inside
