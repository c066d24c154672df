"""Masking at the models' door by what a charter says of data classes: their forms, and where contracts have them."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from gateway_world import CONTRACTS, POLICIES, House, charter
from hypothesis import example, given
from hypothesis import strategies as st
from model_world import TALKS, Call, ChatTalk, Gate, MessagesTalk, ResponsesTalk, Talk
from test_models_places import CHAT, MSGS, RESP, USER, ask, of_user

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.event import CallDecided, CallFinished, MessageObserved
from fiducial.errors import CharterError
from fiducial.flow.masking.detect import BUILT_IN
from fiducial.flow.masking.vault import Held
from fiducial.gateway.model.masking import _Back
from fiducial.gateway.model.settings import read_settings
from fiducial.gateway.trusted import trusted

BADGE = "EMP-123456"
OWN: dict[str, Any] = {"data_classes": ("badge",), "detect": {"badge": [{"pattern": r"\bEMP-[0-9]{6}\b"}]}}
Make = Callable[..., Talk]


@pytest.fixture(params=[pytest.param((talk, stream), id=f"{talk.__name__}-{stream}") for talk, stream in zip(
    TALKS, (True, False, True), strict=True)])  # fmt: skip
def talks(request: pytest.FixtureRequest) -> Make:
    """A program that talks with a model, for each API."""
    made, stream = request.param

    def make(gate: Gate, **headers: str) -> Talk:
        return made(gate, stream=stream, **headers)

    return make


def text(text: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": kind, "text": text} | more


def test_a_charters_own_class_is_masked_and_restored(talks: Make, house: House) -> None:
    house.guard.use(charter(**OWN))
    gate = Gate(house, mask=["badge"])
    talk = talks(gate)
    talk.user(f"Look {BADGE} up.")
    text, calls = talk.send(f"I look {BADGE} up.", Call("look_up", {"name": BADGE}, "call_a"))
    assert text == f"I look {BADGE} up."
    assert calls == [("call_a", "look_up", {"name": BADGE})]
    talk.came("call_a", {"boss": "EMP-654321", "near": "EMP-12345"})
    talk.send("Well.")
    told = json.dumps(gate.provider.asked)
    assert BADGE not in told
    assert "EMP-654321" not in told
    assert "EMP-12345" in told
    assert "masked-badge-" in told
    assert BADGE.encode() not in house.written()


def test_no_conversation_begins_where_a_class_is_no_longer_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.guard.use(charter(**OWN))
    gate = Gate(house, mask=["contact", "badge"])
    talk = ChatTalk(gate, stream=False)
    talk.user(f"I am {BADGE}.")
    talk.send("Yes.")
    house.guard.use(charter())
    gate.provider.asked.clear()
    for path in ("chat", "chat", "messages"):
        answer = ask(gate, path, (CHAT if path == "chat" else MSGS) | {"messages": [USER | {"content": BADGE}]})
        assert answer.status_code == 503
        assert "no longer tells `badge`" in answer.text
    counted = httpx2.post(
        f"{gate.site.url}/models/claude/messages/count_tokens", json=MSGS, verify=trusted(),
        headers={"Authorization": "Bearer key-of-one"},
    )  # fmt: skip
    assert counted.status_code == 503
    assert gate.provider.asked == []
    said = [each.getMessage() for each in caplog.records if "no longer tells" in each.getMessage()]
    assert [each.count("`badge`") for each in said] == [1, 1], "once for each model"
    gate.provider.raw = None
    talk.user(f"I am still {BADGE}.")
    assert talk.send(f"{BADGE}.")[0] == f"{BADGE}."
    assert BADGE not in json.dumps(gate.provider.asked)
    house.guard.use(charter(**OWN))
    assert ask(gate, "chat", CHAT).status_code == 200


def settings(tmp_path: Path, mask: list[str], **about: Any) -> None:
    file = tmp_path / "models.yaml"
    shown = "".join(f"\n      - {each}" for each in mask)
    file.write_text(f"models:\n  gpt:\n    speaks: openai\n    url: http://127.0.0.1:1/v1\n    mask:{shown}\n")
    read_settings(file, {}, lambda _: charter(**about))


def test_a_class_that_nothing_tells_is_refused_at_the_start(tmp_path: Path) -> None:
    settings(tmp_path, ["contact", "badge"], **OWN)
    for mask, about, says in (
        (["contact", "badge"], {}, "models.yaml:7: `badge` is no data class (the classes here are `contact`, "),
        (["badg"], OWN, "models.yaml:6: `badg` is no data class (did you mean `badge`?)"),
        (["badge"], {"data_classes": ("badge",)}, "`badge` cannot be told: nothing says how it is written (add a form"),
        (["location"], {}, "models.yaml:6: `location` cannot be told"),
    ):  # fmt: skip
        with pytest.raises(CharterError) as refused:
            settings(tmp_path, mask, **about)
        assert says in str(refused.value)


STAFF = "ab123456"
STAFFED: dict[str, Any] = {"data_classes": ("badge",), "detect": {"badge": [
    {"pattern": r"\b[a-z]{2}[0-9]{6}\b"}, {"pattern": r"\b[0-9]{8}\b"}]}}  # fmt: skip
RESULT = {"role": "tool", "tool_call_id": STAFF, "content": "x"}
LIKE_WORDS: list[tuple[str, dict[str, Any]]] = [
    *(("chat", CHAT | {name: STAFF}) for name in (
        "user", "safety_identifier", "prompt_cache_key", "stop", "model", "service_tier", "reasoning_effort",
        "verbosity", "tool_choice")),
    *(("chat", CHAT | {name: 12345678}) for name in ("seed", "user", "max_tokens")),
    ("chat", of_user("x", name=STAFF)), ("chat", of_user([text("x", id=STAFF)])),
    ("chat", of_user([{"type": STAFF, "text": "x"}])), ("chat", CHAT | {"messages": [USER | {"role": STAFF}]}),
    ("chat", CHAT | {"messages": [USER, {"role": "assistant", "tool_calls": [
        {"id": STAFF, "type": "function", "function": {"name": STAFF, "arguments": "{}"}}]}, RESULT]}),
    ("chat", CHAT | {"metadata": {"name": STAFF, "id": STAFF}}), ("chat", CHAT | {STAFF: "x"}),
    ("responses", RESP | {"user": STAFF, "truncation": STAFF, "previous_response_id": None}),
    ("responses", RESP | {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": STAFF}]}]}),
    ("responses", RESP | {"input": [USER | {"status": STAFF}]}),
    ("messages", MSGS | {"metadata": {"user_id": STAFF}, "service_tier": STAFF}),
]  # fmt: skip


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with House(tmp_path_factory.mktemp("staff") / "log.db", charter(**STAFFED)) as made:
        yield Gate(made, mask=["badge", "payment"])


@pytest.mark.parametrize(("api", "body"), LIKE_WORDS, ids=range(len(LIKE_WORDS)))
def test_values_in_forms_that_look_like_words_or_settings_are_masked(
    staffed: Gate, api: str, body: dict[str, Any]
) -> None:
    staffed.provider.asked.clear()
    assert ask(staffed, api, body).status_code == 200
    told = json.dumps(staffed.provider.asked)
    assert not any(value in told for value in (STAFF, "12345678"))
    assert "masked-badge-" in told


def test_other_words_and_settings_pass_where_a_charter_has_forms(staffed: Gate) -> None:
    staffed.provider.asked.clear()
    body = of_user([text("x")], name="ab12345") | {
        "model": "m-20250929", "seed": 4111111111111111, "temperature": 0.7, "max_tokens": 4096, "user": "user123456",
        "stop": "e", "stream": False, "reasoning_effort": "high",
    }  # fmt: skip
    assert ask(staffed, "chat", body).status_code == 200
    assert staffed.provider.asked == [body]


# --- where contracts say that values stand

RECORD = {"patient": {"name": "Mia", "notes": ["tired since spring", 7], "None": None}, "ward": "B2"}
HIDDEN = ("Mia", "tired", " 7]")
CLINIC = dict(CONTRACTS) | {
    "chart": {
        "effect": "read", "kind": "read", "parameters": {"id": {"role": "option"}},
        "output": {
            "trusted": ["$"], "classes": {"health": ["$.patient"], "children": ["$.patient.name"]}
        },
    },
    "charts": {"effect": "read", "kind": "read", "output": {"classes": {"health": ["$[*].patient"]}}},
    "local_shell": {
        "effect": "reversible", "kind": "create",
        "parameters": {"action": {"role": "content", "classes": ["health"], "schema": {}}},
    },
    "dictate": {
        "effect": "reversible", "kind": "create", "parameters": {"input": {"role": "content", "classes": ["health"]}}
    },
    "note": {
        "effect": "reversible", "kind": "create",
        "parameters": {
            "id": {"role": "target"},
            "diagnosis": {"role": "content", "classes": ["health"], "required": False, "schema": {}},
        },
    },
}  # fmt: skip


def clinic(**more: Any) -> Charter:
    return Charter.build(
        About(agent="clerk", owners=Owners(responsible="r", accountable="a"), baseline="none"),
        {name: Contract.model_validate(each) for name, each in (CLINIC | more).items()}, (),
        (PolicySource(file="policies/all.cedar", text=POLICIES),),
    )  # fmt: skip


def tokens(gate: Gate, data_class: str = "health") -> list[str]:
    """Tokens that the provider was told, in their order."""
    return list(dict.fromkeys(re.findall(f"masked-{data_class}-[0-9a-z]{{20}}", json.dumps(gate.provider.asked))))


def of(house: House, kind: type) -> list[Any]:
    house.store.flush()
    return [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, kind)]


def test_what_contracts_say_of_results_is_masked_and_restored(talks: Make, house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    talk = talks(gate)
    talk.user("How is patient 4711?")
    _, [(id, _, _)] = talk.send(Call("chart", {"id": "4711"}))
    talk.came(id, RECORD)
    talk.send("Well.")
    told = json.dumps(gate.provider.asked)
    assert not any(each in told for each in HIDDEN)
    assert "B2" in told
    name, tired, seven = tokens(gate)
    talk.user("And then?")
    text, [(_, _, given)] = talk.send(f"{name} is {tired}.", Call("note", {"id": "4711", "diagnosis": seven}, "call_n"))
    assert text == "Mia is tired since spring."
    assert given == {"id": "4711", "diagnosis": 7}, "a number is one again"
    talk.came("call_n", "done")
    assert talk.send(f"{name} is {tired}.")[0] == "Mia is tired since spring."
    assert tokens(gate) == [name, tired, seven], "the same value has the same token"
    assert not any(each.encode() in house.written() for each in ("tired since", '"Mia"'))
    respond = ["respond", "respond"]
    assert [each.tool for each in of(house, CallDecided)] == ["chart", *respond, "note", *respond]
    assert [each.outcome for each in of(house, CallFinished)] == ["ok"] * 6
    assert "health" in of(house, CallFinished)[0].classes


def test_what_contracts_say_of_arguments_is_masked_when_they_come_again(talks: Make, house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    talk = talks(gate)
    talk.user("Write it down for 4711.")
    arguments = {"id": "4711", "diagnosis": {"code": "flu", "since": ["May"]}}
    _, [(_, _, given)] = talk.send(Call("note", arguments, "call_n"))
    assert given == arguments, "it is decided on as the model wrote it"
    talk.came("call_n", "done")
    talk.called("call_o", "note", {"id": "4712", "diagnosis": "cough"})
    talk.came("call_o", "done")
    talk.send("Written.")
    told = json.dumps(gate.provider.asked[1:])
    assert not any(each in told for each in ("flu", "May", "cough"))
    assert "4712" in told
    assert [each.decision for each in of(house, CallDecided)] == [each.decision for each in of(house, CallFinished)]


def test_calls_of_one_id_are_told_apart_by_what_is_masked_again(house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health", "contact"])
    talk = ChatTalk(gate, stream=False)
    for diagnosis in ("flu", "cough of ann@x.org"):
        talk.user(f"Write it down: {diagnosis}.")
        talk.send(Call("note", {"id": "4711", "diagnosis": diagnosis}, "call_0"))
        talk.came("call_0", "done")
        talk.send("Written.")
    assert [each.decision for each in of(house, CallDecided)] == [each.decision for each in of(house, CallFinished)]


PICTURE = base64.b64encode(bytes(range(256))).decode()
FLU, JSON_TEXT = "Mia has the flu", json.dumps(RECORD)


def chat(content: Any, id: str = "c", tool: str = "chart") -> dict[str, Any]:
    made = {"id": "c", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": id, "content": content}
    return CHAT | {"messages": [USER, {"role": "assistant", "tool_calls": [made]}, result]}


def response(output: Any, kind: str = "function_call") -> dict[str, Any]:
    made = {"type": kind, "call_id": "c", "name": "chart", "arguments": "{}", "input": "x"}
    return RESP | {"input": [USER, made, {"type": f"{kind}_output", "call_id": "c", "output": output}]}


def message(content: Any, **more: Any) -> dict[str, Any]:
    made = {"type": "tool_use", "id": "c", "name": "chart", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": content} | more
    return MSGS | {"messages": [USER, {"role": "assistant", "content": [made]}, {"role": "user", "content": [result]}]}


RESULTS: list[tuple[str, dict[str, Any], str]] = [
    ("chat", chat(JSON_TEXT), "B2"), ("chat", chat([text(JSON_TEXT), text("x")]), "B2"),
    ("chat", chat(json.dumps([RECORD, RECORD]), tool="charts"), "B2"), ("chat", chat(json.dumps(JSON_TEXT)), "B2"),
    ("chat", chat([text(json.dumps({"x": 1})), text(JSON_TEXT)], tool="charts"), "B2"),
    ("chat", chat(JSON_TEXT, tool="charts"), "B2"), ("chat", chat(f" {JSON_TEXT}\n"), "B2"),
    ("chat", chat(FLU), ""), ("chat", chat(str(RECORD)), ""), ("chat", chat(JSON_TEXT[:-1]), ""),
    ("chat", chat(f"{JSON_TEXT}\n{JSON_TEXT}"), ""), ("chat", chat(json.dumps(FLU)), ""), ("chat", chat("7 ]"), ""),
    ("chat", chat('{"patient": "Mia", "patient": 1}'), ""), ("chat", chat(FLU, id="nobodys"), ""),
    ("chat", chat(FLU, id="nobodys", tool="look_up"), ""),
    ("responses", response(JSON_TEXT), "B2"), ("responses", response(FLU, "custom_tool_call"), ""),
    ("responses", response([text(JSON_TEXT, "input_text")]), "B2"),
    ("responses", response([text(FLU, "output_text")]), ""),
    ("responses", response([{"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"}]), PICTURE),
    ("responses", response([{"type": "input_file", "file_data": base64.b64encode(FLU.encode()).decode()}]), ""),
    ("responses", response({"type": "x", "stdout": FLU, "notes": [7]}), ""),
    ("messages", message(JSON_TEXT), "B2"), ("messages", message(FLU, is_error=True), '"is_error": true'),
    ("messages", message([text(JSON_TEXT, cache_control={"type": "ephemeral", "ttl": "5m"})]), "5m"),
    ("messages", message([{"type": "image", "cache_control": {"type": "ephemeral", "ttl": "5m"},
        "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}]), '"ttl": "5m"'),
    ("messages", message([{"type": "document", "title": FLU, "source": {
        "type": "text", "media_type": "text/plain", "data": FLU}}]), "text/plain"),
    ("messages", message([{"type": "search_result", "source": "x", "title": "Mia", "content": [text(FLU)]}]), ""),
]  # fmt: skip


def function(content: str, name: str = "chart", **more: Any) -> dict[str, Any]:
    made = {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}
    return CHAT | {"messages": [USER, made, {"role": "function", "name": name, "content": content} | more]}


def item(**members: Any) -> dict[str, Any]:
    made = {"type": "function_call", "call_id": "c", "name": "chart", "arguments": "{}"}
    return RESP | {"input": [USER, made, members]}


WORD = "HIVpositive"
"""Base64 of what is no text."""
WORDS = "the flu has come back and it is as bad as it was before " * 30
"""So are these, without their spaces."""
OTHERWISE: list[tuple[str, dict[str, Any], str]] = [
    ("chat", function(FLU), '"chart"'), ("chat", function(JSON_TEXT), "B2"),
    ("chat", function("x", note=FLU, nested={"x": [7, FLU]}), ""),
    ("chat", CHAT | {"messages": [USER, {"role": "function", "content": FLU}]}, ""),
    ("chat", CHAT | {"messages": [USER, {"role": "tool", "content": FLU}]}, '"tool"'),
    ("chat", CHAT | {"messages": [USER, {"role": "tool", "tool_call_id": "c", "result": FLU}]}, ""),
    ("chat", chat([{"name": "flu"}]), ""), ("chat", chat([text("{}", note="flu", id="flu", cache_control="flu")]), ""),
    ("chat", chat([{"type": "flu", "status": "flu", "detail": "flu", "media_type": "flu", "ttl": "flu"}]), ""),
    ("chat", chat([{"x": [{"file_id": "flu", "model": "flu", "role": "flu"}]}]), ""),
    ("responses", response({"name": "flu", "status": "flu"}), ""),
    ("responses", response({"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PICTURE}"}), PICTURE),
    ("responses", item(type="local_shell_call_output", id="c", output=JSON_TEXT, status="completed"), "B2"),
    ("responses", item(type="local_shell_call_output", id="nobodys", output=FLU, status="flu"), "_output"),
    ("responses", item(type="function_call_output", call_id="c", output="x", status="completed", id="flu"), '"c"'),
    ("responses", item(type="mcp_call", id="m", name="chart", arguments="{}", output=JSON_TEXT, error="flu"), "B2"),
    ("messages", message("x", error=FLU, name="chart"), '"chart"'), ("messages", message("x", name="flu"), ""),
    *(("messages", message([{"type": "document", "source": {"type": "text", "media_type": media, "data": data}}]), "")
      for media in ("text/plain", "text/csv", None, ["image/png"]) for data in (WORD, WORDS)),
    ("messages", message([{"type": "document", "source": {"media_type": "image/png", "data": WORDS}}]), "image/png"),
    ("messages", message([{"type": "x", "url": WORD}]), ""), ("messages", message([{"url": f"data:,{WORD}"}]), ""),
    ("messages", message([{"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": PICTURE[:200]}}]), PICTURE[:200]),
    ("messages", message([{"type": "web_search_result", "encrypted_content": PICTURE, "title": FLU}]), PICTURE),
]  # fmt: skip


@pytest.mark.parametrize(("api", "body", "stays"), OTHERWISE, ids=range(len(OTHERWISE)))
def test_a_value_is_masked_in_results_of_every_kind(masking: Gate, api: str, body: dict[str, Any], stays: str) -> None:
    masking.provider.asked.clear()
    assert ask(masking, api, body).status_code == 200
    told = json.dumps(masking.provider.asked)
    assert not any(each in told for each in (*HIDDEN, "flu", WORD))
    assert stays in told


@pytest.mark.parametrize(
    ("api", "made"),
    [
        ("messages", {"type": "tool_use", "id": "c", "name": "note", "input": ["flu"]}),
        ("responses", {"type": "function_call", "call_id": "c", "name": "note", "arguments": ["flu"]}),
        ("responses", {"type": "local_shell_call", "id": "c", "call_id": "c", "action": {"command": ["flu"]}}),
    ],
)  # fmt: skip
def test_a_value_is_masked_in_arguments_of_every_kind(masking: Gate, api: str, made: dict[str, Any]) -> None:
    masking.provider.asked.clear()
    body = MSGS | {"messages": [USER, {"role": "assistant", "content": [made]}]}
    assert ask(masking, api, body if api == "messages" else RESP | {"input": [USER, made]}).status_code == 200
    told = json.dumps(masking.provider.asked)
    assert "flu" not in told
    assert made["type"] in told


@pytest.fixture(scope="module")
def masking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with House(tmp_path_factory.mktemp("classes") / "log.db", clinic()) as made:
        yield Gate(made, mask=["health"])


@pytest.mark.parametrize(("api", "body", "stays"), RESULTS, ids=range(len(RESULTS)))
def test_a_value_is_masked_however_a_result_is_written(
    masking: Gate, api: str, body: dict[str, Any], stays: str
) -> None:
    masking.provider.asked.clear()
    assert ask(masking, api, body).status_code == 200
    told = json.dumps(masking.provider.asked)
    assert not any(each in told for each in (*HIDDEN, "flu", base64.b64encode(FLU.encode()).decode()))
    assert stays in told
    assert PICTURE in told or tokens(masking)


def test_a_call_is_known_from_the_answer_that_is_gone_on_from(house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    talk = ResponsesTalk(gate, stream=False)
    talk.user("How is patient 4711?")
    _, [(id, _, _)] = talk.send(Call("chart", {"id": "4711"}))
    talk.history = []
    talk.more = {"previous_response_id": talk.last.id}
    talk.came(id, RECORD)
    talk.send("Well.")
    [output] = gate.provider.asked[-1]["input"]
    assert json.loads(output["output"])["ward"] == "B2"
    assert not any(each in str(output) for each in HIDDEN)


def test_what_was_put_back_is_masked_as_a_name_and_no_word_of_the_api(house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    talk = ChatTalk(gate, stream=False)
    talk.user("How is patient 4711?")
    talk.called("call_a", "chart", {"id": "4711"})
    talk.came("call_a", {"patient": ["high", "developer", "mia_may"]})
    talk.send("Well.")
    told = "It is {}, {} and {}.".format(*tokens(gate))
    assert talk.send(told)[0] == "It is high, developer and mia_may."
    talk.history.append({"role": "developer", "content": "Go on."})
    talk.more = {"reasoning_effort": "high", "user": "mia_may"}
    talk.send("So.")
    asked = gate.provider.asked[-1]
    assert (asked["reasoning_effort"], asked["messages"][-1]["role"]) == ("high", "developer")
    assert asked["user"] == tokens(gate)[2]


def test_other_tools_say_what_they_said(masking: Gate) -> None:
    masking.provider.asked.clear()
    for body in (chat(JSON_TEXT, tool="look_up"), chat(JSON_TEXT, tool="nobodys")):
        assert ask(masking, "chat", body).status_code == 200
        assert masking.provider.asked.pop()["messages"][-1]["content"] == JSON_TEXT


def test_arguments_that_cannot_be_read_are_looked_through(masking: Gate) -> None:
    masking.provider.asked.clear()
    made = {"id": "c", "type": "function", "function": {"name": "note", "arguments": '{"diagnosis": "flu"'}}
    assert ask(masking, "chat", CHAT | {"messages": [USER, {"role": "assistant", "tool_calls": [made]}]}).is_success
    assert "flu" not in json.dumps(masking.provider.asked)


def told_of_a_patient(talk: Talk) -> str:
    """The patient's name came with a result, and was put back in an answer; says the token."""
    talk.user("How is patient 4711?")
    _, [(id, _, _)] = talk.send(Call("chart", {"id": "4711"}))
    talk.came(id, {"patient": {"name": "Mia Kowalczyk"}, "ward": "B2"})
    talk.send("Well.")
    [token] = tokens(talk.gate)
    assert talk.send(f"{token} is fine.")[0] == "Mia Kowalczyk is fine."
    return token


