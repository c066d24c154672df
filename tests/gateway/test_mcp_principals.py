"""Who comes in to MCP over HTTP: tokens of an authorization server, and of hosts."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway_world import House
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, OKPKey
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from mcp.shared.auth import ProtectedResourceMetadata
from mcp_http_world import KEY, Gate, Site, signed
from starlette.types import Receive, Scope, Send

from fiducial.core.event import SessionOpened
from fiducial.gateway import issuer
from fiducial.gateway.door import Refused
from fiducial.gateway.statements import TYPE

PLAIN = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
}


class Provider:
    """An authorization server that describes itself, and has keys."""

    def __init__(self) -> None:
        self.site, self.keys = Site(), [OKPKey.generate_key("Ed25519", {"kid": "a", "alg": "Ed25519"})]
        self.asked: list[str] = []
        self.calls_itself = self.site.url
        self.site.start(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.asked.append(scope["path"])
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": self.calls_itself, "jwks_uri": self.site.url + "/keys"},
            "/keys": KeySet(list(self.keys)).as_dict(private=False),
        }
        found = answers.get(scope["path"])
        await send({"type": "http.response.start", "status": 404 if found is None else 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(found).encode()})

    def token(self, gate: Gate, *, typ: str = "at+jwt", key: OKPKey | None = None, **claims: Any) -> str:
        """For emma, at the gate's shed."""
        now = int(time.time())
        known = {"iss": self.site.url, "aud": f"{gate.site.url}/mcp/shed", "sub": "u-1", "scope": "openid mcp"}
        known |= {"email": "emma@example.org", "groups": ["clerk"], "iat": now, "exp": now + 600}
        wanted = {name: value for name, value in (known | claims).items() if value is not None}
        return signed(wanted, key or self.keys[0], typ)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.site.stop()


@pytest.fixture
def gate(house: House, provider: Provider) -> Gate:
    return Gate(house, settings={"users": {"issuer": provider.site.url, "user": "email", "roles": "groups"}})


def status(gate: Gate, token: str | None, **headers: str) -> int:
    given = {**PLAIN, **headers} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    with gate.http(**given) as client:
        return client.post("/mcp/shed", json=INITIALIZE).status_code


def opened(house: House) -> list[Any]:
    house.store.flush()
    return [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, SessionOpened)]


def test_a_user_comes_in_with_a_token_for_this_server(gate: Gate, provider: Provider, house: House) -> None:
    for era in ("legacy", "2026-07-28"):
        client = gate.connect({"Authorization": f"Bearer {provider.token(gate)}"}, era)
        assert not client.call("write_note", name="list", text="milk").is_error
    assert [(each.user, each.roles) for each in opened(house)] == [("emma@example.org", ("clerk",))] * 2
    assert provider.asked.count("/keys") == 1
    assert not any(provider.token(gate)[:20] in json.dumps(each) for each in gate.up.seen)


def test_a_host_s_word_counts_for_a_user_who_comes_in_themselves(gate: Gate, provider: Provider) -> None:
    stated = gate.stated("Pay DE1", "emma@example.org")
    gate.connect({"Authorization": f"Bearer {provider.token(gate)}", "Fiducial-Task": stated})
    assert gate.line("emma@example.org").stated is not None


def test_a_user_who_comes_in_themselves_names_no_session(gate: Gate, provider: Provider, house: House) -> None:
    session = gate.opened("emma@example.org")
    assert status(gate, provider.token(gate), **{"Fiducial-Session": session}) == 403
    assert not gate.lines
    assert len(opened(house)) == 1


