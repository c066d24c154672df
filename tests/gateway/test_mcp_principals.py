"""Who comes in to MCP over HTTP: tokens of an authorization server, and of hosts."""

from __future__ import annotations

import json
import time
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
from fiducial.gateway.mcp import issuer
from fiducial.gateway.mcp.statements import TYPE

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