@pytest.mark.parametrize("shorter", [True, False])
def test_what_was_put_back_is_masked_in_a_conversation_that_nobody_remembers(
    talks: Make, house: House, shorter: bool
) -> None:
    house.guard.use(clinic())
    talk = talks(Gate(house, mask=["health"]))
    told_of_a_patient(talk)
    talk.user("Thanks.")
    if shorter:
        talk.history = talk.history[1:]
    else:
        talk.gate = Gate(house, mask=["health"])
    talk.send("Good.")
    told = json.dumps(talk.gate.provider.asked[-1])
    assert "Mia Kowalczyk" not in told
    assert re.search("masked-health-[0-9a-z]{20} is fine.", told)


def test_what_was_put_back_is_masked_where_it_is_counted(house: House) -> None:
    house.guard.use(clinic())
    talk = MessagesTalk(Gate(house, mask=["health"]), stream=False)
    told_of_a_patient(talk)
    talk.gate.anthropic().messages.count_tokens(model="m", messages=talk.history)
    told = json.dumps(talk.gate.provider.asked[-1])
    assert "Mia Kowalczyk" not in told
    assert re.search("masked-health-[0-9a-z]{20} is fine.", told)


def test_what_arguments_of_calls_hold_is_masked_in_texts(masking: Gate) -> None:
    masking.provider.asked.clear()
    made = {"id": "c", "type": "function", "function": {"name": "note", "arguments": '{"diagnosis": "whooping cough"}'}}
    said = [USER, {"role": "assistant", "content": "It is whooping cough.", "tool_calls": [made]}]
    assert ask(masking, "chat", CHAT | {"messages": said}).is_success
    assert "whooping" not in json.dumps(masking.provider.asked)


