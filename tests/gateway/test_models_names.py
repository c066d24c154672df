"""The models' door where a charter has a model asked for names: they stay here, and come back to the client."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_world import CONTRACTS, House, charter
from model_world import TALKS, Call, Gate, Talk
from test_models_places import CHAT, MSGS, RESP, ask

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Charter
from fiducial.flow.masking.recognizer import Recognizer
from fiducial.gateway.trusted import trusted

Make = Callable[..., Talk]
GLOB: dict[str, Any] = {"type": "object", "properties": {"Paris": {"type": "string", "enum": ["Ann"]}}}


@pytest.fixture(
    params=[
        pytest.param((talk, stream), id=f"{talk.__name__}-{'streamed' if stream else 'whole'}")
        for talk in TALKS
        for stream in (False, True)
    ]
)
def talks(request: pytest.FixtureRequest) -> Make:
    """A program that talks with a model, for each API."""
    made, stream = request.param

    def make(gate: Gate, **headers: str) -> Talk:
        return made(gate, stream=stream, **headers)

    return make


def recognizing(house: House, pipeline: Path, **entities: str) -> None:
    wanted = {"model": str(pipeline)} | ({"entities": entities} if entities else {})
    house.guard.use(charter(recognize=wanted))


def test_names_reach_nobody_but_the_client(talks: Make, house: House, pipeline: Path) -> None:
    recognizing(house, pipeline)
    gate = Gate(house, mask=["identity", "location"])
    talk = talks(gate)
    talk.user("Where does Ann Fox live, who was in Los Angeles?\n\nAsk José Ruiz.")
    text, [(id, tool, given)] = talk.send("I look Ann Fox up.", Call("look_up", {"name": "Ann Fox"}, "call_a"))
    assert (text, tool, given) == ("I look Ann Fox up.", "look_up", {"name": "Ann Fox"})
    talk.came(id, {"person": {"name": "Ann Fox", "city": "Paris"}, "seen": ["Los Angeles"], "n": 3})
    token = next(word for word in json.dumps(gate.provider.asked).split() if "masked-identity-" in word).strip('"\\,.')
    text, _ = talk.send(f"{token} lives there.")
    assert text == "Ann Fox lives there."
    told, kept = json.dumps(gate.provider.asked), house.written()
    for value in ("Ann Fox", "Ruiz", "Paris", "Los Angeles"):
        assert value not in told
        assert value.encode() not in kept
    assert "masked-location-" in told


def renamed(made: Charter, parameter: str) -> Charter:
    """The same charter, with a parameter of `look_up` called otherwise."""
    look_up = Contract.model_validate(CONTRACTS["look_up"] | {"parameters": {parameter: {"role": "target"}}})
    return Charter.build(made.about, made.contracts | {"look_up": look_up}, (), made.policies)


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", CHAT | {"tools": [{"type": "function", "function": {"name": "Ann", "parameters": GLOB}}],
                         "tool_choice": {"type": "function", "function": {"name": "Ann"}}}),
        ("responses", RESP | {"tools": [{"type": "function", "name": "Ann", "parameters": GLOB}]}),
        ("messages", MSGS | {"tools": [{"name": "Ann", "input_schema": GLOB}], "tool_choice": {"type": "auto"}}),
        ("chat", {"model": "m", "messages": [{"role": "user", "name": "Ann", "content": "x"}]}),
    ],
)  # fmt: skip
def test_what_names_a_tool_is_no_person(house: House, pipeline: Path, api: str, body: dict[str, Any]) -> None:
    recognizing(house, pipeline)
    gate = Gate(house, mask=["identity", "location"])
    assert ask(gate, api, body, "?api-version=Paris", **{"openai-beta": "Ann"}).status_code == 200
    assert gate.provider.asked == [body]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", {"model": "m", "messages": [{"role": "user", "name": "Ann Fox", "content": "x"}]}),
        ("chat", CHAT | {"metadata": {"asked_by": "Ann"}}),
        ("responses", RESP | {"prompt": {"id": "p", "variables": {"city": "Paris"}}, "instructions": "You help Ann."}),
        ("messages", MSGS | {"system": "You work in Paris for Ann Fox."}),
    ],
)
def test_names_are_masked_wherever_people_are_spoken_of(
    house: House, pipeline: Path, api: str, body: dict[str, Any]
) -> None:
    recognizing(house, pipeline)
    gate = Gate(house, mask=["identity", "location"], provider_tools=["prompt"])
    assert ask(gate, api, body).status_code == 200
    told = json.dumps(gate.provider.asked)
    assert "masked-" in told
    assert not any(name in told for name in ("Ann", "Fox", "Paris"))


@pytest.mark.parametrize(("api", "body"), [("chat", CHAT), ("responses", RESP), ("messages", MSGS)])
def test_what_cannot_be_read_does_not_go_out(
    house: House, failing_pipeline: Path, api: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    recognizing(house, failing_pipeline, PERSON="identity")
    gate = Gate(house, mask=["identity"])
    assert ask(gate, api, body).status_code == 200
    gate.provider.asked.clear()
    key = "input" if api == "responses" else "messages"
    with caplog.at_level(logging.DEBUG):
        answer = ask(gate, api, body | {key: [{"role": "user", "content": "Ann Fox has trouble"}]})
    assert answer.status_code == 503
    assert "what is masked could not be told, so nothing was passed on" in answer.text
    assert "names could not be told from a text (ValueError at " in caplog.text
    for said in (answer.text, caplog.text, house.written().decode("latin-1")):
        assert "Ann Fox" not in said
    assert not gate.provider.asked


def test_the_names_of_arguments_are_kept(talks: Make, house: House, pipeline: Path) -> None:
    recognizing(house, pipeline)
    gate = Gate(house, mask=["identity"], restore=[])
    house.guard.use(renamed(house.guard.charter, "Ann"))
    talk = talks(gate)
    talk.user("Look it up.")
    _, [(_, _, given)] = talk.send(Call("look_up", {"Ann": "milk"}))
    assert given == {"Ann": "milk"}


def test_a_call_whose_arguments_cannot_be_read_is_no_call(talks: Make, house: House, failing_pipeline: Path) -> None:
    recognizing(house, failing_pipeline, PERSON="identity")
    talk = talks(Gate(house, mask=["identity"]))
    talk.user("Look it up.")
    with pytest.raises(Exception, match="could not be told"):
        talk.send(Call("look_up", {"name": "Ann Fox in trouble"}))
    assert house.outcomes() == []
    assert b"Ann Fox" not in house.written()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each passage that the model is asked for, whether that is on an event loop."""
    asked: list[bool] = []
    find = Recognizer.find

    def noted(self: Recognizer, passage: str, classes: frozenset[str]) -> Any:
        try:
            asyncio.get_running_loop()
            asked.append(True)
        except RuntimeError:
            asked.append(False)
        return find(self, passage, classes)

    monkeypatch.setattr(Recognizer, "find", noted)
    return asked


