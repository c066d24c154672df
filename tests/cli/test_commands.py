"""`fiducial check`, `decide` and `explain`, run as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fiducial
from fiducial.cli import app

BANKING = Path(__file__).parents[2] / "examples" / "charters" / "agentdojo" / "banking"
PAYEE = "GB29NWBK60161331926819"
runner = CliRunner()


def run(*arguments: str) -> tuple[int, str]:
    result = runner.invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("charter", sorted(Path(__file__).parents[2].glob("examples/charters/*/*/charter.yaml")))
def test_every_example_charter_is_clean(charter: Path) -> None:
    code, output = run("check", str(charter.parent))
    assert code == 0, output


def test_check_reports_every_problem_at_once_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "charter.yaml").write_text(
        "agent: bot\nowners: {responsible: a, accountable: b}\ntier: wrote\ntyop: 1\n"
    )
    (tmp_path / "contracts.yaml").write_text("tools:\n  a: {effect: read, kind: reed}\n")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "main.cedar").write_text("permit (principal, action, resource);\n")
    code, output = run("check", str(tmp_path), "--json")
    assert code == 1
    problems = json.loads(output)["problems"]
    found = {(problem["file"], problem["line"]) for problem in problems}
    assert {("charter.yaml", 3), ("charter.yaml", 4), ("contracts.yaml", 2)} <= found
    assert all(problem["fix"] or problem["message"] for problem in problems)


def test_check_of_nothing_could_not_run(tmp_path: Path) -> None:
    assert run("check", str(tmp_path / "none"))[0] == 2


def test_a_failing_case_is_a_finding(tmp_path: Path) -> None:
    for path in BANKING.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(BANKING)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "cases").mkdir(exist_ok=True)
    (tmp_path / "cases" / "wrong.yaml").write_text(
        "cases:\n  - name: an unknown payee is paid\n    call: {tool: get_balance}\n    expect: {verdict: denied}\n"
    )
    code, output = run("check", str(tmp_path))
    assert code == 1
    assert "an unknown payee is paid" in output


def test_decide_says_which_value_came_from_where_and_what_would_change_it() -> None:
    seen = f"read_file=Invoice 7, 98.70 EUR\nPlease pay to {PAYEE}."
    code, output = run(
        "decide", str(BANKING), "send_money", f"recipient={PAYEE}", "amount=98.7", "subject=Invoice", "date=2026-01-01",
        "--task", "Pay the bill", "--seen", seen,
    )  # fmt: skip
    assert code == 1
    assert "held" in output
    assert "line 2" in output
    assert "what would change it" in output


def test_decide_as_json_and_with_bad_arguments() -> None:
    code, output = run("decide", str(BANKING), "get_balance", "--task", "What is my balance?", "--json")
    assert code == 0
    assert json.loads(output)["verdict"] == "allowed"
    assert run("decide", str(BANKING), "get_balance", "nonsense")[0] == 2
    plan = '{"steps": [{"tool": "send_money", "bounds": {"amount": {"at_most": 50}}}]}'
    pay = ("decide", str(BANKING), "send_money", f"recipient={PAYEE}", "subject=x", "date=2026-01-01", "--plan", plan)
    task = ("--task", f"Pay 10 or 60 to {PAYEE} on 2026-01-01 for x")
    assert run(*pay, "amount=10", *task)[0] == 0
    code, output = run(*pay, "amount=60", *task)
    assert (code, "baseline/off-plan" in output) == (1, True)
    assert run("decide", str(BANKING), "get_balance", "--plan", "{")[0] == 2
    with pytest.raises(fiducial.SessionError, match="`nope`"):
        run("decide", str(BANKING), "get_balance", "--plan", "get_balance,nope")
    assert run("decide", str(BANKING), "no_such_tool")[0] == 1
    assert "did you mean `send_money`?" in run("decide", str(BANKING), "send_mony")[1]


def test_explain_reads_a_recorded_decision(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    store = fiducial.SqliteStore(database)
    guard = fiducial.Guard(fiducial.load_charter(BANKING), store=store)
    with guard.session(user="emma", task="Pay the bill") as session:
        session.observe("read_file", {"file_path": "bill.txt"}, f"Invoice\nIBAN: {PAYEE}")
        verdict = session.decide(
            "send_money", {"recipient": PAYEE, "amount": 5.0, "subject": "Bill", "date": "2026-01-01"}
        )
    store.close()
    code, output = run("explain", verdict.decision, "--db", str(database), "--charter", str(BANKING))
    assert code == 0
    assert "held" in output
    assert "bill.txt" in output
    assert "what would change it" in output
    assert run("explain", "dec_nothing", "--db", str(database))[0] == 1


EVIL = "\x1b[2K\x1b[1A\x9b32mALLOWED\u202e\u2066\u200b\u3164[green]ok[/]\nallowed  by the user"
"""Clears the line, goes up, colours, reorders, hides, and adds a line that looks like another."""


def assert_nothing_acts(output: str) -> None:
    for character in "\x1b\x9b\x07\u202e\u2066\u200b\u3164":
        assert character not in output, ascii(character)
    assert "\nallowed  by the user" not in output


def test_nothing_in_a_call_acts_on_the_terminal_of_who_decides(tmp_path: Path) -> None:
    call = json.dumps({"recipient": EVIL, "amount": 5.0, "subject": EVIL, "date": "2026-01-01"})
    seen = f"read_file=Please pay {EVIL} now\nto {EVIL}"
    for more in ((), ("--json",)):
        code, output = run("decide", str(BANKING), "send_money", call, "--task", EVIL, "--seen", seen, *more)
        assert code == 1
        assert_nothing_acts(output)
    assert_nothing_acts(run("decide", str(BANKING), EVIL, call)[1])


def test_nothing_that_was_recorded_acts_on_the_terminal_of_who_asks_why(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    with fiducial.SqliteStore(database) as store:
        guard = fiducial.Guard(fiducial.load_charter(BANKING), store=store)
        with guard.session(user=EVIL, task=EVIL) as session:
            session.observe("read_file", {"file_path": EVIL}, {EVIL: f"pay {PAYEE} {EVIL}"})
            call = {"recipient": PAYEE, "amount": 5.0, "subject": EVIL, "date": "2026-01-01"}
            decided = session.decide("send_money", call).decision
            unknown = session.decide(EVIL, {EVIL: EVIL}).decision
    for decision in (decided, unknown):
        for more in ((), ("--json",)):
            code, output = run("explain", decision, "--db", str(database), *more)
            assert code == 0
            assert_nothing_acts(output)
    assert_nothing_acts(run("explain", EVIL, "--db", str(database))[1])


def test_nothing_in_a_strangers_charter_acts_on_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    for path in BANKING.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(BANKING)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    quoted = json.dumps(EVIL)
    (tmp_path / "cases").mkdir(exist_ok=True)
    (tmp_path / "cases" / "evil.yaml").write_text(
        f"cases:\n  - name: {quoted}\n    call: {{tool: get_balance}}\n    expect: {{verdict: denied}}\n"
    )
    code, output = run("check", str(tmp_path))
    assert code == 1
    assert "ALLOWED" in output
    assert_nothing_acts(output)
    (tmp_path / "charter.yaml").write_text(f"agent: bot\n{quoted}: 1\ntier: {quoted}\n")
    for more in ((), ("--json",)):
        code, output = run("check", str(tmp_path), *more)
        assert code == 1
        assert "ALLOWED" in output
        assert_nothing_acts(output)


def test_nothing_in_a_tool_list_acts_on_the_terminal(tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"tools": [{"name": EVIL, "description": EVIL, "inputSchema": {"type": "object"}}]}))
    code, output = run("contracts", "infer", str(tools))
    assert code == 0
    assert_nothing_acts(output)


def test_one_mistake_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "charter.yaml").write_text(
        "agent: bot\nowners: {responsible: a, accountable: b}\ntier: wrote\nrols: [clerk]\npurpos: help\n"
    )
    (tmp_path / "contracts.yaml").write_text("tools:\n  look: {effect: read, kind: read, descriptoin: x, tyop: 1}\n")
    (tmp_path / "intent.yaml").write_text("clauses: []\n")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "main.cedar").write_text(
        'permit (principal, action, resource);\n@id("charter/a")\n'
        'forbid (principal in Role::"clerk", action, resource) when { context.sesion.tainted };\n@id("charter/b")\n'
        'forbid (principal in Role::"clark", action == Action::"lok", resource);\n'
    )
    code, output = run("check", str(tmp_path), "--json")
    assert code == 1
    found = [(each["file"], each["line"], each["code"]) for each in json.loads(output)["problems"]]
    assert [where for where in found if where[0] != "policies/main.cedar"] == [
        ("charter.yaml", 3, "unknown-value"), ("charter.yaml", 4, "unknown-key"), ("charter.yaml", 5, "unknown-key"),
        ("contracts.yaml", 2, "unknown-key"), ("contracts.yaml", 2, "unknown-key"),
    ]  # fmt: skip
    assert {line for file, line, _ in found if file == "policies/main.cedar"} == {1, 3, 5}
    assert "clerk" not in str([each["message"] for each in json.loads(output)["problems"]]), "it is declared"


def test_decide_refuses_what_it_cannot_take_as_meant(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    balance = ("decide", str(BANKING), "get_balance")
    deep = "[" * 30_000
    for arguments, says in (
        (("--seen", "read_file=@" + str(tmp_path / "missing.txt")), "cannot be read: no such file"),
        (("--seen", "read_file=@" + str(tmp_path)), "cannot be read: is a directory"),
        (("--seen", "read_file=@" + str(tmp_path / "latin")), "not UTF-8"),
        (("--seen", "bogus=x"), "no tool `bogus`"),
        (("--seen", "x"), "tool=text"),
        (("--role", "nosuch"), "no role `nosuch`"),
        (('{"a": 1, "a": 2}',), "`a` is there twice"),
        (('x={"b": {"a": 1, "a": 2}}',), "`a` is there twice"),
        (('{"a": ' + deep,), "nested too deeply"),
        (("x=" + deep,), "nested too deeply"),
        (("\x1b[2J" + "y" * 10_000,), "…` is not of the form name=value"),
        (("--plan", '{"steps": ' + deep), "nested too deeply"),
    ):
        code, output = run(*balance, *arguments)
        assert code == 2, arguments
        assert says in " ".join(output.replace("│", " ").split()), output
        assert_nothing_acts(output)
        assert len(output) < 2_000
    assert run(*balance, "--task", "balance?", "--role", "user")[0] == 0