def test_who_has_no_token_is_told_where_to_get_one(gate: Gate, provider: Provider) -> None:
    with gate.http(**PLAIN) as client:
        answer = client.post("/mcp/shed", json=INITIALIZE)
        assert answer.status_code == 401
        assert "error" not in answer.headers["www-authenticate"]
        where = extract_resource_metadata_from_www_auth(answer)
        # Where a client looks that was told nothing.
        _, guessed, *_ = build_protected_resource_metadata_discovery_urls(where, f"{gate.site.url}/mcp/shed")
        assert where == guessed
        described = ProtectedResourceMetadata.model_validate_json(client.get(where).content)
    assert str(described.resource) == f"{gate.site.url}/mcp/shed"
    assert [str(each).rstrip("/") for each in described.authorization_servers] == [provider.site.url]
    assert described.scopes_supported == [extract_scope_from_www_auth(answer)] == ["mcp"]


def with_secret(gate: Gate, provider: Provider) -> str:
    """Signed by a secret that is the text of the public key."""
    claims = jwt.decode(provider.token(gate), provider.keys[0], algorithms=["Ed25519"]).claims
    secret = OctKey.import_key(json.dumps(provider.keys[0].as_dict(private=False)))
    return jwt.encode({"alg": "HS256", "typ": "at+jwt", "kid": "a"}, claims, secret)


Bad = Callable[[Gate, Provider], str]
BAD: dict[str, Bad] = {
    "for another server": lambda gate, provider: provider.token(gate, aud=f"{gate.site.url}/mcp/other"),
    "for another gateway": lambda gate, provider: provider.token(gate, aud="https://other.example.org/mcp/shed"),
    "for no server": lambda gate, provider: provider.token(gate, aud=None),
    "of another issuer": lambda gate, provider: provider.token(gate, iss="https://other.example.org"),
    "expired": lambda gate, provider: provider.token(gate, exp=int(time.time()) - 100),
    "for ever": lambda gate, provider: provider.token(gate, exp=None),
    "of later": lambda gate, provider: provider.token(gate, nbf=int(time.time()) + 1000),
    "until a time that is too large": lambda gate, provider: provider.token(gate, exp=10**400),
    "until the end of all time": lambda gate, provider: provider.token(gate, exp=float("inf")),
    "without a time that is one": lambda gate, provider: provider.token(gate, exp="never"),
    "of nobody": lambda gate, provider: provider.token(gate, sub=None),
    "of a user without a name": lambda gate, provider: provider.token(gate, email=None),
    "of a user with several": lambda gate, provider: provider.token(gate, email=["emma"]),
    "of another type": lambda gate, provider: provider.token(gate, typ="logout+jwt"),
    "a host's word": lambda gate, _: gate.stated("Pay DE1", "emma@example.org"),
    "forged": lambda gate, provider: provider.token(gate, key=OKPKey.generate_key("Ed25519", {"kid": "a"})),
    "signed by a secret": with_secret,
    "unsigned": lambda gate, provider: ".".join([*provider.token(gate).split(".")[:2], ""]),
    "text": lambda *_: "a.b.c",
    "nothing": lambda *_: "..",
    "long": lambda *_: f"a.{'b' * 20_000}.c",
}


def test_what_is_no_token_for_this_server_opens_nothing(gate: Gate, provider: Provider, house: House) -> None:
    for why, made in BAD.items():
        assert status(gate, made(gate, provider)) == 401, why
    assert status(gate, "no-host-s") == 401
    assert not opened(house)


def test_what_is_no_more_than_a_spelling_does_not_count(gate: Gate, provider: Provider) -> None:
    resource = f"{gate.site.url}/mcp/shed"
    for good in ({"aud": [resource, "x"]}, {"aud": resource + "/"}, {"scope": None, "scp": ["mcp"]}, {"typ": "JWT"}):
        assert status(gate, provider.token(gate, **good)) == 200, good


def test_a_token_that_is_not_good_for_this_is_told_what_is_lacking(gate: Gate, provider: Provider) -> None:
    for scope in ("openid", "mcpx", "", None):
        given = {"Authorization": f"Bearer {provider.token(gate, scope=scope)}", **PLAIN}
        with gate.http(**given) as client:
            answer = client.post("/mcp/shed", json=INITIALIZE)
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert extract_scope_from_www_auth(answer) == "mcp"


