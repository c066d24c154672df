"""What adapters keep of sessions: one thing each, and nothing of those that are closed."""

from __future__ import annotations

import gc
import threading
import weakref

import fiducial
from fiducial.adapters.runs import PerSession
from fiducial.charter.model import PERMIT, About, Charter, Owners, PolicySource


class Thing:
    """Something that can be seen to be gone."""


def guard() -> fiducial.Guard:
    about = About(agent="bot", owners=Owners(responsible="r", accountable="a"))
    return fiducial.Guard(Charter.build(about, {}, policies=(PolicySource(file="policies/p.cedar", text=PERMIT),)))


def test_each_session_has_its_own_whichever_thread_asks() -> None:
    kept, found, made = PerSession[Thing](), list[Thing](), guard()
    with made.session(user="emma") as first, made.session(user="olga") as second:
        threads = [threading.Thread(target=lambda: found.append(kept.of(first, Thing))) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(set(found)) == 1
        assert kept.of(second, Thing) not in found


def test_what_belongs_to_a_closed_session_goes_with_the_next_one() -> None:
    kept, made = PerSession[Thing](), guard()
    with made.session(user="emma") as session:
        gone = weakref.ref(kept.of(session, Thing))
    assert gone() is not None
    with made.session(user="emma") as session:
        kept.of(session, Thing)
        gc.collect()
        assert gone() is None
