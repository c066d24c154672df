"""`fiducial init`: the beginnings of a charter, explained line by line, ready to pass `fiducial check`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fiducial.charter.contracts import Contract
from fiducial.charter.draft import draft_contracts
from fiducial.charter.infer import infer_contracts
from fiducial.charter.packs.shipped import load_pack
from fiducial.charter.yaml import is_plain
from fiducial.cli.contracts import HEADER, read_tool_list, write_new
from fiducial.errors import CharterError, Problem

_AGENT = re.compile(r"[a-z][a-z0-9-]{0,63}")


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="CHARTER", help="Where the charter goes; made if it is not there.")
    ],
    from_tools: Annotated[
        Path | None, typer.Option("--from-tools", help="Draft contracts from an MCP `tools/list` result or OpenAPI 3.")
    ] = None,
    pack: Annotated[
        list[str] | None, typer.Option(help="Take the contracts of this pack; may be repeated. See `fiducial packs`.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="The agent's id; default: the directory's name.")] = None,
) -> None:
    """Scaffold a charter with explanations: who answers, what must never happen, tools, rules and cases.

    Nothing is ever written over. Exit status: 0 written, 2 could not run.
    """
    name = agent if agent is not None else _id(directory.resolve().name)
    if not _AGENT.fullmatch(name):
        message = "the agent's id is not usable"
        raise CharterError([Problem("", 0, "invalid-value", message, "use lower-case letters, digits and hyphens")])
    contracts = infer_contracts(read_tool_list(from_tools)) if from_tools is not None else None
    files = scaffold(name, contracts, pack or ())
    taken = [file for file in files if (directory / file).exists()]
    if taken:
        fix = "name another directory, or move what is there"
        raise CharterError(
            [
                Problem(str(directory / file), 0, "file-exists", "is there already, and is never written over", fix)
                for file in taken
            ]
        )
    for file, text in files.items():
        write_new(directory / file, text)
    typer.echo(f"A charter for `{name}` is in {directory}. Read it, file by file, then run: fiducial check {directory}")


def scaffold(agent: str, contracts: dict[str, Contract] | None = None, packs: Sequence[str] = ()) -> dict[str, str]:
    """The files of a first charter for `agent`: path → text.

    With no `contracts` and no `packs`, two example tools are written; of `contracts`, those that no pack describes.
    Raises `CharterError` for a pack that is not there.
    """
    described = [tool for name in packs for tool in load_pack(name).contracts]
    own = contracts is not None or bool(packs)
    rest = {name: contract for name, contract in (contracts or {}).items() if name not in described}
    drafted = HEADER + draft_contracts(rest) if contracts is not None else ""
    return {
        "charter.yaml": _CHARTER.format(agent=agent),
        "intent.yaml": _INTENT_OWN if own else _INTENT,
        "contracts.yaml": _packs(packs) + drafted if own else _CONTRACTS,
        "policies/main.cedar": _POLICIES + ("" if own else _POLICY_EXAMPLE),
        "cases/first.yaml": _cases_own([*described, *rest]) if own else _CASES,
    }


def _packs(names: Sequence[str]) -> str:
    return _PACKS + "".join(f"  - {name}\n" for name in names) + "\n" if names else ""


def _id(text: str) -> str:
    """`text` as an agent's id; `agent` when nothing of it can be one."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-").lstrip("0123456789-")[:64]
    return slug or "agent"


def _cases_own(contracts: Collection[str]) -> str:
    """Two cases that hold for any tools: an unknown tool, and an argument that no parameter declares."""
    if not contracts:
        return _CASES_HEADER + _CASE_UNKNOWN
    tool = next(iter(contracts))
    shown = tool if is_plain(tool) else f"'{tool.replace(chr(39), chr(39) * 2)}'"
    return _CASES_HEADER + _CASE_UNKNOWN + _CASE_ARGUMENT.format(tool=shown)


_CHARTER = """\
# Who this agent is, who answers for it, and what it may use up. Every key is described in docs/settings.md.
agent: {agent}
purpose: ""               # one sentence: what the agent is for

# People or teams, not systems. `responsible` does the work, `accountable` answers for it.
owners:
  responsible: unassigned
  accountable: unassigned

# chat: no tools · read: changes nothing · write: acts for a user · autonomous: acts on nobody's behalf
tier: write

# The rules that ship with Fiducial. balanced: stops what third-party text asks for. strict: asks more often.
baseline: balanced

# Roles that users and approvers may have. A policy or clause that names another one is refused.
roles: [user, operator, finance-lead]

# Mail domains and hosts that count as inside, such as example.com.
organization: []

budgets:
  session: {{calls: 200, writes: 50}}
"""

_INTENT_HEADER = """\
# What must, and must never, happen. A clause is one sentence that people agreed to, with one condition in Cedar.
#   never                    no allowed call may meet the condition: proved, enforced, tested and observed
#   never_without_approval   a call that meets it waits for the people of `approval` (role, or role:how-many)
#   measures                 for what cannot be formal, such as tone: the metrics that carry it
# Conditions read the call (`context.input.NAME`) and the facts about it (docs/facts.md).
clauses:
  - id: no-credentials-in-public
    statement: Passwords, codes and keys never become public.
    source: information security policy
    harmed: [whoever the credentials belong to]
    severity: critical
    owner: unassigned
    contest: Write to the owner; there are no exceptions.
    never: >-
      context.flow.classes.containsAny(["credentials", "secrets"]) && context.flow.audience == "public"

"""

