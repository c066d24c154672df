"""Drafted contracts: what is guessed of tools nobody has described, and that guesses err to the safe side."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fiducial.charter import lexicon
from fiducial.charter.arguments import arguments_checker
from fiducial.charter.contracts import Audience, Contract, Effect, Kind, Role
from fiducial.charter.draft import draft_contracts
from fiducial.charter.infer import infer_contracts
from fiducial.charter.load import parse_charter
from fiducial.charter.model import BUILT_IN, Charter
from fiducial.charter.schema import shape
from fiducial.errors import CharterError

CORPUS: list[dict[str, str]] = yaml.safe_load((Path(__file__).parent / "tools_corpus.yaml").read_text())["tools"]


def described(entry: dict[str, str]) -> dict[str, Any]:
    """A corpus entry as an MCP tool."""
    properties, required = {}, []
    for word in entry["p"].split():
        name, _, kind = word.partition(":")
        bare = name.rstrip("!")
        properties[bare] = {"type": kind or "string"}
        required += [bare] if name != bare else []
    hint = entry.get("h", "")
    return {
        "name": entry["n"],
        "description": entry["d"],
        "inputSchema": {"type": "object", "properties": properties, "required": required},
        "annotations": {hint.lstrip("-"): not hint.startswith("-")} if hint else None,
    }


GUESSED = infer_contracts([described(entry) for entry in CORPUS])


def one(name: str, description: str = "", *parameters: str, **more: Any) -> Contract:
    """The contract guessed for one tool whose parameters are texts."""
    properties = {parameter: {"type": "string"} for parameter in parameters}
    tool = {
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": properties},
        **more,
    }
    return infer_contracts([tool])[name]


# ── the labelled corpus ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 150
    assert len(GUESSED) == len(CORPUS)


def test_no_tool_that_changes_something_is_taken_for_a_read() -> None:
    wrong = [e["n"] for e in CORPUS if "read" not in e["e"].split("|") and GUESSED[e["n"]].effect is Effect.READ]
    assert wrong == []


def test_nearly_all_kinds_and_effects_are_right() -> None:
    kinds = [entry["n"] for entry in CORPUS if GUESSED[entry["n"]].kind not in entry["k"].split("|")]
    effects = [entry["n"] for entry in CORPUS if GUESSED[entry["n"]].effect not in entry["e"].split("|")]
    assert len(kinds) <= 0.03 * len(CORPUS), kinds
    assert len(effects) <= 0.03 * len(CORPUS), effects
    preferred = sum(GUESSED[entry["n"]].kind == entry["k"].split("|")[0] for entry in CORPUS)
    assert preferred >= 0.9 * len(CORPUS)


def test_reads_are_taken_for_reads() -> None:
    reads = [entry for entry in CORPUS if entry["e"] == "read"]
    missed = [entry["n"] for entry in reads if GUESSED[entry["n"]].effect is not Effect.READ]
    assert len(missed) <= 0.03 * len(reads), missed


def test_targets_are_found() -> None:
    missed = [
        f"{entry['n']}.{name}"
        for entry in CORPUS
        for name in entry.get("t", "").split()
        if GUESSED[entry["n"]].parameters[name].role is not Role.TARGET
    ]
    assert missed == []


def vouched(contract: Contract) -> bool:
    """Something of the output counts as the tool's own."""
    return bool(contract.output.trusted or contract.output.prose)


def test_only_members_that_an_output_schema_declares_are_records() -> None:
    schema: dict[str, Any] = {"type": "array", "items": {"properties": {"id": {}, "total": {}, "note": {}}}}
    output = one("get_order", "Gets an order", outputSchema=schema).output
    assert output.prose == ("$..id", "$..total", "$..note")
    assert "$..note" in output.untrusted


def test_outputs_that_others_write_are_never_taken_for_records() -> None:
    labelled = [entry for entry in CORPUS if "o" in entry]
    everything = {entry["n"] for entry in labelled if not vouched(GUESSED[entry["n"]])}
    assert {entry["n"] for entry in labelled if entry["o"] == "any"} <= everything
    cautious = everything - {entry["n"] for entry in labelled if entry["o"] == "any"}
    assert len(cautious) <= 0.1 * len(labelled), cautious