def test_a_text_goes_on_as_the_provider_was_told_it(talks: Make, house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    talk = talks(gate)
    talk.user("Mia Kowalczyk")
    _, [(id, _, _)] = talk.send("I look Mia Kowalczyk up.", Call("chart", {"id": "4711"}))
    talk.came(id, {"patient": {"name": "Mia Kowalczyk"}})
    talk.send("Well.")
    assert json.dumps(gate.provider.asked[-1]).count("Mia Kowalczyk") == 2
    assert [each.authority for each in of(house, MessageObserved)] == ["user"], "the model's own words are known"
    [token] = tokens(gate)
    assert talk.send(token)[0] == "Mia Kowalczyk"
    talk.user("Thanks.")
    talk.send("Good.")
    assert json.dumps(gate.provider.asked[-1]).count("Mia Kowalczyk") == 1, "what was put back may be what was said"


def test_a_record_cannot_rename_tools(house: House) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health"])
    body = chat(json.dumps({"patient": {"name": "note", "is": "diagnosis"}}))
    schema = {"type": "object", "properties": {"diagnosis": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "note", "parameters": schema}}]
    assert ask(gate, "chat", body | {"tools": tools}).is_success
    assert gate.provider.asked[0]["tools"] == tools
    assert "note" not in gate.provider.asked[0]["messages"][-1]["content"]


