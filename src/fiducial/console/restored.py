"""What a restore of the store means for everything in it: `fiducial.oversight.restored`, and who is signed in.

Sessions, tokens and links of the backup may have been ended since it was made, so they end. Passwords are those of the
backup.
"""

from __future__ import annotations

import msgspec

from fiducial.console.sign_in_cells import EPOCH, LINK, SESSION, TOKEN
from fiducial.core.event import Entry, PersonChanged
from fiducial.core.ids import PersonId
from fiducial.core.store import Add, Commit, Put
from fiducial.oversight import restored
from fiducial.oversight.cells import event_id
from fiducial.store.restore import Scan


class _Theirs(msgspec.Struct):
    """Of a session, token or link."""

    person: PersonId


def settle(scan: Scan, *, by: str, why: str, at_us: int) -> Commit:
    """What is recorded and changed with the restoring of the cells that `scan` finds."""
    settled = restored.settle(scan, by=by, why=why, at_us=at_us)
    people: set[PersonId] = set()
    ended: list[Put] = []
    for prefix in (SESSION, TOKEN, LINK):
        for key, cell in scan(prefix).items():
            ended.append(Put(key, None))
            try:
                people.add(msgspec.json.decode(cell.value, type=_Theirs).person)
            except msgspec.MsgspecError:
                continue  # it signs nobody in
    revoked = [
        Entry(
            PersonChanged(id=event_id(at_us), session=None, at_us=at_us, person=person, by=PersonId(by), act="revoked")
        )
        for person in sorted(people)
    ]
    return Commit(
        entries=(*settled.entries, *revoked),
        changes=(*settled.changes, *ended, *(Add(EPOCH + person, 1) for person in sorted(people))),
    )


__all__ = ["settle"]