def test_everything_guessed_is_marked_and_reads_back_the_same() -> None:
    assert all(contract.guessed for contract in GUESSED.values())
    assert all(parameter.guessed for contract in GUESSED.values() for parameter in contract.parameters.values())
    about = "agent: a\nowners: {responsible: a, accountable: a}\n"
    charter, problems = parse_charter(
        {"charter.yaml": about, "contracts.yaml": draft_contracts(GUESSED), "intent.yaml": "clauses:"}
    )
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert charter is not None
    assert charter.contracts == GUESSED


# ── acts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_told_changes_something_irreversibly() -> None:
    for name in ("frobnicate", "x", "зделать", "123", "___", "a-b.c"):
        contract = one(name)
        assert contract.effect is Effect.IRREVERSIBLE
        assert not contract.output.trusted


def test_hints_raise_caution_and_lower_it_only_where_nothing_contradicts() -> None:
    read_only, writing = {"readOnlyHint": True}, {"readOnlyHint": False}
    assert one("weather", annotations=read_only).effect is Effect.READ
    assert one("weather", annotations=writing).effect is Effect.IRREVERSIBLE
    for name in ("delete_file", "send_email", "book_room", "pay", "purge", "run_command"):
        assert one(name, annotations=read_only).effect is not Effect.READ
    assert one("get_user", "Gets a user", annotations=writing).effect is Effect.IRREVERSIBLE
    assert one("rename_file", annotations={"destructiveHint": True}).effect is Effect.IRREVERSIBLE
    alone = one("get_usage", "Gets usage data", annotations={"destructiveHint": True})
    assert (alone.effect, alone.kind) == (Effect.IRREVERSIBLE, Kind.UPDATE)
    assert one("get_usage", "Gets usage data", annotations={"destructiveHint": False}).effect is Effect.READ
    assert one("get_usage", "Gets it", annotations=read_only | {"destructiveHint": True}).effect is Effect.READ
    assert one("delete_file", annotations={"destructiveHint": False}).effect is Effect.IRREVERSIBLE
    assert one("get_order", "Gets an order").output.prose == ("$",)
    assert not vouched(one("get_order", "Gets an order", annotations={"openWorldHint": True}))
    assert not vouched(one("get_mail", "Gets mail", annotations={"openWorldHint": False}))
    assert one("climate", annotations={"readOnlyHint": "yes"}).effect is Effect.IRREVERSIBLE


def test_descriptions_overrule_harmless_names() -> None:
    assert one("get_link", "Creates a public link to the file").effect is not Effect.READ
    assert one("find_room", "Books a room").kind is Kind.BOOK
    assert one("check", "Deletes what it finds").effect is Effect.IRREVERSIBLE
    assert one("helper", "Sends an SMS").kind is Kind.SEND
    assert one("book_flights", "Find and book flights").kind is Kind.BOOK
    assert one("book_list", "Returns the list of books").effect is Effect.READ


def test_naming_styles_do_not_matter() -> None:
    for name in ("send_email", "sendEmail", "SendEmail", "send-email", "mail.send_email", "SEND_EMAIL", "email_send"):
        assert one(name).kind is Kind.SEND, name
    for name in ("list_orders", "listOrders", "orders_get", "shop-get-orders"):
        assert one(name).effect is Effect.READ, name


_SEEMING = (
    "return_order capture_payment collect_payment load_wallet_funds recall_email select_option watch_repository "
    "tell_boss provide_feedback review_expense verify_account snapshot_database load_table curl report_user "
    "get_rid_of_file export_and_delete read_then_send confirm_booking"
)


@pytest.mark.parametrize("name", _SEEMING.split())
def test_verbs_that_seem_to_read_and_do_not(name: str) -> None:
    assert one(name).effect is not Effect.READ


def test_telling_people_cannot_be_undone() -> None:
    quiet = one("cancel_event", "Cancels the event", "event_id")
    loud = one("move_event", "Moves the event. It will also send an email to the participants.", "event_id")
    assert quiet.kind is Kind.DELETE
    assert loud.effect is Effect.IRREVERSIBLE
    assert loud.audience is Audience.THIRD_PARTY


# ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────────


def roles(contract: Contract) -> dict[str, str]:
    return {name: parameter.role.value for name, parameter in contract.parameters.items()}


def test_reads_have_options_and_fetches_a_target() -> None:
    assert set(roles(one("get_order", "", "order_id", "path", "email", "url_format")).values()) == {"option"}
    fetch = one("fetch_page", "Fetches a page", "url", "format")
    assert (fetch.kind, fetch.audience) == (Kind.FETCH, Audience.THIRD_PARTY)
    assert roles(fetch) == {"url": "target", "format": "option"}
    assert fetch.parameters["url"].entity == "url"


