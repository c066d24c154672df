"""Reading charters: what is refused, where, and with which fix."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fiducial.charter.load import parse_charter, read_charter
from fiducial.charter.model import Charter, PolicySource
from fiducial.errors import Problem

ABOUT = "agent: support\nowners: {responsible: a, accountable: b}\nroles: [lead]\n"
TOOLS = """\
tools:
  find:
    effect: read
    kind: read
    parameters:
      id: {role: option}
      deep: {role: option, type: object, required: false}
  refund:
    effect: compensable
    kind: pay
    audience: third_party
    cost: amount
    parameters:
      id: {role: target, pattern: "^[A-Z]+$"}
      amount: {role: magnitude, type: number, unit: USD}
"""
INTENT = "clauses: [{id: one, statement: s, owner: o, measures: [m]}]\n"
POLICY = '@id("charter/p") permit (principal, action, resource);\n'
WHOLE = {"charter.yaml": ABOUT, "contracts.yaml": TOOLS, "intent.yaml": INTENT, "policies/p.cedar": POLICY}


def problems(**changed: str) -> list[Problem]:
    """Problems of the whole charter above with some files changed; `charter_yaml` stands for `charter.yaml`."""
    names = {name.replace(".", "_").replace("/", "_"): name for name in [*WHOLE, "cases/c.yaml"]}
    charter, found = parse_charter({**WHOLE, **{names[key]: text for key, text in changed.items()}})
    assert (charter is None) == any(problem.severity == "error" for problem in found)
    return found


def about(extra: str) -> list[Problem]:
    return problems(charter_yaml=ABOUT + extra)


def tool(extra: str) -> list[Problem]:
    """Problems with `extra` keys on the tool `refund`; they begin at line 16."""
    return problems(contracts_yaml=TOOLS + extra)


def only(found: list[Problem], code: str, line: int, *says: str) -> None:
    (problem,) = found
    assert (problem.code, problem.line) == (code, line), problem
    for text in says:
        assert text in str(problem), problem
    assert problem.fix or problem.code == "invalid-value"


MEMORY = ABOUT + "memories: {notes: {expires: 30d}, wiki: {expires: 7d, audience: organization}}\n"
STORE = "    memory: {of: notes}\n    parameters: {text: {role: content}}\n"


def memory(extra: str, *, effect: str = "effect: reversible\n    kind: create", about: str = MEMORY) -> list[Problem]:
    """Problems with a tool `save`, which begins at line 16; `memory` is on line 18."""
    return problems(charter_yaml=about, contracts_yaml=f"{TOOLS}  save:\n    {effect}\n{extra}")


def test_memories_are_declared_and_fit_their_tools() -> None:
    assert memory(STORE) == []
    assert memory("    memory: {of: notes, at: ['$[*].text']}\n", effect="effect: read\n    kind: read") == []
    assert [each.code for each in memory(STORE, about=ABOUT)] == ["unknown-memory"]
    assert "did you mean `notes`?" in str(memory(STORE.replace("notes", "note"))[0])
    (found,) = memory(STORE.replace("notes}", "notes, at: ['$.x']}"))
    assert (found.code, "drop it: the tool keeps its content" in str(found)) == ("contradiction", True)
    assert "no content parameter" in str(memory("    memory: {of: notes}\n    parameters: {text: {role: option}}\n")[0])
    (found,) = memory(STORE.replace("notes", "wiki"))
    assert (found.code, "make it `organization`" in str(found)) == ("contradiction", True)
    assert memory(STORE.replace("notes", "wiki") + "    audience: organization\n") == []
    only(memory("    memory: {of: notes, at: [text]}\n"), "invalid-value", 19, "does not start with `$`")
    assert about("memories: {notes: {}}\n")[0].code == "missing-key"


def test_what_is_grounded_is_content_and_documents_can_be_told() -> None:
    assert memory("    parameters: {text: {role: content, grounded: true}}\n") == []
    assert "no content" in str(memory("    parameters: {text: {role: option, grounded: true}}\n")[0])
    assert memory("    output: {documents: '$.hits[*].meta.id'}\n") == []
    for wrong in ("$..id", "id", "$.["):
        assert [each.code for each in memory(f"    output: {{documents: '{wrong}'}}\n")] == ["invalid-value"]


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_charter_has_no_problems() -> None:
    charter, found = parse_charter(WHOLE)
    assert found == []
    assert charter is not None
    assert set(charter.contracts) == {"find", "refund"}
    assert charter.digest.startswith("sha256:")


def test_nothing_at_all(tmp_path: Path) -> None:
    assert read_charter(tmp_path / "none")[1][0].code == "no-charter"
    charter, found = read_charter(tmp_path)
    assert charter is None
    assert [problem.code for problem in found] == ["missing-file", "missing-file", "no-intent", "no-policies"]
    (tmp_path / "file").touch()
    assert read_charter(tmp_path / "file")[1][0].code == "no-charter"


@pytest.mark.parametrize("name", ["charter.yaml", "contracts.yaml", "intent.yaml"])
def test_empty_files_are_problems_not_crashes(name: str) -> None:
    charter, found = parse_charter({**WHOLE, name: ""})
    assert charter is None
    assert {problem.file for problem in found} == {name}
    assert {problem.code for problem in found} == {"missing-key"}


def test_sections_may_be_left_empty() -> None:
    charter, found = parse_charter({**WHOLE, "intent.yaml": "clauses:\n", "contracts.yaml": "tools: {}\n"})
    assert found == []
    assert charter is not None
    assert charter.clauses == ()


def test_a_chat_agent_needs_no_contracts_and_may_have_none() -> None:
    chat = ABOUT + "tier: chat\n"
    charter, _ = parse_charter({"charter.yaml": chat, "intent.yaml": INTENT})
    assert charter is not None
    only(problems(charter_yaml=chat), "contradiction", 4, "2 tools")


def test_strangers_in_the_directory(tmp_path: Path) -> None:
    for name, text in WHOLE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("README.md", "LICENSE", ".gitignore", "contracts.yaml~", "notes.txt", "contract.yaml", "extra.cedar"):
        (tmp_path / name).touch()
    for folder, file in (
        ("case", "a.yaml"),
        ("cases", "a.yml"),
        ("policies", "a.txt"),
        ("prompts", "a.md"),
        ("x", "y"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).touch()
    charter, found = read_charter(tmp_path)
    assert charter is None
    assert {(problem.file, problem.severity) for problem in found} == {
        ("notes.txt", "warning"),
        ("contract.yaml", "error"),
        ("extra.cedar", "error"),
        ("case/", "error"),
        ("x/", "warning"),
        ("cases/a.yml", "error"),
        ("policies/a.txt", "warning"),
    }
    assert "did you mean `contracts.yaml`?" in {problem.fix for problem in found}


def test_bytes_that_are_no_text_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, text in WHOLE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "intent.yaml").write_bytes(b"clauses: []\n# \xff\n")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "gone.yaml").symlink_to(tmp_path / "nowhere")
    _, found = read_charter(tmp_path)
    assert {(problem.file, problem.line, problem.code) for problem in found} >= {
        ("intent.yaml", 2, "not-utf8"),
        ("cases/gone.yaml", 0, "unreadable"),
    }
    (tmp_path / "intent.yaml").write_bytes(b"\xef\xbb\xbf" + INTENT.encode())
    (tmp_path / "cases" / "gone.yaml").unlink()
    assert read_charter(tmp_path)[0] is not None


def test_directories_that_no_charter_should_be(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "charter.yaml")
    (tmp_path / "intent.yaml").mkdir()
    (tmp_path / "policies").symlink_to(tmp_path)
    (tmp_path / "cases").symlink_to(tmp_path / "cases")
    (tmp_path / os.fsdecode(b"\xff.yaml")).touch()
    charter, found = read_charter(tmp_path)
    assert charter is None
    assert ("charter.yaml", "unreadable") in {(problem.file, problem.code) for problem in found}
    assert ("?.yaml", "unknown-file") in {(problem.file, problem.code) for problem in found}
    assert all(str(problem).encode() for problem in found)


def test_problems_of_all_files_come_at_once_in_order() -> None:
    found = problems(
        charter_yaml="agent: Support\nowners: {responsible: a}\n",
        contracts_yaml="tools:\n  a: {effect: red, kind: read}\n",
        intent_yaml="clauses: [{id: one}]\n",
        cases_c_yaml="cases: [{name: n}]\n",
    )
    assert [problem.file for problem in found] == sorted(problem.file for problem in found)
    assert {problem.file for problem in found} == {"charter.yaml", "contracts.yaml", "intent.yaml", "cases/c.yaml"}
    assert len(found) == 7


# ── keys and values ───────────────────────────────────────────────────────────────────────────────────────────────


def test_unknown_keys_are_refused_with_a_hint() -> None:
    only(about("tire: write\n"), "unknown-key", 4, "`tire`", "did you mean `tier`?")
    only(about("nonsense: 1\n"), "unknown-key", 4, "the keys here are `agent`")
    only(tool("    asked-by: [x]\n"), "unknown-key", 16, "did you mean `asked_by`?")
    only(tool("      id2: {role: target, requird: true}\n"), "unknown-key", 16, "did you mean `required`?")
    only(problems(intent_yaml=INTENT + "clause: []\n"), "unknown-key", 2, "did you mean `clauses`?")


def test_values_are_refused_in_the_readers_words() -> None:
    only(about("tier: writes\n"), "unknown-value", 4, "`writes`", "did you mean `write`?")
    only(about("minimum_confidence: 2\n"), "invalid-value", 4, "`minimum_confidence` must be at most 1")
    only(about("session_memory: 1.5\n"), "invalid-value", 4, "must be an integer")
    only(about("purpose: 5\n"), "invalid-value", 4, "`purpose` must be text")
    only(about("organization: example.com\n"), "invalid-value", 4, "must be a list")
    only(about("budgets: 5\n"), "invalid-value", 4, "must be a mapping")
    only(problems(charter_yaml="agent: a b\n" + ABOUT.partition("\n")[2]), "invalid-value", 1, "text that matches")
    only(problems(charter_yaml=ABOUT.replace("responsible: a", "responsible: ''")), "invalid-value", 2, "empty")
    only(tool("    timeout: 30\n"), "invalid-value", 16, "such as `30s`")
    only(tool("    timeout: 25h\n"), "invalid-value", 16, "at most 1 day")
    only(tool("    output: {trusted: [x]}\n"), "invalid-value", 16, "does not start with `$`")
    turned = "`output` has `third_party_writable`, which would trust what it does not list"
    only(tool("    output: {third_party_writable: []}\n"), "invalid-value", 16, turned)
    only(tool("      x: {role: option, type: strin}\n"), "invalid-value", 16, "did you mean `string`?")
    only(tool("      x: {role: option, type: string, schema: {}}\n"), "invalid-value", 16, "beside `schema`")
    only(problems(contracts_yaml="tools: []\n"), "invalid-value", 1, "`tools` must be a mapping")
    only(problems(contracts_yaml="- a\n"), "invalid-value", 1, "must be a mapping with the key `tools`")


def test_messages_name_no_types_of_the_implementation() -> None:
    found = problems(
        charter_yaml="agent: 5\nowners: x\nroles: x\nbudgets: {session: {calls: x}, windows: 3}\ntier: 4\n"
        "retention: []\n",
        contracts_yaml="tools: {a: 5, b: {effect: 1, kind: [], parameters: {x: y}, output: 3, undo: 1}}\n",
        intent_yaml="clauses: [5, {id: 1, tools: x}]\n",
        cases_c_yaml="cases: [{name: 1, given: x, call: 3, expect: {verdict: no}}]\n",
    )
    text = "\n".join(map(str, found))
    assert len(found) == 23
    assert not re.search(r"pydantic|Input|instance|NoneType|\b(dict|tuple|str|class)\b|Value error", text), text


def test_durations_and_shorthand_mean_what_they_say() -> None:
    charter, found = parse_charter(
        {**WHOLE, "contracts.yaml": TOOLS + "    timeout: 5m\n", "charter.yaml": ABOUT + "retention: 30d\n"}
    )
    assert found == []
    assert charter is not None
    assert charter.contracts["refund"].timeout.total_seconds() == 300
    assert charter.about.retention is not None
    assert charter.about.retention.days == 30
    assert charter.contracts["refund"].parameters["id"].schema_ == {"pattern": "^[A-Z]+$"}
    longhand = TOOLS.replace("type: number, unit", "schema: {type: number}, unit")
    other, _ = parse_charter(
        {**WHOLE, "contracts.yaml": longhand + "    timeout: PT300S\n", "charter.yaml": ABOUT + "retention: P30D\n"}
    )
    assert other is not None
    assert other.digest == charter.digest


# ── the charter as a whole ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("domain", ["", " ", "corp", "@corp.example", "*.corp.example", "corp.example.", "a b.example"])
def test_an_organization_has_domains_that_addresses_can_have(domain: str) -> None:
    found = about(f"organization:\n  - corp.example\n  - {domain!r}\n")
    only(found, "invalid-value", 6, "must be a domain such as `corp.example`")
    assert about("organization: [corp.example, Mail.Corp.Example]\n") == []


def clause(text: str) -> list[Problem]:
    return (
        problems(intent_yaml=INTENT + text)
        if text.startswith("#")
        else problems(intent_yaml=f"clauses:\n  - {{id: one, statement: s, owner: o, {text}}}\n")
    )


def test_clauses() -> None:
    only(clause("never: 'true', tools: [refnd]"), "unknown-tool", 2, "did you mean `refund`?")
    assert clause("never: 'true', tools: [refund, irreversible, pay, respond]") == []
    only(clause("never_without_approval: 'true', approval: leed"), "unknown-role", 2, "did you mean `lead`?")
    assert clause("never_without_approval: 'true', approval: operator") == []
    only(clause("never_without_approval: 'true'"), "invalid-value", 2, "go together")
    only(clause("never: 'true', never_without_approval: 'true', approval: lead"), "invalid-value", 2, "has both")
    only(clause("harmed: [me]"), "invalid-value", 2, "has no condition")
    twice = "clauses:\n  - {id: one, statement: s, owner: o, measures: [m]}\n" * 2
    assert {problem.code for problem in problems(intent_yaml=twice)} == {"repeated-key"}
    twice = "clauses:\n" + "  - {id: one, statement: s, owner: o, measures: [m]}\n" * 2
    only(problems(intent_yaml=twice), "repeated-name", 3, "the first is in line 2")


def test_budgets() -> None:
    window = "budgets: {windows: [{name: w, window: 1h, limit: 5, "
    only(about("budgets: {session: {spend: {usd: 5}}}\n"), "unknown-currency", 4, "did you mean `USD`?")
    only(about(window + "of: spend}]}\n"), "contradiction", 4, "go together")
    only(about(window + "currency: EUR}]}\n"), "contradiction", 4, "go together")
    only(about(window + "of: spend, currency: EU}]}\n"), "unknown-currency", 4)
    only(about(window + "tools: [refunds]}]}\n"), "unknown-tool", 4, "did you mean `refund`?")
    twice = "budgets: {windows: [{name: w, window: 1h, limit: 5}, {name: w, window: 2h, limit: 5}]}\n"
    only(about(twice), "repeated-name", 4)
    assert [p.severity for p in about("data_classes: [health]\n")] == ["warning"]


def test_a_payment_without_a_cost_is_not_counted() -> None:
    free = TOOLS.replace("    cost: amount\n", "")
    spend = "budgets: {session: {spend: {USD: 10000}}}\n"
    window = "budgets: {windows: [{name: w, window: 1h, limit: 5, of: spend, currency: USD, tools: [TOOL]}]}\n"

    def of(budgets: str, contracts: str = free) -> list[str]:
        found = problems(charter_yaml=ABOUT + budgets, contracts_yaml=contracts)
        assert all(str(one).startswith("contracts.yaml:10: ") for one in found), found
        return [one.code for one in found if one.severity == "warning" and "`cost: amount`" in one.fix]

    uncounted = ["uncounted-spending"]
    assert of(spend) == of(window.replace("[TOOL]", "[]")) == of(window.replace("TOOL", "pay")) == uncounted
    assert of(spend, free.replace(", unit: USD", "")) == uncounted
    assert of("") == of(window.replace("TOOL", "find")) == of(spend.replace("USD", "EUR")) == []
    assert of(spend, TOOLS) == of(spend, free.replace("kind: pay", "kind: update")) == []


def test_cases() -> None:
    case = "cases:\n - name: n\n   call: {tool: refund}\n   expect: {verdict: held}\n"
    assert problems(cases_c_yaml=case) == []
    only(problems(cases_c_yaml=case.replace("tool: refund", "tool: refnd")), "unknown-tool", 3)
    unknown = case.replace("tool: refund", "tool: nope").replace("held}", "denied, fault: unknown-tool}")
    assert problems(cases_c_yaml=unknown) == []
    assert problems(cases_c_yaml=case.replace("tool: refund", "tool: respond")) == []
    given = case + "   given: {roles: [led], plan: [fin], observed: [{tool: fnd, result: {a: [1, null]}}]}\n"
    assert [p.code for p in problems(cases_c_yaml=given)] == ["unknown-role", "unknown-tool", "unknown-tool"]
    only(problems(cases_c_yaml=case + case.partition("\n")[2]), "repeated-name", 5, "the first is in cases/c.yaml:2")


def test_plans_of_cases() -> None:
    def given(plan: str) -> list[Problem]:
        case = "cases:\n - name: n\n   call: {tool: refund}\n   expect: {verdict: held}\n"
        return problems(cases_c_yaml=f"{case}   given:\n    plan: {plan}\n")

    assert given("[find, refund]") == given("[]") == given("{ordered: true, steps: [{tool: find, uses: 2}]}") == []
    only(given("[fin]"), "unknown-tool", 6, "did you mean `find`?")
    only(given("{steps: [{tool: fin}]}"), "unknown-tool", 6, "did you mean `find`?")
    only(given("{steps: [{tool: refund, bounds: {amuont: {at_most: 1}}}]}"), "unknown-parameter", 6, "`amount`?")
    only(given("{ordred: true}"), "unknown-key", 6, "did you mean `ordered`?")
    only(given("{steps: [{}]}"), "missing-key", 6)
    for wrong in ("5", "[5]", "{steps: 4}", "{steps: [{tool: 5}]}", "{steps: [{tool: find, uses: many}]}"):
        only(given(wrong), "invalid-value", 6)


def test_contradictions_of_kind_and_effect() -> None:
    def one(effect: str, kind: str) -> list[Problem]:
        return problems(contracts_yaml=f"tools:\n  t:\n    effect: {effect}\n    kind: {kind}\n    audience: public\n")

    only(one("irreversible", "read"), "contradiction", 3, "the kind is `read`")
    for kind in ("send", "pay", "delete", "grant", "create", "deploy", "book"):
        only(one("read", kind), "contradiction", 3, "changes something")
    assert one("read", "fetch") == one("irreversible", "fetch") == one("read", "execute") == []
    narrow = problems(contracts_yaml="tools: {t: {effect: irreversible, kind: send}}\n")
    assert [(p.code, p.severity) for p in narrow] == [("contradiction", "warning")]
    read_tier = problems(charter_yaml=ABOUT + "tier: read\n")
    only(read_tier, "contradiction", 9, "the tier is `read`")


def test_names_within_a_contract() -> None:
    only(tool("    idempotency_key: key\n"), "unknown-parameter", 16)
    only(tool("    idempotency_key: amount\n"), "contradiction", 16, "no text")
    only(problems(contracts_yaml=TOOLS.replace("cost: amount", "cost: amout")), "unknown-parameter", 12, "`amount`?")
    only(problems(contracts_yaml=TOOLS.replace("cost: amount", "cost: id")), "contradiction", 12, "no magnitude")
    for unit, code in (("US", "unknown-currency"), ("items", "unknown-currency")):
        only(problems(contracts_yaml=TOOLS.replace("unit: USD", f"unit: {unit}")), code, 12, "no ISO 4217 currency")
    wrong = problems(contracts_yaml=TOOLS.replace("unit: USD", "unit: USX"))
    assert {problem.code for problem in wrong} == {"unknown-currency"}
    only(tool("      x: {role: option, unit: items}\n"), "contradiction", 16, "has a unit")
    only(tool("      x: {role: option, classes: [helth]}\n"), "unknown-class", 16, "did you mean `health`?")
    only(tool("    output: {classes: {paymnt: [$]}}\n"), "unknown-class", 16, "did you mean `payment`?")
    assert (
        problems(
            charter_yaml=ABOUT + "data_classes: [trade]\n",
            contracts_yaml=TOOLS + "    output: {classes: {trade: [$]}}\n",
        )
        == []
    )
    only(tool("    asked_by: ['!']\n"), "invalid-value", 16, "no words")
    only(problems(contracts_yaml="tools: {respond: {effect: read, kind: read}}\n"), "reserved-name", 1)
    only(problems(contracts_yaml=f"tools: {{{'x' * 257}: {{effect: read, kind: read}}}}\n"), "invalid-value", 1)


def test_previews() -> None:
    def preview(text: str) -> list[Problem]:
        return tool(f"    preview: {{{text}}}\n")

    facts = "facts: {rows: $.n}"
    assert preview(f"tool: find, arguments: {{id: $arguments.id}}, {facts}") == []
    assert preview(f"tool: find, arguments: {{id: constant}}, {facts}") == []
    only(preview(f"tool: fnd, {facts}"), "unknown-tool", 16, "did you mean `find`?")
    only(preview(f"tool: find, {facts}"), "missing-argument", 16, "`find` needs `id`")
    only(preview(f"tool: find, arguments: {{id: 1, idd: 2}}, {facts}"), "unknown-parameter", 16, "`id`?")
    only(preview(f"tool: find, arguments: {{id: $arguments.idd}}, {facts}"), "unknown-parameter", 16, "`id`?")
    only(preview(f"tool: find, arguments: {{id: $result.x}}, {facts}"), "invalid-template", 16, "before the call")
    only(preview(f"tool: find, arguments: {{id: $arguments}}, {facts}"), "invalid-template", 16)
    only(preview(f"tool: find, arguments: {{id: '$arguments.id..'}}, {facts}"), "invalid-template", 16)
    only(preview(f"tool: find, arguments: {{id: $argument.id}}, {facts}"), "invalid-template", 16, "`$arguments`?")
    only(preview("tool: find, arguments: {id: 1}"), "missing-key", 16, "`facts`")
    only(preview(f"tool: find, arguments: {{id: 1}}, {facts}, expect: {{$.a: 1}}"), "contradiction", 16)
    only(preview("tool: find, arguments: {id: 1}, facts: {rows: n}"), "invalid-value", 16, "does not start")
    only(
        preview(f"tool: refund, arguments: {{id: $arguments.id, amount: 1}}, {facts}"),
        "contradiction",
        16,
        "must be `read` to serve as a preview",
    )
    deep = "tool: find, arguments: {id: a, deep: {x: [$arguments.nope]}}, " + facts
    only(preview(deep), "unknown-parameter", 16)


def test_postconditions_and_undo() -> None:
    def after(text: str) -> list[Problem]:
        return tool(f"    postcondition: {{tool: find, arguments: {{id: $result.id}}, {text}}}\n")

    assert after("expect: {$.state: done, $.id: $arguments.id}") == []
    only(after("facts: {rows: $.n}, expect: {$.a: 1}"), "contradiction", 16)
    only(after("timeout: 1s"), "missing-key", 16, "`expect`")
    only(after("expect: {a: 1}"), "invalid-value", 16)
    only(after("expect: {$.a: $arguments.nope}"), "unknown-parameter", 16)
    only(after("expect: {$.a: $result.b..}"), "invalid-value", 16)
    assert tool("    undo: {tool: refund, arguments: {id: $arguments.id, amount: $result.paid}, within: 7d}\n") == []
    only(tool("    undo: {tool: refnd}\n"), "unknown-tool", 16)
    only(tool("    undo: {tool: find, arguments: {id: a}}\n"), "contradiction", 16, "cannot take anything back")
    hard = TOOLS.replace("compensable", "irreversible") + "    undo: {tool: refund, arguments: {id: a, amount: 1}}\n"
    only(problems(contracts_yaml=hard), "contradiction", 16, "there is an `undo`")


def test_captures() -> None:
    def capture(arguments: str, more: str = "") -> str:
        return f"    capture: {{driver: files, tool: refund, arguments: {{{arguments}}}{more}}}\n"

    assert tool(capture("id: $arguments.id, amount: 1", ", optional: true, timeout: 1s")) == []
    only(tool(capture("id: $result.id, amount: 1")), "invalid-template", 16, "no result before the call")
    only(tool(capture("id: $arguments.id")), "missing-argument", 16)
    only(tool(capture("id: a, amount: 1").replace("refund", "refnd")), "unknown-tool", 16)
    only(tool(capture("id: a").replace("refund", "find")), "contradiction", 16, "cannot take anything back")
    both = capture("id: a, amount: 1") + "    undo: {tool: refund, arguments: {id: a, amount: 1}}\n"
    only(tool(both), "contradiction", 16, "there is an `undo`, and a `capture`")
    hard = TOOLS.replace("compensable", "irreversible") + capture("id: a, amount: 1")
    only(problems(contracts_yaml=hard), "contradiction", 16, "there is a `capture`")


def test_one_broken_contract_does_not_make_its_name_unknown() -> None:
    broken = TOOLS.replace("kind: pay", "kind: pya")
    only(
        problems(contracts_yaml=broken, intent_yaml=INTENT.replace("measures: [m]", "never: x, tools: [refund]")),
        "unknown-value",
        10,
    )
    only(
        problems(contracts_yaml="tools: [\n", intent_yaml=INTENT.replace("measures: [m]", "never: x, tools: [refund]")),
        "yaml-syntax",
        2,
    )


def test_a_charter_that_permits_nothing_is_warned_about() -> None:
    files = dict(WHOLE)
    del files["policies/p.cedar"]
    charter, found = parse_charter(files)
    assert charter is not None
    assert [problem.code for problem in found] == ["no-policies"]


def test_text_that_has_no_utf8_form_is_refused() -> None:
    charter, found = parse_charter({**WHOLE, "policies/p.cedar": POLICY + "// \ud800\n"})
    assert charter is None
    errors = [problem for problem in found if problem.severity == "error"]
    assert [(problem.file, problem.line) for problem in errors] == [("policies/p.cedar", 2)]


# ── digests ───────────────────────────────────────────────────────────────────────────────────────────────────────


def digest(files: dict[str, str]) -> str:
    charter, found = parse_charter(files)
    assert charter is not None, found
    return charter.digest


def test_the_digest_does_not_see_how_it_is_written(tmp_path: Path) -> None:
    reference = digest(WHOLE)
    assert digest(dict(reversed(WHOLE.items()))) == reference
    assert digest({**WHOLE, "charter.yaml": "# hello\n\n" + "\n".join(reversed(ABOUT.splitlines()))}) == reference
    assert digest({**WHOLE, "charter.yaml": ABOUT + "tier: write\nbaseline: balanced\n"}) == reference
    moved = {name: text for name, text in WHOLE.items() if name != "policies/p.cedar"}
    assert digest({**moved, "policies/elsewhere.cedar": "// note\n" + POLICY.replace(" ", "  \n")}) == reference
    for name, text in WHOLE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    charter, _ = read_charter(tmp_path)
    assert charter is not None
    assert charter.digest == reference


def test_the_digest_does_not_see_the_order_of_parts() -> None:
    one, two = ("{id: one, statement: s, owner: o, measures: [m]}", "{id: two, statement: s, owner: o, measures: [m]}")
    case = "{name: %s, call: {tool: find}, expect: {verdict: held}}"
    policy = POLICY.replace("charter/p", "charter/q")
    first = {
        **WHOLE,
        "intent.yaml": f"clauses: [{one}, {two}]",
        "cases/a.yaml": f"cases: [{case % 'a'}, {case % 'b'}]",
        "policies/p.cedar": POLICY + policy,
    }
    second = {
        **WHOLE,
        "intent.yaml": f"clauses: [{two}, {one}]",
        "cases/a.yaml": f"cases: [{case % 'b'}]",
        "cases/b.yaml": f"cases: [{case % 'a'}]",
        "policies/p.cedar": policy,
        "policies/q.cedar": POLICY,
    }
    assert digest(first) == digest(second)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("charter.yaml", "roles: [lead]", "roles: [lead, boss]"),
        ("charter.yaml", "agent: support", "agent: support2"),
        ("charter.yaml", "roles: [lead]\n", "roles: [lead]\nbaseline: strict\n"),
        ("contracts.yaml", "unit: USD", "unit: EUR"),
        ("contracts.yaml", "[A-Z]+", "[A-Z]*"),
        ("contracts.yaml", "effect: compensable", "effect: irreversible"),
        ("intent.yaml", "statement: s", "statement: t"),
        ("policies/p.cedar", "permit", "forbid"),
        ("policies/p.cedar", "charter/p", "charter/ p"),
        ("policies/p.cedar", "resource);", "resource) when { 1 == 1 };"),
    ],
)
def test_the_digest_sees_what_changes_meaning(name: str, old: str, new: str) -> None:
    assert old in WHOLE[name]
    assert digest({**WHOLE, name: WHOLE[name].replace(old, new)}) != digest(WHOLE)


def test_companion_files_count() -> None:
    reference = digest(WHOLE)
    for name, text in (("prompts/a.md", "Be kind."), ("metrics.yaml", "a: 1"), ("scenarios/s.yaml", "x: [1]")):
        with_it = digest({**WHOLE, name: text})
        assert with_it != reference
        assert digest({**WHOLE, name: text + "\n"}) == with_it
        assert digest({**WHOLE, name: text.replace("1", "2").replace("kind", "brief")}) != with_it
    assert digest({**WHOLE, "metrics.yaml": "a: 1"}) == digest({**WHOLE, "metrics.yaml": "# x\n{a: 1}"})


def test_a_policy_split_differently_is_another_policy() -> None:
    def of(text: str) -> str:
        charter, _ = parse_charter(WHOLE)
        assert charter is not None
        return Charter.build(charter.about, charter.contracts, policies=[PolicySource(file="p", text=text)]).digest

    assert of('"a b"') != of('"a  b"')
    assert of("a == b") == of("a==b") != of("a = = b")
    assert of('"x // y";') != of('"x";')
    assert of("a;b;") == of("b; a;")


def test_another_baseline_is_another_charter() -> None:
    charter, _ = parse_charter(WHOLE)
    assert charter is not None
    strict = charter.with_baseline("strict")
    assert strict.about.baseline == "strict"
    assert strict.digest != charter.digest
    assert strict.with_baseline("balanced") == charter
    assert strict.digest == digest({**WHOLE, "charter.yaml": ABOUT + "baseline: strict\n"})


def test_who_is_asked_next_is_a_declared_role() -> None:
    about = "agent: a\nowners: {responsible: me, accountable: you}\ntier: chat\nroles: [finance-lead]\n"
    asked = about + "oversight:\n  escalate_after: 1h\n  escalate_to: ROLE\n"
    _, problems = parse_charter({"charter.yaml": asked.replace("ROLE", "finance-laed")})
    (problem,) = [each for each in problems if each.severity == "error"]
    assert (problem.line, problem.code, problem.fix) == (7, "unknown-role", "did you mean `finance-lead`?")
    for role in ("finance-lead", "operator"):
        charter, problems = parse_charter({"charter.yaml": asked.replace("ROLE", role)})
        assert charter is not None, problems