def test_a_model_is_never_asked_on_the_event_loop(talks: Make, house: House, pipeline: Path, asked: list[bool]) -> None:
    recognizing(house, pipeline)
    talk = talks(Gate(house, mask=["identity"]))
    talk.user("Ann?")
    text, [(id, _, given)] = talk.send("Of Ann.", Call("write_note", {"name": "list", "text": "Ann"}))
    assert (text, given["text"]) == ("Of Ann.", "Ann")
    talk.came(id, "Ann is on it")
    talk.send("Well, Ann.")
    assert asked
    assert not any(asked)


@pytest.mark.parametrize(
    ("key", "says"),
    [("Ann Fox", "[identity]"), ("Ann Fox in trouble", "the server's log says why")],
)
def test_what_is_said_of_a_fault_holds_no_name(
    house: House, failing_pipeline: Path, asked: list[bool], key: str, says: str
) -> None:
    recognizing(house, failing_pipeline, PERSON="identity")
    gate = Gate(house, mask=["identity"])
    headers = {"Authorization": "Bearer key-of-one", "Content-Type": "application/json"}
    body = f'{{"model": "m", "messages": [], "tools": [{{"{key}": 1, "{key}": 2}}]}}'
    url = f"{gate.site.url}/models/gpt/chat/completions"
    answer = httpx2.post(url, content=body, headers=headers, verify=trusted())
    assert answer.status_code == 400
    assert says in answer.text
    assert "Ann" not in answer.text
    assert asked
    assert not any(asked)