def test_roles_of_a_payment() -> None:
    schema = {
        "properties": {
            "recipient": {"type": "string", "description": "IBAN of the payee"},
            "amount": {"type": "number", "description": "Amount in EUR"},
            "memo": {"type": "string"},
            "date": {"type": "string", "format": "date"},
            "urgent": {"type": "boolean"},
            "method": {"enum": ["sepa", "swift"]},
        }
    }
    contract = infer_contracts([{"name": "send_payment", "description": "Sends a payment", "inputSchema": schema}])[
        "send_payment"
    ]
    assert contract.kind is Kind.PAY
    assert roles(contract) == {
        "recipient": "target", "amount": "magnitude", "memo": "content", "date": "magnitude", "urgent": "option",
        "method": "option",
    }  # fmt: skip
    assert contract.parameters["recipient"].entity == "account"
    assert contract.parameters["recipient"].classes == ("payment",)
    assert (contract.parameters["amount"].unit, contract.parameters["date"].unit) == ("EUR", "time")
    assert contract.cost == "amount"
    assert one("send_payment", "", "iban").cost is None


def test_one_time_codes_are_options_and_new_passwords_targets() -> None:
    assert roles(one("verify_login", "Verifies the code", "otp")) == {"otp": "option"}
    assert roles(one("login", "", "username", "password")) == {"username": "target", "password": "option"}
    change = one("change_password", "", "current_password", "new_password")
    assert change.kind is Kind.CREDENTIAL
    assert roles(change) == {"current_password": "option", "new_password": "target"}
    assert change.parameters["new_password"].classes == ("credentials",)


def test_text_that_nothing_explains_is_a_target() -> None:
    assert roles(one("frobnicate", "", "wibble")) == {"wibble": "target"}
    assert roles(one("send_email", "", "to", "wibble")) == {"to": "target", "wibble": "target"}
    assert roles(one("delete_thing", "", "limit", "wibble")) == {"limit": "option", "wibble": "target"}
    assert roles(one("get_thing", "", "thing_id", "wibble")) == {"thing_id": "option", "wibble": "option"}


_WHOM = (
    "notify subscriber subscribers watchers viewer editors shared_with on_behalf_of acting_as impersonate redirect "
    "relay via hook upstream permission permissions role visibility access delegate sender from alias proxy whom"
)


@pytest.mark.parametrize("name", _WHOM.split())
def test_text_beside_a_target_that_names_a_person_place_or_right_is_one_too(name: str) -> None:
    assert roles(one("share_document", "Shares a document", "document_id", name))[name] == "target"
    for schema in ({"type": "boolean"}, {"enum": ["a", "b"]}):
        properties = {"document_id": {"type": "string"}, name: schema}
        tool = {"name": "share_document", "inputSchema": {"properties": properties}}
        assert roles(infer_contracts([tool])["share_document"])[name] == "option"


def test_text_that_is_known_to_be_an_option_is_none() -> None:
    known = "format", "language", "status", "priority", "timezone", "cursor", "output_format", "idempotency_key"
    found = roles(one("create_thing", "Creates a thing", "target_id", *known))
    assert found == {"target_id": "target"} | dict.fromkeys(known, "option")


_PAYMENT: dict[str, Any] = {
    "type": "object", "properties": {"recipient": {"type": "string"}, "amount": {"type": "number"}},
}  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [
        _PAYMENT,
        {"type": "array", "items": _PAYMENT},
        {"type": "object", "properties": {"inner": {"type": "object", "properties": {"deep": _PAYMENT}}}},
        {"anyOf": [{"type": "null"}, _PAYMENT]},
        {"allOf": [{"type": "object"}, _PAYMENT]},
        {"type": "object", "additionalProperties": _PAYMENT},
        {"type": "array", "prefixItems": [_PAYMENT]},
        {"$ref": "#/$defs/Payment"},
        {"type": "array", "items": {"$ref": "#/$defs/Payment"}},
        {**_PAYMENT, "anyOf": [{"required": ["recipient"]}, {"required": ["amount"]}]},
        {"type": "object"},
        {"$ref": "https://example.com/elsewhere"},
    ],
)
@pytest.mark.parametrize("name", ["data", "params", "request", "body"])
def test_an_object_that_says_where_a_tool_acts_is_a_target(name: str, schema: dict[str, Any]) -> None:
    listed = {"properties": {name: schema}, "$defs": {"Payment": _PAYMENT}}
    contract = infer_contracts([{"name": "send_payment", "description": "Sends a payment", "inputSchema": listed}])
    assert roles(contract["send_payment"]) == {name: "target"}
    assert contract["send_payment"].cost is None


