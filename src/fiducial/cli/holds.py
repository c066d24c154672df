"""`fiducial holds`: what waits for people, in a terminal; and what `approve` and `deny` share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, Database, opened
from fiducial.cli.reporting import console, print_json, reporting, shown
from fiducial.core.clock import SystemClock, instant
from fiducial.core.event import CallDecided
from fiducial.core.ids import EventId, HoldId, PersonId
from fiducial.errors import NotPermitted
from fiducial.guard.record import decode_decision
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Hold
from fiducial.oversight.people import People
from fiducial.store.ledger import Ledger

_EXCERPT = 100
"""Characters of an argument; the console shows more, and where it came from."""


def holds(
    by: Annotated[str | None, typer.Option(help="Only what this person may answer.")] = None,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """List the requests that wait for people. Answer them with `fiducial approve` and `fiducial deny`.

    Exit status: 0 done; 2 could not be done.
    """
    with reporting(), opened(db) as store:
        people = People(store, SystemClock())
        desk = Desk(store, roles_of=people.roles_of)
        who = people.approver(PersonId(by)) if by is not None else None
        found = desk.waiting() if by is None else desk.answerable(desk.with_glass(who)) if who is not None else []
        if json:
            print_json({"holds": [msgspec.structs.asdict(each) for each in found]})
            return
        with store.ledger() as ledger:
            _list(found, ledger)


def decided(hold: str, by: str, answer: Literal["approve", "reject"], why: str, db: Database, json: bool) -> None:
    """Record one person's answer, as `approve` and `deny` do."""
    with reporting(), opened(db) as store:
        people = People(store, SystemClock())
        desk = Desk(store, roles_of=people.roles_of)
        who = people.approver(PersonId(by))
        if who is None:
            raise NotPermitted(f"`{by}` is nobody who may decide: add them in the console, or say that they are back")
        after = desk.vote(HoldId(hold), desk.with_glass(who), answer, note=why)
    if json:
        print_json(msgspec.structs.asdict(after))
    elif after.open:
        console().print(f"{after.id} has {len(after.votes)} of {after.quorum} approvals; it still waits")
    else:
        console().print(f"{after.id} is {after.state}")


def _list(found: list[Hold], ledger: Ledger) -> None:
    if not found:
        console().print("nothing waits")
        return
    table = Table("request", "asks", "of", "for", "call", "until", box=None)
    for hold in found:
        until = instant(hold.expires_us).isoformat(timespec="seconds")
        number = f"{hold.quorum} " if hold.quorum > 1 else ""
        table.add_row(hold.id, hold.asks, number + shown(hold.role), shown(hold.user), _call(hold, ledger), until)
    console().print(table)


def _call(hold: Hold, ledger: Ledger) -> str:
    """Tool and arguments, with where the doubtful ones came from."""
    record = ledger.find(EventId("evt" + hold.decision[3:]))
    data = next((each.data for each in record.payloads if each.ref.role == "call"), None) if record else None
    if record is None or not isinstance(record.event, CallDecided) or data is None:
        return f"{shown(hold.tool)} (erased)"
    kept = decode_decision(data)
    parts = []
    for name, value in kept.arguments.items() if isinstance(kept.arguments, dict) else ():
        trace = kept.traces.get(name)
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        origin = f" ({trace.origin.value})" if trace is not None else ""
        parts.append(f"{shown(name)}={shown(text[:_EXCERPT])}{origin}")
    return f"{shown(hold.tool)} {', '.join(parts)}"