_INTENT_LAST = """\
  - id: answers-are-honest
    statement: The assistant says what it does not know, and never claims to have done what it has not done.
    harmed: [users]
    owner: unassigned
    measures: [share of answers that graders find unfounded]
"""

_INTENT = (
    _INTENT_HEADER
    + """\
  - id: large-refunds-are-approved
    statement: A refund of more than 100 dollars is approved by a finance lead.
    source: refund policy
    harmed: [the shop]
    severity: high
    owner: unassigned
    contest: Ask the finance team.
    tools: [refund_order]
    never_without_approval: context.input.amount > 10000    # money is in minor units: cents
    approval: finance-lead

"""
    + _INTENT_LAST
)

_INTENT_OWN = (
    _INTENT_HEADER
    + """\
  - id: many-changes-are-approved
    statement: After twenty changes in one session, an operator approves whatever comes next.
    harmed: [whoever the changes concern]
    owner: unassigned
    contest: Ask an operator.
    never_without_approval: context.session.writes >= 20
    approval: operator

"""
    + _INTENT_LAST
)

_CONTRACTS = """\
# What each tool can do, stated without reference to any task. Draft yours with `fiducial contracts infer tools.json`.
#   effect     read · reversible · compensable · irreversible: what remains after it has run
#   kind       read fetch create update delete send publish pay book grant revoke authenticate credential deploy execute
#   role       target: where or on whom it acts · magnitude: how much, or when · content: what is written · option: how
#   output     trusted: the system's own records, by path; what you do not list could have been written by anyone
#   asked_by   words by which users ask for it, all in one sentence
tools:
  find_order:
    description: Looks up an order, with the customer's note on it.
    effect: read
    kind: read
    server: shop
    parameters:
      order_id: {role: option, type: string, pattern: "^ORD-[0-9]{4,10}$"}
    output:
      trusted: [$.order_id, $.status, $.total]    # not $.note: the customer wrote it
    asked_by: [order]

  refund_order:
    description: Pays an order's money back to the customer. It cannot be called back.
    effect: irreversible
    kind: pay
    server: shop
    audience: third_party
    cost: amount
    parameters:
      order_id: {role: target, type: string, pattern: "^ORD-[0-9]{4,10}$", entity: id}
      amount: {role: magnitude, type: number, minimum: 0.01, unit: USD}
    output:
      trusted: [$.refund_id, $.amount]
    asked_by: [refund, money back]
"""

_PACKS = """\
# Contracts that ship with Fiducial, by name: read them with `fiducial packs show NAME`. What stands under `tools:` here
# is said instead of what a pack says of the same tool.
packs:
"""

_POLICIES = """\
// The rules, in Cedar (https://docs.cedarpolicy.com). Each needs an @id of its own that begins with charter/.
// Action groups: declared (every tool here), side_effect (all but reads), each effect and each kind.
// @reason("…") is shown to whoever reads a verdict; @hold("role") lets people of that role approve what a forbid stops.

@id("charter/permit-declared")
permit (principal, action in Action::"declared", resource);

// What cannot be undone waits for a person when nobody said on whom or where it acts: the model made the target up, or
// it was disguised. The balanced profile asks only once text that others wrote has been read. Drop this rule if your
// agent has to choose such targets itself; the strict profile asks before every change.
@id("charter/irreversible-on-unknown-waits")
@reason("it cannot be undone, and on whom or where it acts was found nowhere")
@hold("operator")
forbid (principal, action in Action::"declared", resource)
when { action in Action::"irreversible" && !context.flow.unknown_targets.isEmpty() };

@id("charter/critical-risk-waits")
@reason("too much could go wrong, and text that others wrote has been read")
@hold("operator")
forbid (principal, action in Action::"declared", resource)
when { context.session.tainted && context.risk.level >= 4 };
"""

_POLICY_EXAMPLE = """
@id("charter/refunds-are-small")
@reason("a refund of more than 5,000 dollars is never made by the assistant")
forbid (principal, action == Action::"refund_order", resource)
when { context.input.amount > 500000 };
"""

_CASES_HEADER = """\
# The charter's own unit tests: a call, what the session has seen before it, and the verdict it must get.
# `fiducial check` runs them. Write one for every rule, and one for every time you were surprised.
cases:
"""

_CASE_UNKNOWN = """\
  - name: a tool that nobody described is denied
    call: {tool: no_such_tool}
    expect: {verdict: denied, fault: unknown-tool}
"""

_CASE_ARGUMENT = """
  - name: an argument that no parameter declares is denied
    call:
      tool: {tool}
      arguments: {{no_such_argument: 1}}
    expect: {{verdict: denied, fault: bad-arguments}}
"""

_CASES = (
    _CASES_HEADER
    + """\
  - name: a small refund that the user asked for
    given:
      task: Please refund 20 dollars of order ORD-1234.
    call:
      tool: refund_order
      arguments: {order_id: ORD-1234, amount: 20}
    expect: {verdict: allowed}

  - name: a refund of an order that nobody named waits for an operator
    given:
      task: Please refund 20 dollars.
    call:
      tool: refund_order
      arguments: {order_id: ORD-9999, amount: 20}
    expect: {verdict: held}

  - name: a large refund waits for a finance lead
    given:
      task: Please refund 120 dollars of order ORD-1234.
    call:
      tool: refund_order
      arguments: {order_id: ORD-1234, amount: 120}
    expect: {verdict: held}

"""
    + _CASE_UNKNOWN
)
