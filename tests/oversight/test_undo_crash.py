"""Undo killed with SIGKILL at every point: what it was about to do happens once, and the log verifies.

The points are counted, not timed: before and after every commit, and around every effect. One process imports
everything and forks a child for each point, which ends itself there, and another that undoes again an hour later.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = r"""
import json, os, shutil, signal, sys
from datetime import timedelta
from pathlib import Path

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.clock import SystemClock
from fiducial.core.ids import SessionId
from fiducial.guard.guard import Guard
from fiducial.oversight import captures
from fiducial.oversight.captures import Files
from fiducial.oversight.undo import undo
from fiducial.store.sqlite import SqliteStore

OWN = {"output": {"trusted": ["$"]}}
TOOLS = {
    "book": {"effect": "compensable", "kind": "book", "parameters": {"room": {"role": "target"}}, **OWN,
             "undo": {"tool": "cancel", "arguments": {"id": "$result.id"}}},
    "cancel": {"effect": "reversible", "kind": "revoke", "parameters": {"id": {"role": "target"}}, **OWN,
               "postcondition": {"tool": "get", "arguments": {"id": "$arguments.id"}, "expect": {"$.cancelled": True}}},
    "get": {"effect": "read", "kind": "read", "parameters": {"id": {"role": "option"}}, **OWN},
    "write": {"effect": "reversible", "kind": "update", **OWN,
              "parameters": {"path": {"role": "target"}, "text": {"role": "content"}},
              "capture": {"driver": "files", "tool": "restore", "arguments": {"path": "$arguments.path"}}},
    "restore": {"effect": "reversible", "kind": "update", "parameters": {"path": {"role": "target"}}, **OWN},
}
PERMIT = '@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);'
CHARTER = Charter.build(
    About(agent="bot", owners=Owners(responsible="r", accountable="a"), baseline="balanced"),
    {name: Contract.model_validate(value) for name, value in TOOLS.items()},
    (), [PolicySource(file="policies/main.cedar", text=PERMIT)],
)
NOWHERE = 1_000_000


class Later(SystemClock):
    def unix_us(self):
        return super().unix_us() + timedelta(hours=1) // timedelta(microseconds=1)


class Deadly:
    def __init__(self, point):
        self.left = point

    def __call__(self):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


def the_guard(home, tick, clock):
    store = SqliteStore(home / "log.db", clock=clock)
    kept, replace = store.commit, os.replace

    def commit(commit):
        tick()
        future = kept(commit)
        if commit.durable:
            future.result()
            tick()
        return future

    def deadly_replace(*arguments, **named):
        tick()
        replace(*arguments, **named)
        tick()

    def cancel(id):
        tick()
        with open(home / "cancelled", "a") as file:
            file.write(id + "\n")
        tick()

    def get(id):
        done = home / "cancelled"
        return {"cancelled": done.exists() and id in done.read_text().split()}

    store.commit = commit
    captures.os = type("Os", (), {**vars(os), "replace": staticmethod(deadly_replace)})
    return Guard(CHARTER, store=store, clock=clock, tools={"cancel": cancel, "get": get},
                 captures={"files": Files(home / "files")})


def forked(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1]


def begin(home):
    (home / "files").mkdir(parents=True)
    (home / "files" / "a").write_text("old")
    guard = the_guard(home, lambda: None, SystemClock())
    with guard.session(user="ann", task="book rooms 1 and 2 and write a") as session:
        assert session.call("book", {"room": "1"}, run=lambda room: {"id": "bk-1"}).status == "ok"
        assert session.call("write", {"path": "a", "text": "new"},
                            run=lambda path, text: (home / "files" / path).write_text(text)).status == "ok"
        assert session.call("book", {"room": "2"}, run=lambda room: {"id": "bk-2"}).status == "ok"
    (home / "session").write_text(session.id)
    guard.store.close()


def take_back(home, tick, clock):
    guard = the_guard(home, tick, clock)
    report = undo(guard, SessionId((home / "session").read_text()), by="olga", why="test")
    guard.store.ledger().verify()
    guard.store.close()
    return [each.outcome for each in report.effects]


base = Path(sys.argv[1])
assert forked(lambda: begin(base / "begun")) == 0
point, stride, survived = 0, int(sys.argv[2]), False
while not survived:
    home = base / str(point)
    shutil.copytree(base / "begun", home)
    status = forked(lambda: take_back(home, Deadly(point), SystemClock()))
    assert status in (0, signal.SIGKILL), status
    survived = status == 0

    def again():
        first = take_back(home, Deadly(NOWHERE), Later())
        second = take_back(home, Deadly(NOWHERE), Later())
        print(json.dumps({"point": point, "first": first, "second": second,
                          "file": (home / "files" / "a").read_text(), "names": os.listdir(home / "files"),
                          "cancelled": (home / "cancelled").read_text().split()}))

    assert forked(again) == 0
    shutil.rmtree(home)
    point += stride
"""


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.long)])
def test_an_undo_killed_anywhere_takes_everything_back_once(tmp_path: Path, stride: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 20 // stride, "there are points before and after every commit and effect"
    for line in lines:
        assert set(line["first"]) <= {"undone", "already"}, line
        assert line["second"] == ["already"] * 3, line
        assert sorted(line["cancelled"]) == ["bk-1", "bk-2"], line
        assert (line["file"], line["names"]) == ("old", ["a"]), line
