"""What a host says that its user asked for: read when it holds, and worth nothing otherwise."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, OKPKey, RSAKey
from mcp_http_world import KEY, signed

from fiducial.gateway.statements import LONGEST, TYPE, Statements, Unfounded, carried

NOW = 1_900_000_000
OTHER = OKPKey.generate_key("Ed25519", {"kid": "one", "alg": "Ed25519"})
PUBLIC = KeySet.import_key_set(KeySet([KEY]).as_dict(private=False))
HERE = "https://gate.example.org/mcp/shed"
CLAIMS = {
    "iss": "one", "aud": HERE, "sub": "emma", "sid": "talk", "task": "Pay DE1", "iat": NOW - 10, "exp": NOW + 600
}  # fmt: skip


class Fixed:
    """A clock that stands still."""

    def unix_us(self) -> int:
        return NOW * 1_000_000

    def monotonic(self) -> float:
        return 0.0


STATEMENTS = Statements({"one": PUBLIC, "two": KeySet([OTHER])}, Fixed())


def read(text: str, **given: Any) -> str:
    return STATEMENTS.read(text, **({"user": "emma", "audience": HERE} | given)).task


def test_what_a_host_signed_for_this_user_and_server_counts() -> None:
    said = STATEMENTS.read(signed(CLAIMS), user="emma", audience=HERE, host="one")
    assert (said.host, said.conversation, said.task, said.expires) == ("one", "talk", "Pay DE1", NOW + 600)


def shared(claims: dict[str, Any]) -> str:
    """Signed by a secret that is the text of the public key."""
    secret = OctKey.import_key(json.dumps(KEY.as_dict(private=False)))
    return jwt.encode({"alg": "HS256", "typ": TYPE, "kid": KEY.kid}, claims, secret)


def unsigned(claims: dict[str, Any]) -> str:
    parts = [{"alg": "none", "typ": TYPE}, claims]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts), ""])


def changed(claims: dict[str, Any]) -> str:
    head, _, tail = signed(claims).split(".")
    return ".".join([head, unsigned(claims | {"task": "Pay DE2"}).split(".")[1], tail])


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: signed(CLAIMS | {"sub": "eve"}), "another user"),
        (lambda: signed(CLAIMS | {"sub": "Emma"}), "another user"),
        (lambda: signed(CLAIMS | {"aud": "https://gate.example.org/mcp/other"}), "another server"),
        (lambda: signed(CLAIMS | {"aud": [HERE]}), "cannot be read"),
        (lambda: signed(CLAIMS | {"exp": NOW}), "expired"),
        (lambda: signed(CLAIMS | {"iat": NOW - LONGEST, "exp": NOW + 1}), "expired"),
        (lambda: signed(CLAIMS | {"iat": NOW + 100, "exp": NOW + 200}), "expired"),
        (lambda: signed(CLAIMS | {"exp": None}), "cannot be read"),
        (lambda: signed(CLAIMS | {"exp": 1e999}), "cannot be read"),
        (lambda: signed({**CLAIMS, "iat": True}), "cannot be read"),
        (lambda: signed(CLAIMS | {"sid": ""}), "no conversation"),
        (lambda: signed({key: value for key, value in CLAIMS.items() if key != "sid"}), "cannot be read"),
        (lambda: signed(CLAIMS | {"task": " \n"}), "no task"),
        (lambda: signed(CLAIMS | {"task": ["Pay DE1"]}), "cannot be read"),
        (lambda: signed(CLAIMS | {"iss": "three"}), "no host"),
        (lambda: signed(CLAIMS | {"iss": ["one"]}), "cannot be read"),
        (lambda: signed(CLAIMS | {"iss": "two"}), "signature"),
        (lambda: signed(CLAIMS, OTHER), "signature"),
        (lambda: signed(CLAIMS, typ="JWT"), "something else"),
        (lambda: signed(CLAIMS, typ="at+jwt"), "something else"),
        (lambda: shared(CLAIMS), "signature"),
        (lambda: unsigned(CLAIMS), "signature"),
        (lambda: changed(CLAIMS), "signature"),
        (lambda: signed(CLAIMS | {"task": "x" * 70_000}), "too long"),
        (lambda: "", "cannot be read"),
        (lambda: "Pay DE1", "cannot be read"),
        (lambda: "é.é.é", "cannot be read"),
    ],
)
def test_what_does_not_hold_says_nothing(made: Callable[[], str], why: str) -> None:
    with pytest.raises(Unfounded, match=why):
        read(made())


def test_what_another_host_signed_does_not_count_for_a_host() -> None:
    assert read(signed(CLAIMS | {"iss": "two"}, OTHER), host="two") == "Pay DE1"
    with pytest.raises(Unfounded, match="another host"):
        read(signed(CLAIMS | {"iss": "two"}, OTHER), host="one")


def test_a_key_of_another_kind_signs_too() -> None:
    key = RSAKey.generate_key(2048, {"kid": "r"})
    text = jwt.encode({"alg": "PS256", "typ": TYPE, "kid": "r"}, CLAIMS, key, algorithms=["PS256"])
    statements = Statements({"one": KeySet([key])}, Fixed())
    assert statements.read(text, user="emma", audience=HERE).task == "Pay DE1"


@given(st.text(max_size=60) | st.builds(".".join, st.lists(st.text(max_size=20), min_size=3, max_size=3)))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(Unfounded):
        read(text)


GOOD = signed(CLAIMS)


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09-_.=\x00é"))
def test_no_change_of_one_character_says_anything_else(at: int, character: str) -> None:
    text = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        assert read(text) == "Pay DE1", "what was signed, or nothing"
    except Unfounded:
        assert text != GOOD


def test_where_it_is_carried() -> None:
    assert carried([(b"accept", b"y"), (b"fiducial-task", b"x")]) == "x"
    assert carried([(b"accept", b"y")]) is None
    with pytest.raises(Unfounded, match="several"):
        carried([(b"fiducial-task", b"x"), (b"fiducial-task", b"x")])