def test_an_object_has_the_worst_role_of_its_members() -> None:
    def role(name: str, tool: str = "create_note", **members: Any) -> str:
        held = {"id": {"type": "string"}, "payload": {"type": "object", "properties": members}}
        contract = infer_contracts([{"name": tool, "description": name, "inputSchema": {"properties": held}}])[tool]
        return contract.parameters["payload"].role.value

    text, number = {"type": "string"}, {"type": "number"}
    assert role("Creates a note", text=text, color=text) == "content"
    assert role("Creates a note", text=text, amount=number) == "magnitude"
    assert role("Creates a note", text=text, amount=number, path=text) == "target"
    assert role("Gets a note", "get_note", path=text, amount=number) == "option"


def test_members_that_refer_to_themselves_or_are_too_many_are_bounded() -> None:
    tree = {"$defs": {"T": {"properties": {"text": {}, "replies": {"items": {"$ref": "#/$defs/T"}}}}}}
    many = {"type": "object", "properties": {f"text_{i}": {"type": "string"} for i in range(3_000)}}
    listed = {**tree, "properties": {"id": {}, "note": {"$ref": "#/$defs/T"}, "notes": many}}
    contract = infer_contracts([{"name": "create_note", "inputSchema": listed}])["create_note"]
    assert roles(contract) == {"id": "target", "note": "content", "notes": "target"}


def test_the_data_in_an_object_has_its_members_classes() -> None:
    properties = {"user": {"properties": {"login": {"properties": {"password": {}}}, "phone": {}}}}
    contract = infer_contracts([{"name": "create_user", "inputSchema": {"properties": properties}}])["create_user"]
    assert set(contract.parameters["user"].classes) == {"credentials", "contact"}


def test_audiences() -> None:
    assert one("send_email", "", "to").audience is Audience.THIRD_PARTY
    assert one("post_message", "Posts a message to a channel", "channel", "text").audience is Audience.ORGANIZATION
    assert one("publish_post", "", "text").audience is Audience.PUBLIC
    assert one("create_note", "", "text").audience is Audience.SELF
    assert one("share_file", "", "file_id", "email").audience is Audience.THIRD_PARTY


# ── outputs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_data_classes_come_from_the_names_of_members() -> None:
    schema = {"properties": {"user": {"properties": {"email": {}, "passwordHash": {}, "Passport No": {}, "iban": {}}}}}
    output = one("get_account", "Gets an account", outputSchema=schema).output
    assert output.classes["contact"] == ("$..email",)
    assert output.classes["credentials"] == ("$..passwordHash",)
    assert output.classes["identity"] == ("$..['Passport No']",)
    assert output.classes["payment"] == ("$..iban",)
    said = one("get_user_info", "Returns email, phone number and bank account number of the user.").output
    assert "$..phone_number" in said.classes["contact"]
    assert "$..['Bank Account Number']" in said.classes["payment"]
    assert one("get_weather", "Gets the weather").output.classes == {}


def test_records_keep_their_prose_apart() -> None:
    output = one("search_products", "Search for products").output
    assert output.prose == ("$",)
    assert "$..reviews" in output.untrusted
    assert not vouched(one("run_code", "Runs code", "code"))
    assert not vouched(one("submit_form", "Submits a form", "url", "fields"))


# ── what people say ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "description", "phrase"),
    [
        ("send_email", "", "send email"), ("reserve_hotel", "", "book hotel"), ("pay_bill", "", "pay"),
        ("read_file", "Reads a file", "file"), ("fetch_url", "", "website"), ("add_to_cart", "", "buy"),
        ("checkout", "Pays for the cart", "purchase"), ("verify_otp", "", "otp"), ("login", "", "log in"),
        ("create_event", "", "create meeting"), ("invite_user", "", "invite"), ("delete_file", "", "remove file"),
        ("transfer_money", "", "transfer"), ("refund_order", "", "refund"), ("bake_cake", "", "bake cake"),
        ("download_file", "", "download"), ("reset_password", "", "change password"), ("post_tweet", "", "post tweet"),
    ],
)  # fmt: skip
def test_phrases_are_how_people_ask(name: str, description: str, phrase: str) -> None:
    parameters = {"fetch_url": ("url",), "verify_otp": ("otp",)}.get(name, ())
    contract = one(name, description, *parameters)
    words = [set(asked.split()) for asked in contract.asked_by]
    assert any(asked <= set(phrase.split()) for asked in words), contract.asked_by


