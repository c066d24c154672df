"""Any sequence of effects on a real directory and a real database: undo restores exactly what was, or says why not.

The model looks at the world for itself, before and after every call, and predicts from that what undo has to say of
each effect and what has to be there afterwards. People are asked about one of the files, each time, and older effects
wait for their answer. With nobody else about, the end is the world before the session began.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
from fiducial.guard.guard import Guard
from fiducial.oversight.captures import Files
from fiducial.oversight.captures_sql import Rows
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver
from fiducial.oversight.undo import undo
from fiducial.store.memory import MemoryStore

PERMIT = '@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);'
ASKED = "b"
"""The file that is put back only once people agree."""
HOLD = (
    '@id("charter/ask") @hold("lead") forbid (principal, action == Action::"restore_file", resource) '
    f'when {{ context.input.path == "{ASKED}" }};'
)


def captured(driver: str, tool: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "effect": "reversible", "kind": "update", "output": {"trusted": ["$"]},
        "parameters": {
            name: {"role": "target", **more}, "value": {"role": "content", "type": "string", "nullable": True},
        },
        "capture": {"driver": driver, "tool": tool, "arguments": {name: f"$arguments.{name}"}},
    }  # fmt: skip


def restoring(name: str, **more: Any) -> dict[str, Any]:
    return {"effect": "reversible", "kind": "update", "parameters": {name: {"role": "target", **more}}}


TOOLS = {
    "change_file": captured("files", "restore_file", "path"),
    "change_row": captured("rows", "restore_row", "id", type="integer"),
    "restore_file": restoring("path"),
    "restore_row": restoring("id", type="integer"),
    "mail": {"effect": "irreversible", "kind": "send", "audience": "third_party", "parameters": {},
             "output": {"trusted": ["$"]}},
}  # fmt: skip
CHARTER = Charter.build(
    About(agent="bot", owners=Owners(responsible="r", accountable="a"), baseline="none", roles=("lead",)),
    {name: Contract.model_validate(value) for name, value in TOOLS.items()},
    (),
    [PolicySource(file="policies/main.cedar", text=PERMIT + HOLD)],
)
Call: TypeAlias = tuple[str, Any, Any, list[str]]
"""Name, state before, state after, directories that were missing; the name `mail` for what cannot be taken back."""
PATHS = st.sampled_from(["a", "b", "deep/c", "deep/er/d"])
IDS = st.integers(1, 3)
VALUES = st.none() | st.sampled_from(["", "x", "y", "ünïcode\n"])
MODES = st.sampled_from([0o600, 0o644, 0o755])


class Machine(RuleBasedStateMachine):
    @initialize(
        files=st.dictionaries(PATHS, st.tuples(st.sampled_from(["", "x", "old"]), MODES)),
        rows=st.dictionaries(IDS, st.sampled_from(["x", "old"])),
    )
    def begin(self, files: dict[str, tuple[str, int]], rows: dict[int, str]) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "files"
        self.root.mkdir()
        for path, (text, mode) in files.items():
            self.put(path, text, mode)
        self.sql("CREATE TABLE items (id INTEGER PRIMARY KEY, value TEXT)")
        for id, value in rows.items():
            self.sql("INSERT INTO items VALUES (?, ?)", id, value)
        self.clock = ManualClock()
        connect = lambda: sqlite3.connect(self.home / "db")  # noqa: E731
        store = MemoryStore(clock=self.clock)
        self.desk = Desk(store, clock=self.clock)
        self.guard = Guard(
            CHARTER, store=store, clock=self.clock, desk=self.desk,
            captures={"files": Files(self.root), "rows": Rows(connect, "items", ["id"], dialect="sqlite")},
        )  # fmt: skip
        self.start()

    def teardown(self) -> None:
        if hasattr(self, "home"):
            shutil.rmtree(self.home)

    # --- the world

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.home / "db")) as connection:
            found = connection.execute(statement, values).fetchall()
            connection.commit()
            return found

    def put(self, path: str, text: str | None, mode: int) -> None:
        target = self.root / path
        if text is None:
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def set_row(self, id: int, value: str | None) -> None:
        self.sql("DELETE FROM items WHERE id = ?", id)
        if value is not None:
            self.sql("INSERT INTO items VALUES (?, ?)", id, value)

    def world(self) -> dict[str, Any]:
        """Everything there is: files, directories and rows."""
        found: dict[str, Any] = {f"row {id}": value for id, value in self.sql("SELECT id, value FROM items")}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            found[name] = "directory" if path.is_dir() else (path.read_text(), path.stat().st_mode & 0o7777)
        return found

    def call(self, tool: str, name: str, arguments: dict[str, Any], run: Any, *, fails: bool = False) -> None:
        before, missing = state(self.world(), name), absent(self.world(), name)
        result = self.session.call(tool, arguments, run=run)
        assert result.status == ("failed" if fails else "ok"), result.error
        after = state(self.world(), name)
        self.calls.append((name, before, after, missing))

    # --- what happens

    def start(self) -> None:
        self.session = self.guard.session(user="ann")
        self.before = self.world()
        self.calls: list[Call] = []
        self.alone = True

    @rule(path=PATHS, text=VALUES, mode=MODES, fails=st.booleans())
    def the_agent_changes_a_file(self, path: str, text: str | None, mode: int, fails: bool) -> None:
        def change(path: str, value: str | None) -> None:
            self.put(path, value, mode)
            if fails:
                raise RuntimeError

        self.call("change_file", path, {"path": path, "value": text}, change, fails=fails)

    @rule(id=IDS, value=VALUES)
    def the_agent_changes_a_row(self, id: int, value: str | None) -> None:
        self.call("change_row", f"row {id}", {"id": id, "value": value}, lambda id, value: self.set_row(id, value))

    @rule()
    def the_agent_sends_a_mail(self) -> None:
        self.call("mail", "mail", {}, lambda: None)

    @rule(path=PATHS, text=st.sampled_from([None, "theirs"]))
    def somebody_changes_a_file(self, path: str, text: str | None) -> None:
        self.put(path, text, 0o640)
        self.alone = False

    @rule(id=IDS, value=st.sampled_from([None, "theirs"]))
    def somebody_changes_a_row(self, id: int, value: str | None) -> None:
        self.set_row(id, value)
        self.alone = False

    @precondition(lambda self: self.calls)
    @rule(force=st.booleans())
    def somebody_undoes_it_all(self, force: bool) -> None:
        self.session.close()
        self.clock.advance(timedelta(minutes=5))  # until then what failed may still take effect
        done: set[int] = set()
        moved = {name for name, before, after, _ in self.calls if before != after}
        calls = [each for each in self.calls if each[1] != each[2] or each[0] == "mail" or each[0] not in moved]
        agreed: set[tuple[int, bool]] = set()
        rounds = [False, force, force]
        while rounds:
            forced = rounds.pop()
            expected, world = predicted(self.world(), calls, done, agreed, force=forced)
            report = undo(self.guard, self.session.id, by="olga", why="test", force=forced)
            assert [each.outcome for each in report.effects] == expected, report.effects
            assert self.world() == world
            waiting = self.desk.waiting()
            assert [hold.id for hold in waiting] == [each.hold for each in report.effects if each.outcome == "held"]
            for hold in waiting:
                self.desk.vote(hold.id, Approver(id=PersonId("lee"), roles=frozenset({"lead"})), "approve")
                agreed.add((len(calls) - 1 - expected.index("held"), forced))
                rounds.append(forced)
        if self.alone:
            assert self.world() == self.before, "everything is exactly as it was"
            assert set(expected) <= {"already", "nothing", "impossible"}
        self.start()


def state(world: dict[str, Any], name: str) -> Any:
    """Of a row or a file; `None` for what is not there."""
    return world.get(name)


def absent(world: dict[str, Any], name: str) -> list[str]:
    """The directories of a file that are not there, innermost first."""
    return [str(each) for each in Path(name).parents if str(each) not in (".", *world)]


def predicted(
    world: dict[str, Any], calls: list[Call], done: set[int], agreed: set[tuple[int, bool]], *, force: bool
) -> tuple[list[str], dict[str, Any]]:
    """What undo has to say of every call, newest first, and what is there afterwards. Adds to `done`.

    `agreed`: what people have agreed to, the number of a call and whether it is put back by force.
    """
    world, outcomes = dict(world), []
    for number, (name, before, after, missing) in reversed(list(enumerate(calls))):
        present = state(world, name)
        if number in done:
            outcomes.append("already")
        elif name == "mail":
            outcomes.append("impossible")
        elif "held" in outcomes:
            outcomes.append("waits")
        elif present == before:
            outcomes.append("nothing")
        elif present != after and not force:
            outcomes.append("changed")
        elif name == ASKED and (number, force) not in agreed:
            outcomes.append("held")
        else:
            outcomes.append("undone")
            done.add(number)
            world.pop(name, None)
            if before is not None:
                world[name] = before
            for directory in missing:
                if not any(each.startswith(directory + "/") for each in world):
                    world.pop(directory, None)
    return outcomes, world


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=15, deadline=None)