def back(*values: Any) -> _Back:
    made = _Back(BUILT_IN)
    for each in values:
        made.add(Held("health", each))
    return made


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mia is tired since spring.", ["Mia", "tired since spring"]), ("Miami, aMia", []), ("密Mia密", ["Mia"]),
        ("(4711)", ["4711"]), ("14711 47112", []), ("Mia", ["Mia"]), ("mia", []), ("MiaMia", []), ("tired", []),
        ("7 yes null the 123", []), ("the 2.5e+16", ["2.5e+16"]), ("", []), ("Mi", []),
    ],
)  # fmt: skip
def test_what_was_put_back_is_known_again(text: str, found: list[str]) -> None:
    known = back("Mia", "tired since spring", 4711, 7, "yes", "null", "the", "123", "Mi", 2.5e16, "")
    assert [text[each.start : each.end] for each in known.find(text)] == found
    assert back().find(text) == []


def test_many_that_were_put_back_take_no_longer() -> None:
    def taken(count: int) -> float:
        known = back(*(f"patient {number:05}" for number in range(count)))
        start = time.thread_time()
        known.find("patient 00007 and patients " * 1_000)
        return time.thread_time() - start

    few = min(taken(10) for _ in range(3))
    assert taken(10_000) < 5 * few + 0.05