def test_a_user_cannot_say_that_they_are_another(gate: Gate, provider: Provider, house: House) -> None:
    gate.connect({"Authorization": f"Bearer {provider.token(gate)}", "Fiducial-User": "eve", "Fiducial-Roles": "boss"})
    assert [(each.user, each.roles) for each in opened(house)] == [("emma@example.org", ("clerk",))]


@pytest.mark.parametrize(
    ("client", "attended"), [("desktop", True), ("other", False), (None, False), (["desktop"], False), ("", False)]
)
def test_a_client_is_attended_when_the_issuer_says_that_it_is_the_one(
    house: House, provider: Provider, client: Any, attended: bool
) -> None:
    users = {"issuer": provider.site.url, "user": "email"}
    gate = Gate(house, settings={"users": users, "attended": {"clients": ["desktop"], "hosts": ["other"]}})
    gate.connect({"Authorization": f"Bearer {provider.token(gate, client_id=client)}"})
    assert gate.line("emma@example.org").principal.attended is attended


def test_a_role_that_is_lost_is_lost_in_open_sessions(gate: Gate, provider: Provider) -> None:
    given = {**PLAIN, "Authorization": f"Bearer {provider.token(gate, groups=['clerk', 'boss'])}"}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    with gate.http(**given) as client:
        session = {"mcp-session-id": client.post("/mcp/shed", json=INITIALIZE).headers["mcp-session-id"]}
        for groups, expected in ((["boss", "clerk"], 200), (["clerk"], 404)):
            token = {"Authorization": f"Bearer {provider.token(gate, groups=groups)}"}
            assert client.post("/mcp/shed", json=ping, headers={**session, **token}).status_code == expected