def test_phrases_are_bounded_and_have_words() -> None:
    for name, contract in GUESSED.items():
        assert 0 < len(contract.asked_by) <= 80, name
        assert all(phrase.strip() and len(phrase.split()) <= 4 for phrase in contract.asked_by)


# ── formats ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_in_every_format_are_read() -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    tool = {"name": "send_sms", "description": "Send an SMS", "inputSchema": schema}

    class Model:
        @staticmethod
        def model_json_schema() -> dict[str, Any]:
            return schema

    forms: list[Any] = [
        [tool],
        (tool,),
        {"tools": [tool]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool]}},
        tool,
        [{"type": "function", "function": {"name": "send_sms", "description": "Send an SMS", "parameters": schema}}],
        [{"name": "send_sms", "description": "Send an SMS", "input_schema": schema}],
        [SimpleNamespace(name="send_sms", description="Send an SMS", inputSchema=schema, annotations=None)],
        [SimpleNamespace(name="send_sms", description="Send an SMS", parameters=Model)],
    ]
    expected = infer_contracts([tool])
    assert expected["send_sms"].parameters["to"].required
    for form in forms:
        assert infer_contracts(form) == expected


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        (5, "no list of tools"), ("abc", "no list of tools"), (None, "no list of tools"), ({}, "no list of tools"),
        ({"tools": 5}, "no list of tools"), ([{}], "tool 1 has no name"), ([{"name": ""}], "tool 1 has no name"),
        ([{"name": "x" * 300}], "tool 1 has no name"), ([{"name": "\ud800"}], "tool 1 has no name"), ([5], "tool 1"),
        ([{"name": "a"}, {"name": "a"}], "two tools called `a`"), ([{"name": 5}], "tool 1 has no name"),
        ([{"name": "a"}] * 6000, "more than 5000 tools"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_tools_is_refused(tools: Any, says: str) -> None:
    with pytest.raises(CharterError) as caught:
        infer_contracts(tools)
    assert says in str(caught.value)


def test_no_tools_are_no_contracts() -> None:
    assert infer_contracts([]) == {}
    assert infer_contracts({"tools": []}) == {}
    assert draft_contracts({}) == "tools: {}\n"


def test_schemas_are_kept_as_far_as_they_are_understood() -> None:
    schema = {
        "type": "object",
        "$defs": {"Item": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
                  "Tree": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}}}},
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 1},
            "tree": {"$ref": "#/$defs/Tree"},
            "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}},
                               {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
            "odd": {"type": "string", "pattern": "(?=x)", "maxLength": 3, "not": {"const": "y"}},
            "tuple": {"type": "array", "prefixItems": [{"type": "string"}]},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "never": False, "always": True, "wrong": 5,
        },
    }  # fmt: skip
    contract = infer_contracts([{"name": "create_thing", "inputSchema": schema}])["create_thing"]
    check = arguments_checker(contract)
    assert (
        check({"items": [{"n": 1}], "both": {"a": "x", "b": "y"}, "maybe": None, "tree": {"child": {"child": 1}}}) == []
    )
    assert check({"items": []}) != []
    assert check({"items": [{"n": 0}]}) != []
    assert check({"both": {"a": "x"}}) != []
    assert check({"both": {"a": 1, "b": "y"}}) != []
    assert check({"odd": "abcd"}) != []
    assert check({"odd": "abc"}) == []
    assert check({"tuple": "x"}) != []
    assert check({"maybe": "x"}) != []
    assert check({"never": [1], "always": {}, "wrong": "x"}) == []


OPENAPI = {
    "openapi": "3.1.0",
    "paths": {
        "/orders": {
            "get": {"summary": "List orders", "parameters": [{"$ref": "#/components/parameters/Limit"}]},
            "post": {
                "operationId": "placeOrder",
                "summary": "Place an order",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
                },
            },
        },
        "/orders/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "delete": {"description": "Removes the order"},
            "get": {"operationId": "purgeOrder"},
            "put": {"requestBody": {"content": {"application/json": {"schema": {"properties": {"id": {}}}}}}},
        },
        "/raw": {"post": {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}}, "x-note": 1},
    },
    "components": {
        "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "integer"}}},
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["sku"],
                "properties": {"sku": {"$ref": "#/components/schemas/Sku"}},
            },
            "Sku": {"type": "string", "maxLength": 8},
        },
    },
}