def test_values_of_many_lengths_that_begin_alike_take_no_longer() -> None:
    def taken(count: int) -> float:
        known = back(*("a b " * number + "end" for number in range(2, 2 + count)))
        start = time.thread_time()
        known.find("a b " * 2_000)
        return time.thread_time() - start

    few = min(taken(10) for _ in range(3))
    assert taken(400) < 8 * few + 0.05


LONG = " ".join(f"word{number}" for number in range(100))


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        (LONG, f"It says: {LONG}.", [LONG]), (LONG, f"{LONG} {LONG}", [LONG, LONG]), (LONG, LONG[:100], []),
        (LONG, f"It says: {LONG[: len(LONG) // 2]}", [" ".join(LONG.split()[:48]) + " "]),
        ("a b " * 400, "a b " * 1_000, ["a b " * 1_000]), ("a b " * 4, "a b " * 3, []),
        (f"Mia{'-' * 100}Kim", f"Mia{'-' * 100}Kim", [f"Mia{'-' * 31}", f"{'-' * 31}Kim"]),
    ],
)  # fmt: skip
def test_a_long_value_is_known_again_also_in_part(value: str, text: str, found: list[str]) -> None:
    assert [text[each.start : each.end] for each in back(value).find(text)] == found


VALUES = st.text("ab0 é.", min_size=4, max_size=9).filter(lambda text: sum(map(str.isalpha, text)) > 3)


