"""`fiducial holds`: what waits for people, in a terminal; and what `approve` and `deny` share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, Database, opened, who
from fiducial.cli.reporting import console, print_json, reporting, shown
from fiducial.core.clock import SystemClock, instant
from fiducial.core.event import CallDecided
from fiducial.core.ids import EventId, HoldId, PersonId
from fiducial.core.plain import plain
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
        person = people.approver(PersonId(by)) if by is not None else None
        desk.sweep()
        found = desk.waiting()
        if by is not None:
            found = desk.answerable(desk.with_glass(person)) if person is not None else []
        if json:
            print_json({"holds": [msgspec.structs.asdict(each) for each in found]})
            return
        with store.ledger() as ledger:
            _list(found, ledger)


def decided(
    hold: str, by: str | None, answer: Literal["approve", "reject"], why: str, db: Database, json: bool
) -> None:
    """Record one person's answer, as `approve` and `deny` do."""
    with reporting(), opened(db) as store:
        people = People(store, SystemClock())
        desk = Desk(store, roles_of=people.roles_of)
        name = who(by)
        person = people.approver(PersonId(name))
        if person is None:
            raise NotPermitted(
                f"`{name}` is nobody who may decide: say who does with --by, add them in the console, or say that "
                "they are back"
            )
        after = desk.vote(HoldId(hold), desk.with_glass(person), answer, note=why)
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
    out = console()
    for number, hold in enumerate(found):
        until = instant(hold.expires_us).isoformat(timespec="seconds")
        quorum = f"{hold.quorum} of " if hold.quorum > 1 else ""
        if number:
            out.print()
        # The whole id on a line of its own: it is what `approve` and `deny` take.
        out.print(hold.id, style="bold", soft_wrap=True)
        out.print(f"  {hold.asks} by {quorum}{shown(hold.role)}, for {shown(hold.user)}, until {until}")
        out.print(Padding(_call(hold, ledger), (0, 0, 0, 2)))


def _call(hold: Hold, ledger: Ledger) -> Table:
    """Tool and arguments, with where they came from."""
    table = Table(shown(hold.tool), "", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    record = ledger.find(EventId("evt" + hold.decision[3:]))
    data = next((each.data for each in record.payloads if each.ref.role == "call"), None) if record else None
    if record is None or not isinstance(record.event, CallDecided) or data is None:
        table.add_row("its arguments were erased")
        return table
    kept = decode_decision(data)
    for name, value in kept.arguments.items() if isinstance(kept.arguments, dict) else ():
        trace = kept.traces.get(name)
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        origin = trace.origin.value if trace is not None else ""
        table.add_row(shown(name), Text(plain(text[:_EXCERPT]), overflow="fold"), origin)
    return table