def test_new_keys_are_fetched_and_not_for_every_token(
    gate: Gate, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(gate, provider.token(gate)) == 200
    fresh = OKPKey.generate_key("Ed25519", {"kid": "b", "alg": "Ed25519"})
    provider.keys.append(fresh)
    for _ in range(3):
        assert status(gate, provider.token(gate, key=fresh)) == 401, "it was asked a moment ago"
    assert provider.asked.count("/keys") == 1
    monkeypatch.setattr(issuer, "REST", 0.0)
    assert status(gate, provider.token(gate, key=fresh)) == 200
    assert provider.asked.count("/keys") == 2


def test_only_of_a_bearer_token_is_it_said_that_it_does_not_hold(gate: Gate) -> None:
    for given, expected in (("Bearer x", True), ("bearer a.b.c", True), ("Basic eDp5", False), ("Bearerx y", False)):
        with gate.http(Authorization=given, **PLAIN) as client:
            answer = client.post("/mcp/shed", json=INITIALIZE)
        assert answer.status_code == 401
        assert ("invalid_token" in answer.headers["www-authenticate"]) is expected, given


# --- an issuer's keys


SHORT = {"kty": "RSA", "kid": "short", "e": "AQAB", "n": urlsafe_b64encode(b"\xc1" * 128).decode().rstrip("=")}
"""1024 bits."""


class Asked(issuer.Issuer):
    """An issuer that answers what a test says, when it says so."""

    def __init__(self) -> None:
        self.now, self.asked, self.answers = 0.0, 0, asyncio.Event()
        self.found = KeySet([OKPKey.generate_key("Ed25519", {"kid": "a"})])
        super().__init__("https://id.example.org", lambda: self.now)

    async def _fetch(self) -> KeySet:
        self.asked += 1
        await self.answers.wait()
        return self.found


def test_a_key_that_nobody_knows_keeps_nobody_else_waiting() -> None:
    async def main() -> None:
        asked = Asked()
        asked.answers.set()
        kept = await asked.keys()
        asked.answers.clear()
        asked.now = issuer.REST + 1
        forged = [asyncio.create_task(asked.keys(afresh=True)) for _ in range(3)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asked.keys(), 1) is kept
        asked.now = issuer.KEEP + 1  # old keys count while others are fetched
        assert await asyncio.wait_for(asked.keys(), 1) is kept
        assert not any(each.done() for each in forged)
        asked.found = KeySet([])
        asked.answers.set()
        assert {id(each) for each in await asyncio.gather(*forged)} == {id(asked.found)}
        assert asked.asked == 2, "one at a time"
        await asked.keys(afresh=True)
        assert asked.asked == 2, "it was asked until a moment ago"
        asked.now += issuer.REST + 1
        await asked.keys(afresh=True)
        assert asked.asked == 3

    asyncio.run(main())


def test_an_issuer_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(issuer, "TIMEOUT", 0.05)
        asked = Asked()
        with pytest.raises(Refused):
            await asyncio.wait_for(asked.keys(), 5)
        asked.answers.set()
        asked.now = issuer.REST + 1
        kept = await asked.keys()
        asked.answers.clear()
        asked.now += 2 * issuer.KEEP
        assert await asked.keys() is kept
        asked.now += issuer.REST + 1
        with pytest.raises(Refused):
            await asyncio.wait_for(asked.keys(), 5)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("named", "where"),
    [
        ("", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            "/realms/x",
            [
                "/.well-known/oauth-authorization-server/realms/x",
                "/.well-known/openid-configuration/realms/x",
                "/realms/x/.well-known/openid-configuration",
            ],
        ),
    ],
)
@pytest.mark.parametrize("page", [b"<html>", b"[]", b"null"])
def test_an_issuer_is_found_behind_pages_for_people(named: str, where: list[str], page: bytes) -> None:
    site, came = Site(), list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        came.append(scope["path"])
        body = page
        if scope["path"] == where[-1]:
            body = json.dumps({"issuer": site.url + named, "jwks_uri": site.url + "/keys"}).encode()
        elif scope["path"] == "/keys":
            body = json.dumps({"keys": [SHORT, KEY.as_dict(private=False)]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    site.start(app)
    try:
        found = asyncio.run(issuer.Issuer(site.url + named).keys())
    finally:
        site.stop()
    assert came == [*where, "/keys"]
    assert [key.kid for key in found] == [KEY.kid], "the other one is too short to count"


def test_an_issuer_that_calls_itself_otherwise_has_no_keys(gate: Gate, provider: Provider) -> None:
    provider.calls_itself = "https://other.example.org"
    assert status(gate, provider.token(gate)) == 503
    assert "/keys" not in provider.asked


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example.org"}, 421),
        ({"Host": "localhost"}, 421),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_are_not_let_in(house: House, headers: dict[str, str], expected: int) -> None:
    gate = Gate(house)
    assert status(gate, "key-of-one", **headers) == expected
    assert status(gate, "key-of-one", Origin=gate.site.url) == 200
    with gate.http(**PLAIN, Authorization="Bearer key-of-one", **headers) as client:
        told = client.post("/mcp/shed", json=INITIALIZE)
        assert "www-authenticate" not in told.headers


def test_a_host_comes_in_for_itself_or_for_whom_it_says(house: House) -> None:
    gate = Gate(house)
    for headers in ({}, {"Fiducial-User": "Zo%C3%AB", "Fiducial-Roles": "clerk,cash%20desk"}):
        gate.connect({"Authorization": "Bearer key-of-one", **headers})
    assert [(each.user, each.roles) for each in opened(house)] == [("one", ()), ("Zoë", ("cash desk", "clerk"))]
    for user in ("%ff", "", "%20"):
        assert status(gate, "key-of-one", **{"Fiducial-User": user}) == 400
    assert status(gate, "key-of-none") == 401
    with gate.http() as client:
        assert client.get("/.well-known/oauth-protected-resource/mcp/shed").status_code == 404


def test_no_token_is_a_word_about_a_task_and_the_other_way_round(gate: Gate, provider: Provider) -> None:
    assert status(gate, provider.token(gate, typ=TYPE, key=KEY)) == 401
    gate.connect({"Authorization": f"Bearer {provider.token(gate)}", "Fiducial-Task": provider.token(gate)})
    assert gate.line("emma@example.org").stated is None