@example(["abba", "abba b"], "abba b. ", Random(0))
@given(st.lists(VALUES, max_size=9), st.text("ab0 é.", max_size=60), st.randoms())
def test_nothing_of_what_was_put_back_is_missed(values: list[str], text: str, random: Random) -> None:
    text = "".join([text, *random.sample(values, len(values))])
    expected = {
        at
        for value in values
        for start in range(len(text))
        if text.startswith(value, start) and not goes_on(text, start) and not goes_on(text, start + len(value))
        for at in range(start, start + len(value))
    }
    assert {at for each in back(*values).find(text) for at in range(each.start, each.end)} == expected


def goes_on(text: str, at: int) -> bool:
    """Whether a word goes on there."""
    return 0 < at < len(text) and text[at - 1 : at + 1].isascii() and text[at - 1 : at + 1].isalnum()


@pytest.mark.parametrize(("tool", "stays"), [("dictate", False), ("note", True), ("nobodys", True)])
def test_what_a_tool_of_free_text_is_given_is_its_parameter(masking: Gate, tool: str, stays: bool) -> None:
    masking.provider.asked.clear()
    made = {"type": "custom_tool_call", "call_id": "c", "name": tool, "input": '{"flu":1}'}
    assert ask(masking, "responses", RESP | {"input": [USER, made]}).status_code == 200
    [given] = [each["input"] for each in masking.provider.asked[0]["input"] if "input" in each]
    assert (given == made["input"]) == stays
    assert ("flu" in given) == stays


@pytest.mark.parametrize("restore", [["health"], ["children"]])
def test_of_two_classes_the_one_counts_that_nobody_gets_back(house: House, restore: list[str]) -> None:
    house.guard.use(clinic())
    gate = Gate(house, mask=["health", "children"], restore=restore)
    talk = ChatTalk(gate, stream=False)
    talk.user("How is patient 4711?")
    talk.called("call_a", "chart", {"id": "4711"})
    talk.came("call_a", {"patient": {"name": "Mia"}})
    talk.send("Well.")
    [name] = re.findall("masked-[a-z]+-[0-9a-z]{20}", json.dumps(gate.provider.asked))
    assert talk.send(f"It is {name}.")[0] == f"It is {name}."


def test_a_class_that_only_contracts_tell_can_be_masked(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: {gpt: {speaks: openai, url: 'http://127.0.0.1:1/v1', mask: [children]}}\n")
    assert read_settings(file, {}, lambda _: clinic()).models["gpt"].mask == ("children",)
    with pytest.raises(CharterError, match="nothing says how it is written"):
        read_settings(file, {}, lambda _: charter())