def test_openapi_operations_are_tools() -> None:
    contracts = infer_contracts(OPENAPI)
    assert set(contracts) == {"get_orders", "placeOrder", "delete_orders", "purgeOrder", "update_orders", "create_raw"}
    assert contracts["get_orders"].effect is Effect.READ
    assert contracts["get_orders"].parameters["limit"].schema_["type"] == "integer"
    assert contracts["placeOrder"].kind is Kind.BOOK
    assert contracts["placeOrder"].parameters["sku"].required
    assert contracts["placeOrder"].parameters["sku"].schema_["maxLength"] == 8
    assert contracts["delete_orders"].effect is Effect.IRREVERSIBLE
    assert contracts["purgeOrder"].effect is Effect.IRREVERSIBLE  # the name contradicts what GET claims
    assert set(contracts["update_orders"].parameters) == {"id", "body_id"}
    assert set(contracts["create_raw"].parameters) == {"body"}


def test_the_parts_of_an_openapi_body_are_merged() -> None:
    parts = [{"$ref": "#/components/schemas/Base"}, {"required": ["amount"], **_PAYMENT}]

    def guessed(body: dict[str, Any]) -> Contract:
        post = {"operationId": "sendPayment", "summary": "Sends a payment",
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}  # fmt: skip
        base = {"type": "object", "required": ["memo"], "properties": {"memo": {"type": "string"}}}
        document = {"openapi": "3.0.0", "paths": {"/p": {"post": post}}, "components": {"schemas": {"Base": base}}}
        return infer_contracts(document)["sendPayment"]

    contract = guessed({"allOf": parts})
    assert roles(contract) == {"memo": "content", "recipient": "target", "amount": "magnitude"}
    assert [name for name, one in contract.parameters.items() if one.required] == ["memo", "amount"]
    assert roles(guessed({"allOf": [{"allOf": parts}]})) == roles(contract)
    assert roles(guessed({"oneOf": [_PAYMENT, {"type": "string"}]})) == {"body": "target"}
    assert roles(guessed({"allOf": [*parts, {"oneOf": [_PAYMENT]}]})) == {"body": "target"}


def test_broken_openapi_gets_an_answer() -> None:
    for paths in ({"/a": 5}, {"/a": {"get": 5}}, {5: {"get": {}}}, {"/a": {"get": {"parameters": [5, {"name": 5}]}}},
                  {"/a": {"post": {"requestBody": {"content": 5}}}}, {"/a": {"$ref": "#/paths/~1a"}}):  # fmt: skip
        infer_contracts({"openapi": "3.0.0", "paths": paths})


# ── whole charters ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_charter_from_tools_is_whole_and_safe() -> None:
    charter = Charter.from_tools([described(entry) for entry in CORPUS], agent="helper", server="mcp")
    assert (charter.about.agent, charter.about.baseline, charter.about.tier) == ("helper", "balanced", "write")
    assert charter.about.owners.responsible == "unassigned"
    assert {contract.server for contract in charter.contracts.values()} == {"mcp"}
    (policy,) = charter.policies
    assert policy.text.startswith('@id("charter/permit-declared")')
    assert charter == Charter.from_tools([described(entry) for entry in CORPUS], agent="helper", server="mcp")
    assert charter.digest != Charter.from_tools([described(CORPUS[0])]).digest


def test_a_charter_from_tools_refuses_what_it_cannot_name() -> None:
    with pytest.raises(CharterError, match="agent's id"):
        Charter.from_tools([], agent="Not An Id")
    with pytest.raises(CharterError, match="taken by a built-in tool"):
        Charter.from_tools([{"name": "respond"}])


# ── whatever a server says ────────────────────────────────────────────────────────────────────────────────────────

