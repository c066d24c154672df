"""The models' door: what a provider keeps is found by those whom it was given to, and what answers are made of."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
from gateway_world import CONTRACTS, OLGA, POLICIES, House
from model_world import Call, ChatTalk, Gate, MessagesTalk, ResponsesTalk, Talk
from test_models_hostile import ITEM, JSON, PATHS, RESPONSE, SSE, chunks, completion

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.event import CallDecided, MessageObserved
from fiducial.gateway.trusted import trusted

MAIL, CARD = "ann.fox@example.org", "4111 1111 1111 1111"
TEXT = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Well.", "annotations": []}]}  # fmt: skip
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def of(house: House, kind: type) -> list[Any]:
    house.store.flush()
    return [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, kind)]


def go_on(gate: Gate, answer: str, *items: Any, token: str = "one", user: str = "emma", **body: Any) -> httpx2.Response:
    """A request by Responses, to which the provider answers `items`, and names that `answer`."""
    whole = RESPONSE | {"id": answer, "output": list(items), "status": "completed"}
    gate.provider.raw = JSON, json.dumps(whole).encode()
    head = {"Authorization": f"Bearer key-of-{token}", "Fiducial-User": user}
    url = f"{gate.site.url}/models/{PATHS['responses']}"
    return httpx2.post(url, json={"model": "m", "input": "x"} | body, headers=head, timeout=20, verify=trusted())


def test_what_is_owed_is_owed_whenever_that_answer_is_gone_on_from(house: House) -> None:
    gate = Gate(house)
    go_on(gate, "resp_a", ITEM)
    for name in ("resp_b", "resp_c"):
        assert go_on(gate, name, TEXT, previous_response_id="resp_a").status_code == 200
    go_on(gate, "resp_d", TEXT, previous_response_id="resp_c")
    first, again, later = (asked["input"] for asked in gate.provider.asked[1:])
    assert first == again
    assert [each.get("type") for each in first] == ["function_call_output", None]
    assert later == "x"


def test_what_people_said_of_a_call_goes_to_the_provider_masked(house: House) -> None:
    gate = Gate(house, mask=["contact"])
    pays = ITEM | {"name": "pay_bill", "arguments": json.dumps({"account": "DE1", "amount": 5})}
    go_on(gate, "resp_a", pays)
    [hold] = house.desk.waiting()
    house.desk.vote(hold.id, OLGA, "reject", note=f"Write to {MAIL} first.")
    go_on(gate, "resp_b", pays, previous_response_id="resp_a")
    go_on(gate, "resp_c", TEXT, previous_response_id="resp_b")
    told = gate.provider.asked[-1]["input"][0]
    assert told["type"] == "function_call_output"
    assert "first." in told["output"]
    assert MAIL not in told["output"]


@pytest.mark.parametrize(
    ("who", "earlier"),
    [({}, "resp_nobodys"), ({"token": "two"}, "resp_a"), ({"user": "eve"}, "resp_a")],
)
def test_nobody_goes_on_from_anothers_answer(house: House, who: dict[str, str], earlier: str) -> None:
    gate = Gate(house)
    go_on(gate, "resp_a", TEXT)
    answer = go_on(gate, "resp_b", TEXT, previous_response_id=earlier, **who)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert len(gate.provider.asked) == 1


def test_a_conversation_at_the_provider_is_nobodys_here(house: House) -> None:
    gate = Gate(house)
    for name in ("conv_a", {"id": "conv_a"}):
        assert go_on(gate, "resp_a", TEXT, conversation=name).status_code == 400
    assert not gate.provider.asked


@pytest.mark.parametrize("kind", [{"type": "item_reference"}, {}, {"type": None}])
def test_an_item_is_referred_to_by_those_whom_it_was_given_to(house: House, kind: dict[str, Any]) -> None:
    gate, item = Gate(house), kind | {"id": "msg_1"}
    user = {"role": "user", "content": "x"}
    go_on(gate, "resp_a", TEXT)
    assert go_on(gate, "resp_b", TEXT, input=[user, item], token="two", user="eve").status_code == 404
    assert go_on(gate, "resp_b", TEXT, input=[{"role": "user", "content": "y"}, item]).status_code == 404
    assert len(gate.provider.asked) == 1
    assert go_on(gate, "resp_b", TEXT, input=[item], previous_response_id="resp_a").status_code == 200
    assert gate.provider.asked[1]["input"] == [item]


def test_what_was_given_to_others_goes_without_a_name(house: House) -> None:
    gate = Gate(house)
    user = {"role": "user", "content": "x"}
    go_on(gate, "resp_a", REASONING, TEXT)
    talk = [user, REASONING, TEXT, {"role": "user", "content": "y"}]
    go_on(gate, "resp_b", TEXT, input=talk, token="two", user="eve")
    go_on(gate, "resp_b", TEXT, previous_response_id="resp_a", input=talk)
    others, own = (asked["input"] for asked in gate.provider.asked[1:])
    assert [each.get("id") for each in others] == [None] * 4
    assert [each.get("id") for each in own] == [None, "rs_1", "msg_1", None]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_was_heard_is_referred_to_by_those_who_heard_it(house: House, streamed: bool) -> None:
    gate = Gate(house)
    heard = {"id": "audio_1", "transcript": "Well."}

    def ask(*said: Any, token: str) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}, *said], "stream": streamed}
        head = {"Authorization": f"Bearer key-of-{token}"}
        return httpx2.post(
            f"{gate.site.url}/models/{PATHS['chat']}", json=body, headers=head, verify=trusted()
        ).status_code

    stream = chunks({"delta": {"audio": heard}}, {"delta": {}, "finish_reason": "stop"})
    gate.provider.raw = (SSE, stream) if streamed else (JSON, json.dumps(completion(audio=heard)).encode())
    assert ask(token="one") == 200
    again = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert (ask(again, token="two"), ask(again, token="one")) == (404, 200)


# --- refusals, and answers in JSON


def test_a_streamed_refusal_is_restored_and_known(house: House) -> None:
    gate = Gate(house, mask=["contact"])
    user = {"role": "user", "content": f"Write to {MAIL}"}

    def ask(*said: Any, stream: bool = False) -> str:
        body = {"model": "m", "messages": [user, *said], "stream": stream}
        head = {"Authorization": "Bearer key-of-one"}
        return httpx2.post(f"{gate.site.url}/models/{PATHS['chat']}", json=body, headers=head, verify=trusted()).text

    gate.provider.raw = JSON, json.dumps(completion(content="Why?")).encode()
    ask()
    token = gate.provider.asked[0]["messages"][0]["content"].split()[-1]
    refusal = f"I write to nobody like {token}"
    parts = [{"delta": {"refusal": refusal[at : at + 5]}} for at in range(0, len(refusal), 5)]
    gate.provider.raw = SSE, chunks(*parts, {"delta": {}, "finish_reason": "stop"})
    got = [json.loads(line[6:]) for line in ask(stream=True).split("\n\n") if line.startswith("data: {")]
    said = "".join(each["choices"][0]["delta"].get("refusal") or "" for each in got)
    assert said == f"I write to nobody like {MAIL}"
    gate.provider.raw = JSON, json.dumps(completion(content="Why?")).encode()
    ask({"role": "assistant", "content": None, "refusal": said}, {"role": "user", "content": "Please."})
    assert [each.authority for each in of(house, MessageObserved)] == ["user", "user"]


PEM = '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n"quoted"\n-----END PRIVATE KEY-----'
SCHEMA = {"type": "object"}
FORMATS: list[tuple[type[Talk], dict[str, Any]]] = [
    (ChatTalk, {"response_format": {"type": "json_object"}}),
    (ChatTalk, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}),
    (ResponsesTalk, {"text": {"format": {"type": "json_object"}}}),
    (MessagesTalk, {"extra_body": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}}),
    (MessagesTalk, {"extra_body": {"output_format": {"type": "json_schema", "schema": SCHEMA}}}),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("made", "more"), FORMATS)
def test_a_value_is_restored_so_that_json_stays_json(
    house: House, made: type[Talk], more: dict[str, Any], stream: bool
) -> None:
    talk = made(Gate(house, mask=["secrets"]), stream=stream)
    talk.more = more
    talk.user(f"The key is {PEM}")
    talk.send("Which key?")
    [found] = set(re.findall("masked-secrets-[0-9a-z]{20}", json.dumps(talk.gate.provider.asked)))
    text, _ = talk.send(json.dumps({"key": found, "note": "ü"}, ensure_ascii=False))
    assert json.loads(text) == {"key": PEM, "note": "ü"}


# --- schemas, and what is masked

ADDRESS = {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"}
FORMED = dict(CONTRACTS) | {
    f"send_{name}": {
        "effect": "reversible", "kind": "send",
        "parameters": {"to": {"role": "target", "schema": schema}, "text": {"role": "content", "required": False}},
    }
    for name, schema in {
        "email": ADDRESS, "pattern": {"type": "string", "pattern": "^[a-z.]+@example[.]org$"},
        "short": {"type": "string", "maxLength": 20}, "number": {"type": "integer", "minimum": 1000},
        "deep": {"type": "object", "properties": {"mails": {"type": "array", "items": ADDRESS}}},
    }.items()
}  # fmt: skip


@pytest.fixture
def formed(house: House) -> House:
    made = Charter.build(
        About(agent="clerk", owners=Owners(responsible="r", accountable="a"), baseline="none"),
        {name: Contract.model_validate(each) for name, each in FORMED.items()}, (),
        (PolicySource(file="policies/all.cedar", text=POLICIES),),
    )  # fmt: skip
    house.guard.use(made)
    return house


@pytest.mark.parametrize(
    ("tool", "to", "fits"),
    [
        ("send_email", MAIL, True), ("send_pattern", MAIL, True), ("send_short", MAIL, True),
        ("send_number", 4111111111111111, True), ("send_deep", {"mails": [MAIL]}, True), ("send_email", CARD, False),
        ("send_pattern", "bob@example.com", False), ("send_short", f"{MAIL} and {MAIL}", False),
        ("send_number", MAIL, False), ("send_deep", {"mails": [CARD]}, False),
        ("send_deep", {MAIL: 1, "mails": 5}, False), ("send_deep", {"mails": [MAIL, 5]}, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("restore", [None, []])
def test_a_schema_is_held_against_what_the_tool_gets(
    formed: House, tool: str, to: Any, fits: bool, restore: list[str] | None
) -> None:
    talk = ChatTalk(Gate(formed, mask=["contact", "payment"], restore=restore), stream=False)
    talk.user(f"Send it to {MAIL} or {CARD}.")
    text, calls = talk.send(Call(tool, {"to": to}))
    if restore is None:
        assert [each[2] for each in calls] == ([{"to": to}] if fits else [])
    else:
        assert not calls, "the tool would get the token"
    [decided] = of(formed, CallDecided)
    assert decided.verdict == ("allowed" if calls else "denied")
    assert calls or "do not fit the tool's schema" in text
    kept = b"".join(path.read_bytes() for path in formed.path.parent.glob("fiducial*") if path.is_file())
    for value in (MAIL, CARD, "4111111111111111", "bob@example.com"):
        assert value.encode() not in kept
        assert value not in text


def test_nothing_of_what_was_unmasked_is_kept_in_a_session(formed: House) -> None:
    gate = Gate(formed, mask=["contact"])
    talk = ChatTalk(gate, stream=False)
    talk.user(f"Send it to {MAIL}.")
    talk.send(Call("send_email", {"to": MAIL}))
    [decided] = of(formed, CallDecided)
    [judgement] = gate.sessions._seats[decided.session].session._pending.values()
    assert judgement.request.unmasked is None
    assert MAIL not in str(judgement)
