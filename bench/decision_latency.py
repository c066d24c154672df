"""How long one decision takes, beside the bare policy engine and peers, in one run.

    python bench/decision_latency.py [--json] [--repeat N]

Thread-CPU time, median and 99th percentile, in microseconds. Every competitor decides the same call in turn, round
after round, so that a machine whose speed drifts slows all of them alike; compare ratios, not absolutes.

cedarpy             the same policies, the same pruned request, pre-parsed handles, public API
cedarpy, sliced     the same, with only the policies that can apply to the tool
cedarpy, unsliced   all policies and the whole context, as someone without slicing would ask
fiducial            all steps of `session.decide`: schema check, provenance of every argument, facts, policies, verdict
                    and its record, which the store in memory keeps as it is; the same call again and again, as for all
                    the others, so that the guard may remember what the policies said to it
fiducial, new       the same where no two calls are alike, so that every one of them reaches the engine
agt                 agent-governance-toolkit-core, `govern()` with as many rules
invariant           invariant-ai, one flow rule, on a trace of 20 messages
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import cedarpy
import msgspec
from rich.console import Console
from rich.table import Table

import reports
from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.canonical import digest
from fiducial.guard.drivers import drive
from fiducial.guard.guard import Guard
from fiducial.guard.judgement import Request
from fiducial.guard.steps import judge

POLICIES = (1, 20, 200)
MESSAGES = (10, 1_000, 10_000)
TOOLS = 10
NEW = "fiducial, new"
PAYEE = "DE89370400440532013000"
TASK = f"Please pay 98.70 EUR to {PAYEE} for the car rental and tell me when it is done."
VALUES = 64
"""Payees, amounts and subjects that the user names where no two calls are alike; all pairs are used."""


def charter(count: int) -> Charter:
    """`count` policies over `TOOLS` tools: one permit, a fifth about all side effects, the rest about one each."""
    contract = {
        "effect": "irreversible",
        "kind": "pay",
        "audience": "third_party",
        "asked_by": ["pay", "send money"],
        "parameters": {
            "recipient": {"role": "target", "entity": "account"},
            "amount": {"role": "magnitude", "unit": "EUR", "schema": {"type": "number"}},
            "subject": {"role": "content"},
        },
    }
    contracts = {f"pay_{index}": Contract.model_validate(contract) for index in range(TOOLS)}
    rules = ['@id("charter/permit") permit (principal, action, resource);']
    conditions = (
        "context.input.amount > {limit}",
        'context.flow.untrusted_targets.contains("recipient")',
        'context.session.tainted && context.flow.unknown_targets.contains("recipient")',
        'context.input.recipient like "XX{index}*"',
        "context.intent.forbidden && context.input.amount > {index}",
    )
    for index in range(1, count):
        scope = 'action in Action::"side_effect"' if index % 5 == 0 else f'action == Action::"pay_{index % TOOLS}"'
        condition = conditions[index % len(conditions)].format(limit=10_000_000 + index, index=index)
        rules.append(f'@id("charter/rule-{index}") forbid (principal, {scope}, resource) when {{ {condition} }};')
    text = "\n".join(rules)
    about = About(agent="bench", owners=Owners(responsible="r", accountable="a"), baseline="none")
    return Charter(
        about=about,
        contracts=contracts,
        policies=(PolicySource(file="policies/bench.cedar", text=text),),
        digest=digest([text]),
    )


def fill(session: Any, messages: int) -> None:
    """Make the session `messages` long: alternating untrusted mails and short notes by the user."""
    for number in range(messages):
        if number % 10 == 9:
            session.say(f"Note {number}: keep the receipts of week {number % 52} in folder {number}.")
        else:
            session.observe(
                "pay_1",
                {"recipient": PAYEE, "amount": 1, "subject": "note"},
                f"Message {number} from customer-{number}@example.org: invoice {number * 7919} over {number}.50 EUR, "
                f"please use account GB{number:020d} and reply before the end of month {number % 12 + 1}.",
            )


class Timing:
    """Thread-CPU times of one competitor."""

    def __init__(self, name: str, run: Callable[[], Any]) -> None:
        self.name, self.run, self.times = name, run, list[float]()

    def once(self, calls: int) -> None:
        """Time `calls` calls, each by itself."""
        run, clock, times = self.run, time.thread_time_ns, self.times
        for _ in range(calls):
            start = clock()
            run()
            times.append((clock() - start) / 1000)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def p99(self) -> float:
        return sorted(self.times)[int(len(self.times) * 0.99)]


def race(competitors: list[Timing], *, rounds: int, calls: int) -> None:
    """Time all of them in turn, with the collector off during a turn."""
    for competitor in competitors:
        for _ in range(20):
            competitor.run()
    for _ in range(rounds):
        for competitor in competitors:
            gc.collect(0)
            gc.disable()
            competitor.once(calls)
            gc.enable()


def guarded(count: int, messages: int) -> tuple[Any, Callable[[], Any]]:
    """A session of that length under that many policies, and one decision in it."""
    guard = Guard(charter(count))
    session = guard.session(user="emma", task=TASK)
    fill(session, messages)
    arguments = {"recipient": PAYEE, "amount": 98.7, "subject": "car rental"}
    verdict = session.decide("pay_3", arguments)
    assert verdict.kind == "allowed", verdict
    return session, lambda: session.decide("pay_3", arguments)


def renewed(count: int) -> Callable[[], Any]:
    """One decision under that many policies, on another call each time; the user has named every value in it."""
    payees = [f"DE{89_370_400_440_532_013_000 + index:020d}" for index in range(VALUES)]
    amounts = [100 + index + 0.25 for index in range(VALUES)]
    subjects = [f"rental {index}" for index in range(VALUES)]
    session = Guard(charter(count)).session(
        user="emma",
        task="Please pay these in instalments: "
        + "; ".join(
            f"{amount} EUR to {payee} for `{subject}`"
            for payee, amount, subject in zip(payees, amounts, subjects, strict=True)
        ),
    )
    fill(session, 10)
    combinations = itertools.product(payees, amounts)

    def decide() -> Any:
        payee, amount = next(combinations)
        return session.decide("pay_3", {"recipient": payee, "amount": amount, "subject": subjects[0]})

    assert decide().kind == "allowed"
    return decide


def bare(session: Any) -> dict[str, Callable[[], Any]]:
    """cedarpy asked directly, three ways."""
    tool = session.tools["pay_3"]
    arguments = {"recipient": PAYEE, "amount": 98.7, "subject": "car rental"}
    judgement = drive(judge(session, Request(tool="pay_3", arguments=arguments)))
    facts = judgement.facts
    principal = session.principal
    every = session.rulebook.policy_set()
    pruned = tool.slice.request(principal, tool.slice.encode_context(arguments, facts))
    whole = {
        **{group: _whole(getattr(facts, group)) for group in facts.__struct_fields__},
        "approvals": [],
        "input": {"recipient": PAYEE, "amount": 9870, "subject": "car rental"},
    }
    full = tool.slice.request(principal, json.dumps(whole))
    entities = principal.entities
    for request, policies in ((pruned, every), (pruned, tool.slice.policy_set), (full, every)):
        assert cedarpy.is_authorized(request, policies, entities).allowed
    return {
        "cedarpy": lambda: cedarpy.is_authorized(pruned, every, entities),
        "cedarpy, sliced": lambda: cedarpy.is_authorized(pruned, tool.slice.policy_set, entities),
        "cedarpy, unsliced": lambda: cedarpy.is_authorized(full, every, entities),
    }


def _whole(group: msgspec.Struct) -> dict[str, Any]:
    """Every fact of a group, those at their defaults too."""
    facts = msgspec.structs.asdict(group)
    return {name: sorted(fact) if isinstance(fact, frozenset) else fact for name, fact in facts.items()}


def agt(count: int) -> Callable[[], Any] | None:
    """agent-governance-toolkit-core with as many rules, none of which fires; `None` when it is not installed."""
    try:
        from agentmesh.governance import govern
    except ImportError:
        return None
    rules = [
        {"name": f"rule-{index}", "condition": f"recipient == 'XX{index}'", "action": "deny"} for index in range(count)
    ]
    policy = {
        "apiVersion": "governance.toolkit/v1",
        "name": "bench",
        "agents": ["*"],
        "rules": rules,
        "default_action": "allow",
    }
    governed = govern(lambda **arguments: True, policy=json.dumps(policy))
    return lambda: governed(recipient=PAYEE, amount=98.7, subject="car rental")


def invariant() -> Callable[[], Any] | None:
    """invariant-ai with one flow rule on 20 messages, or `None` when it is not installed."""
    try:
        from invariant.analyzer import LocalPolicy
    except ImportError:
        return None
    policy = LocalPolicy.from_string(
        'raise "leak" if:\n    (a: ToolOutput) -> (b: ToolCall)\n    a is tool:read_file\n'
        '    b is tool:pay_3({recipient: "^XX"})\n'
    )
    trace: list[dict[str, Any]] = [{"role": "user", "content": TASK}]
    while len(trace) < 19:
        number = str(len(trace))
        call = {"id": number, "type": "function", "function": {"name": "read_file", "arguments": {"path": number}}}
        trace.append({"role": "assistant", "content": "", "tool_calls": [call]})
        trace.append({"role": "tool", "tool_call_id": number, "content": f"invoice {number}"})
    last = {"recipient": PAYEE, "amount": 98.7, "subject": "car rental"}
    call = {"id": "last", "type": "function", "function": {"name": "pay_3", "arguments": last}}
    trace.append({"role": "assistant", "content": "", "tool_calls": [call]})
    return lambda: policy.analyze(trace)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each competitor")
    parser.add_argument("--calls", type=int, default=100, help="calls a turn")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    report = measure(options.rounds, options.calls)
    if not reports.deliver(report, options.json):
        show(report)


def measure(rounds: int, calls: int) -> dict[str, Any]:
    """Race everyone at each number of policies and each length of session."""
    times: dict[str, dict[str, dict[str, float]]] = {}
    ratios: dict[str, dict[str, float]] = {"cedarpy": {}, "cedarpy, sliced": {}, "cedarpy, unsliced": {}}
    peers: dict[str, dict[str, float]] = {}
    fresh: dict[str, float] = {}
    for count in POLICIES:
        session, decide = guarded(count, 10)
        entrants = [Timing("fiducial", decide), *(Timing(name, run) for name, run in bare(session).items())]
        entrants.insert(1, Timing(NEW, renewed(count)))
        if (run := agt(count)) is not None:
            entrants.append(Timing("agt", run))
        race(entrants, rounds=rounds, calls=calls)
        if count == POLICIES[0] and (flow := invariant()) is not None:
            slow = Timing("invariant", flow)
            race([slow], rounds=3, calls=10)
            entrants.append(slow)
        ours = entrants[0].median
        times[str(count)] = {entrant.name: {"median": entrant.median, "p99": entrant.p99} for entrant in entrants}
        for entrant in entrants[1:]:
            if entrant.name == NEW:
                fresh[str(count)] = entrant.median / times[str(count)]["cedarpy"]["median"]
            elif entrant.name in ratios:
                ratios[entrant.name][str(count)] = ours / entrant.median
            else:
                peers.setdefault(entrant.name, {})[str(count)] = entrant.median / ours
    lengths = [Timing(str(messages), guarded(20, messages)[1]) for messages in MESSAGES]
    race(lengths, rounds=rounds, calls=calls)
    return {
        "unit": "microseconds of thread CPU",
        "n": rounds * calls,
        "by_policies": times,
        "by_messages": {entrant.name: {"median": entrant.median, "p99": entrant.p99} for entrant in lengths},
        "guard_over_cedarpy": ratios["cedarpy"],
        "guard_over_cedarpy_new_calls": fresh,
        "guard_over_sliced_cedarpy": ratios["cedarpy, sliced"],
        "guard_over_unsliced_cedarpy": ratios["cedarpy, unsliced"],
        "longest_over_shortest_session": lengths[-1].median / lengths[0].median,
        "peers_over_guard": peers,
    }


def show(report: dict[str, Any]) -> None:
    """Print the report as tables."""
    console = Console()
    table = Table("policies", "who", "median µs", "p99 µs", "fiducial is", box=None)
    for count, entrants in report["by_policies"].items():
        ours = entrants["fiducial"]["median"]
        for name, taken in entrants.items():
            ratio = "" if name in ("fiducial", NEW) else f"{ours / taken['median']:.2f} ×"
            table.add_row(count, name, f"{taken['median']:.1f}", f"{taken['p99']:.1f}", ratio)
    console.print(table)
    table = Table("messages", "median µs", "p99 µs", box=None)
    for messages, taken in report["by_messages"].items():
        table.add_row(messages, f"{taken['median']:.1f}", f"{taken['p99']:.1f}")
    console.print(table)
    console.print(f"longest session over shortest: {report['longest_over_shortest_session']:.2f} ×, n = {report['n']}")


if __name__ == "__main__":
    main()