_KEYWORDS = "type properties items anyOf allOf $ref $defs enum required pattern"
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["string", "object", "array", "null", "#/$defs/a", "integer"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(_KEYWORDS.split())
        | st.text(max_size=6),
        inner,
        max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


_WORDS = st.sampled_from(
    sorted(
        {word for entry in CORPUS for part in "ndp" for word in re.split(r"\W+|_", entry[part])} | set(lexicon.VERBS)
    )
)
_MISSPELT = st.sampled_from(["?", "-", "__", "_1", "9a", "'s", "it's", "审批", "é", "—", "``", "("])
"""Without a word that is known, or that begins like one."""


def _worded(most: int, between: str) -> st.SearchStrategy[str]:
    return st.lists(_WORDS | _MISSPELT, min_size=1, max_size=most).map(between.join)


_NAMES = _MISSPELT | _worded(3, "_")
_MEMBERS = st.builds(
    lambda members: {"type": "object", "properties": members},
    st.dictionaries(
        _NAMES,
        st.fixed_dictionaries(
            {"type": st.sampled_from(["string", "integer", "array", "object"]), "description": _worded(5, " ")}
        ),
        max_size=3,
    ),
)


@given(st.text(max_size=40), st.text(max_size=200), _ANY, _ANY, _ANY)
def test_any_tool_gets_a_contract_or_a_refusal(
    name: str, description: str, schema: Any, output: Any, hints: Any
) -> None:
    _gets_a_contract_or_a_refusal(name, description, schema, output, hints)


@example("审批", "Approve a request", {}, None)
@example("pay", "", {"properties": {"收款人": {"type": "string", "description": "the account that gets it"}}}, None)
@example("get_user", "", {}, {"properties": {"-email": {"type": "string"}}})
@given(_NAMES, _worded(8, " "), _MEMBERS, st.none() | _MEMBERS)
def test_any_words_in_any_place_get_a_contract_or_a_refusal(
    name: str, description: str, schema: Any, output: Any
) -> None:
    _gets_a_contract_or_a_refusal(name, description, schema, output, None)


def _gets_a_contract_or_a_refusal(name: str, description: str, schema: Any, output: Any, hints: Any) -> None:
    tool = {
        "name": name,
        "description": description,
        "inputSchema": schema,
        "outputSchema": output,
        "annotations": hints,
    }
    try:
        charter = Charter.from_tools([tool])
    except CharterError:
        assert not 0 < len(name) <= 256 or name in BUILT_IN or any("\ud800" <= c <= "\udfff" for c in name)
        return
    (contract,) = charter.contracts.values()
    for parameter in contract.parameters.values():
        shape(parameter.schema_)
    text = draft_contracts(charter.contracts)
    about = "agent: a\nowners: {responsible: a, accountable: a}\n"
    read, problems = parse_charter({"charter.yaml": about, "contracts.yaml": text})
    errors = [problem for problem in problems if problem.severity == "error"]
    assert read is not None or {problem.code for problem in errors} <= {"yaml-syntax", "not-json", "too-large"}, errors
    if read is not None:
        assert read.contracts == charter.contracts


@pytest.mark.parametrize("union", ["anyOf", "oneOf", "allOf"])
def test_alternatives_nested_however_deep_get_a_contract(union: str) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(3000):
        schema = {union: [schema]}
    contract = infer_contracts([{"name": "send_sms", "inputSchema": {"properties": {"to": schema}}}])["send_sms"]
    assert contract.parameters["to"].role is Role.TARGET


@pytest.mark.parametrize(
    "more",
    [
        {"inputSchema": {"properties": {"\ud800": {}}}},
        {"inputSchema": {"properties": {"a": {"properties": {"\ud800": {}}}}}},
        {"inputSchema": {"properties": {"a": {"enum": ["\ud800"]}}}},
        {"outputSchema": {"properties": {"\ud800": {}}}},
    ],
)
def test_text_that_no_file_can_hold_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CharterError, match="what is said of `get_order` holds text that is not valid Unicode"):
        infer_contracts([{"name": "get_order", "description": "Gets an order", **more}])


def test_every_verb_that_is_a_noun_as_well_is_a_verb() -> None:
    assert lexicon.VERBS.keys() >= lexicon.NOUN_VERBS
    assert one("notification_send_notification", "notification send").kind is Kind.SEND


@given(
    st.lists(
        st.sampled_from(sorted({word for entry in CORPUS for word in entry["n"].replace("-", "_").split("_")})),
        min_size=1,
        max_size=4,
    )
)
def test_any_mixture_of_words_gets_a_contract(words: list[str]) -> None:
    contract = one("_".join(words), " ".join(reversed(words)))
    assert (contract.effect is Effect.READ) <= (contract.kind in (Kind.READ, Kind.FETCH))
