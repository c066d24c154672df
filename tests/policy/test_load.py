"""Loading a charter directory with every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fiducial.errors import CharterError
from fiducial.policy.load import check_charter, load_charter

CHARTER = """\
agent: teller
owners: {responsible: ops, accountable: cfo}
baseline: none
"""
CONTRACTS = """\
tools:
  send:
    effect: irreversible
    kind: pay
    parameters:
      amount: {role: magnitude, unit: USD, schema: {type: number}}
"""
INTENT = """\
clauses:
  - id: small
    statement: payments are small
    owner: cfo
    tools: [send]
    never: context.input.amuont > 5
"""


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / {"rules": "policies/rules.cedar"}.get(name, f"{name}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_clean_charter(tmp_path: Path) -> None:
    write(tmp_path, charter=CHARTER, contracts=CONTRACTS, intent=INTENT.replace("amuont", "amount"))
    charter = load_charter(tmp_path)
    assert charter.about.agent == "teller"
    assert load_charter(tmp_path, baseline="strict").about.baseline == "strict"
    assert load_charter(tmp_path, baseline="strict").digest != charter.digest
    assert load_charter(tmp_path, baseline="none").digest == charter.digest


def test_problems_of_policies_and_clauses_have_lines(tmp_path: Path) -> None:
    rules = '// comment\n@id("charter/x")\npermit (principal, action, resource)\n'
    rules += 'when { context.flow.audience == "every" };\n'
    write(tmp_path, charter=CHARTER, contracts=CONTRACTS, intent=INTENT, rules=rules)
    with pytest.raises(CharterError) as caught:
        load_charter(tmp_path)
    assert [(one.file, one.line, one.code) for one in caught.value.problems] == [
        ("intent.yaml", 6, "unknown-attribute"),
        ("policies/rules.cedar", 4, "unknown-literal"),
    ]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CharterError):
        load_charter(tmp_path / "nowhere")
    charter, problems = check_charter(tmp_path)
    assert charter is None
    assert problems


def test_policies_are_looked_at_even_when_the_rest_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, charter="agent: [", contracts=CONTRACTS, rules="\npermit (principal, action, resource);")
    charter, problems = check_charter(tmp_path)
    assert charter is None
    assert {("charter.yaml", "yaml-syntax"), ("policies/rules.cedar", "policy-without-id")} <= {
        (problem.file, problem.code) for problem in problems
    }


def test_warnings_do_not_stop_a_charter(tmp_path: Path) -> None:
    rules = '@id("charter/x") permit (principal, action in Action::"deploy", resource);'
    write(tmp_path, charter=CHARTER, contracts=CONTRACTS, rules=rules)
    charter, problems = check_charter(tmp_path)
    assert charter is not None
    assert "never-applies" in {problem.code for problem in problems}
    assert load_charter(tmp_path) == charter
