"""What there is to tell, read from the cells of oversight.

| kind | there is one for | until |
|---|---|---|
| `request` | a held call that waits for people | its deadline |
| `question` | an unclear call that waits for the user | its deadline |
| `escalation` | a request that nobody answered, when the next role is asked | its deadline |
| `halt`, `resume` | a halt that was ordered, or lifted | a day after that |
| `emergency` | a role that somebody took | a day after that |

Of waiting requests that differ in nothing but their session, only the oldest is told of, and how many are like it: an
agent that asks a thousand times must not be able to make a thousand telephones ring. When it is settled, the next one
takes its place.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec

from fiducial.core.ids import SessionId
from fiducial.core.oversight import NoticeKind
from fiducial.core.store import Store
from fiducial.guard.switches import Halt, read_halts
from fiducial.oversight.cells import GLASS, Glass, decode
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Hold

NEWS: Final = timedelta(days=1)
"""How long what has happened, and asks nothing of anybody, is worth telling."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell."""

    kind: NoticeKind
    about: str
    """Id of the request, halt or emergency access."""
    at_us: int
    """When it happened; microseconds since 1970 UTC, as `until_us`."""
    until_us: int
    """From when on nobody needs to be told any more."""
    agent: str | None = None
    """Whom it concerns; `None`: every agent."""
    role: str | None = None
    """Who is asked, or was taken; `None`: no role in particular."""
    session: SessionId | None = None
    hold: Hold | None = None
    halt: Halt | None = None
    glass: Glass | None = None
    alike: int = 0
    """Further requests that wait and differ in nothing but the session."""

    @property
    def id(self) -> str:
        """The same for everybody who reads the same cells."""
        return f"{self.kind}_{self.about}"


def notices(store: Store, desk: Desk, now_us: int) -> list[Notice]:
    """What there is to tell at `now_us`, oldest first. Raises `StoreError`."""
    found = [*_requests(desk, now_us), *_halts(store), *_emergencies(store)]
    return sorted((one for one in found if now_us < one.until_us), key=lambda one: (one.at_us, one.id))


def _requests(desk: Desk, now_us: int) -> list[Notice]:
    first: dict[tuple[str, str], Notice] = {}
    for hold in desk.waiting():
        escalated = bool(hold.escalate_us) and now_us >= hold.escalate_us and hold.role == hold.escalate_to
        same = first.get((hold.group, hold.role))
        if same is not None:
            first[hold.group, hold.role] = msgspec.structs.replace(same, alike=same.alike + 1)
            continue
        kind: NoticeKind = "question" if hold.asks == "question" else "escalation" if escalated else "request"
        first[hold.group, hold.role] = Notice(
            kind=kind, about=hold.id, at_us=hold.escalate_us if escalated else hold.requested_us,
            until_us=hold.expires_us, agent=hold.agent, role=hold.role, session=hold.session, hold=hold,
        )  # fmt: skip
    return list(first.values())


def _halts(store: Store) -> list[Notice]:
    found, news = [], NEWS // timedelta(microseconds=1)
    for halt in read_halts(store):
        found.append(
            Notice(
                kind="halt", about=halt.id, at_us=halt.at_us, until_us=halt.at_us + news, agent=halt.agent, halt=halt
            )
        )
        if halt.lifted_us:
            found.append(
                Notice(
                    kind="resume",
                    about=halt.id,
                    at_us=halt.lifted_us,
                    until_us=halt.lifted_us + news,
                    agent=halt.agent,
                    halt=halt,
                )
            )
    return found


def _emergencies(store: Store) -> list[Notice]:
    news = NEWS // timedelta(microseconds=1)
    taken = [decode(key, cell, Glass) for key, cell in store.scan(GLASS).items()]
    return [
        Notice(
            kind="emergency",
            about=glass.id,
            at_us=glass.from_us,
            until_us=glass.from_us + news,
            role=glass.role,
            glass=glass,
        )
        for glass in taken
    ]


__all__ = ["NEWS", "Notice", "notices"]
