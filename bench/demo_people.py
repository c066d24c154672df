"""Who decides in the demo: a person at their browser, a browser that is driven, or the command line.

All three do it through the console or the commands that everybody has; none is a way around them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import uvicorn
from rich.console import Console

from demo_bank import PLACE
from fiducial.charter.model import Charter
from fiducial.console.app import create_app
from fiducial.console.services import Services, Settings
from fiducial.console.undoing import Hands
from fiducial.core.ids import PersonId
from fiducial.guard.switches import Halt
from fiducial.oversight.hold import Hold
from fiducial.oversight.people import Person
from fiducial.store.ledger import LedgerStore

By = Literal["you", "chromium", "commands"]
ROOT = Path(__file__).resolve().parent.parent
CHARTER = ROOT / "examples" / "charters" / "agentdojo" / "banking"
OLGA = PersonId("olga")
"""The person who is asked."""
COMMAND = os.path.relpath(Path(sys.executable).parent / "fiducial")
"""As people type it, from where they are."""
_PATIENCE = 30_000
"""Milliseconds that a page may take."""


class Someone(Protocol):
    """Whoever decides, stops and resumes. A future's result is what was done, in words, or what went wrong."""

    name: str
    """Who that is, in a word."""
    attended: bool
    """Nobody but a person can end the wait: the futures stay as they are."""

    def decide(self, hold: Hold, doubt: str) -> Future[str]:
        """Answer the request; `doubt`: the value that a third party wrote."""
        ...

    def watch(self, session: str, tool: str) -> str:
        """Look at what the agent did, a call of `tool` in the end."""
        ...

    def halt(self, agent: str, why: str) -> Future[str]:
        """Stop the agent."""
        ...

    def undo(self, session: str, why: str) -> Future[str]:
        """Take back what a session did."""
        ...

    def resume(self, halt: Halt, why: str) -> Future[str]:
        """Let the agent go on."""
        ...


@contextmanager
def serving(store: LedgerStore, charter: Charter, hands: Hands) -> Iterator[Services]:
    """The console on a free port of this machine, and Olga, who may answer for operators, stop agents and take back.

    Raises `OSError` when nothing can listen, `RuntimeError` when the server does not start.
    """
    listening = socket.socket()
    try:
        listening.bind(("127.0.0.1", 0))
        app = create_app(store, charter, Settings(url=f"http://127.0.0.1:{listening.getsockname()[1]}"), hands=hands)
        services = app.services
        services.people.add(
            Person(id=OLGA, name="Olga", console=("approver", "operator", "viewer"), roles=("operator",)),
            by=PersonId("console"),
        )
        # Whoever has a password is led to what waits, and not asked to choose one first. This one is known to nobody.
        services.accounts.set_password(OLGA, os.urandom(24).hex(), by=OLGA)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the console did not start")
            time.sleep(0.02)
        try:
            yield services
        finally:
            server.should_exit = True
            thread.join(10)
            services.close()
    finally:
        listening.close()


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, as in a terminal of the repository. Never raises for what the command says."""
    return subprocess.run(
        [sys.executable, "-m", "fiducial", *arguments], cwd=ROOT, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Visitor:
    """A person at their own browser: told where to go, and waited for."""

    name, attended = "you", True

    def __init__(self, services: Services, database: Path, say: Callable[[str, str, str], None]) -> None:
        """`say`: prints who, what, and a line to be copied."""
        self._services, self._database, self._say = services, database, say

    def decide(self, hold: Hold, doubt: str) -> Future[str]:
        link = self._services.link_for(OLGA, by=PersonId("console"))
        self._say("you", "Open this in a browser. It signs you in as Olga, once, and shows what waits:", link)
        line = shlex.join([COMMAND, "approve", hold.id, "--by", OLGA, "--db", os.path.relpath(self._database)])
        self._say("you", "Or answer from another terminal:", line)
        return Future()

    def watch(self, session: str, tool: str) -> str:
        return f"Watch it at {self._services.origin}/sessions/{session}"

    def halt(self, agent: str, why: str) -> Future[str]:
        where = f"{self._services.origin}/halt"
        self._say("you", f"Stop it: as agent write {agent}, give a reason, and press Halt at", where)
        return Future()

    def undo(self, session: str, why: str) -> Future[str]:
        where = f"{self._services.origin}/sessions/{session}/undo"
        self._say("you", "Take back what it did: give a reason, look at the plan, and confirm it at", where)
        return Future()

    def resume(self, halt: Halt, why: str) -> Future[str]:
        where = f"{self._services.origin}/halt"
        self._say("you", "Let it go on: give a reason, and press Resume at", where)
        return Future()


class Commands:
    """The command line."""

    name, attended = "Olga", False

    def __init__(self, database: Path, bank: Path) -> None:
        """`bank`: the file that an undo changes."""
        self._database, self._bank = database, bank

    def decide(self, hold: Hold, doubt: str) -> Future[str]:
        return self._ran("approve", hold.id, "--why", "It is on the bill")

    def watch(self, session: str, tool: str) -> str:
        return f"To see what it did: fiducial log show {session}"

    def halt(self, agent: str, why: str) -> Future[str]:
        return self._ran("halt", "--agent", agent, "--why", why)

    def undo(self, session: str, why: str) -> Future[str]:
        return self._ran("undo", session, "--why", why, more=self._undoing)

    def planned(self, session: str, why: str) -> list[dict[str, Any]]:
        """What an undo would do, effect by effect. Raises `SystemExit` when nobody can tell."""
        ran = self._run("undo", session, "--why", why, *self._undoing, "--dry-run", "--json")
        if ran.returncode > 1:
            raise SystemExit(f"`fiducial undo` failed: {ran.stderr.strip()}")
        effects: list[dict[str, Any]] = json.loads(ran.stdout)["effects"]
        return effects

    def resume(self, halt: Halt, why: str) -> Future[str]:
        return self._ran("resume", halt.id, "--why", why)

    @property
    def _undoing(self) -> tuple[str, ...]:
        return ("--role", "operator", "--charter", str(CHARTER), "--captures", "bench.demo_bank:CAPTURES")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command(
            *arguments, "--by", OLGA, "--db", str(self._database), environment={PLACE: str(self._bank.resolve())}
        )

    def _ran(self, *arguments: str, more: tuple[str, ...] = ()) -> Future[str]:
        told: Future[str] = Future()
        ran = self._run(*arguments, *more)
        # 1 says of an undo that something stands which cannot be taken back, as the payment does.
        if ran.returncode > (arguments[0] == "undo"):
            told.set_exception(RuntimeError(f"`fiducial {arguments[0]}` failed: {ran.stderr.strip()}"))
        else:
            told.set_result(f"In a terminal: fiducial {' '.join(arguments[:-2])} --by {OLGA} …")
        return told


class Chromium:
    """A real browser, driven. Close it."""

    name, attended = "Olga", False

    def __init__(self, services: Services, path: str) -> None:
        self._services = services
        self._path = path
        # Playwright's objects belong to the thread that made them.
        self._thread = ThreadPoolExecutor(1, "browser")
        self._page: Any = None
        self._ends: list[Callable[[], Any]] = []

    def decide(self, hold: Hold, doubt: str) -> Future[str]:
        link = self._services.link_for(OLGA, by=PersonId("console"))
        return self._thread.submit(self._decide, hold, doubt, link)

    def watch(self, session: str, tool: str) -> str:
        return self._thread.submit(self._watch, session, tool).result()

    def halt(self, agent: str, why: str) -> Future[str]:
        return self._thread.submit(self._halt, agent, why)

    def undo(self, session: str, why: str) -> Future[str]:
        return self._thread.submit(self._undo, session, why)

    def resume(self, halt: Halt, why: str) -> Future[str]:
        return self._thread.submit(self._resume, why)

    def close(self) -> None:
        """End the browser."""
        self._thread.submit(lambda: [end() for end in reversed(self._ends)]).result(30)
        self._thread.shutdown()

    def _open(self) -> Any:
        from playwright.sync_api import sync_playwright

        playwright = sync_playwright().start()
        self._ends.append(playwright.stop)
        # The sandbox needs rights that containers do not give; every page here is our own.
        browser = playwright.chromium.launch(executable_path=self._path, args=["--no-sandbox"])
        self._ends.append(browser.close)
        page = browser.new_page()
        page.set_default_timeout(_PATIENCE)
        return page

    def _decide(self, hold: Hold, doubt: str, link: str) -> str:
        page = self._page = self._open()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/waiting")
        page.get_by_role("link", name=f"{hold.agent} wants to").click()
        page.wait_for_url(f"**/waiting/{hold.id}")
        page.locator("mark.from.untrusted", has_text=doubt).first.wait_for()
        page.get_by_role("button", name="Approve", exact=True).click()
        page.get_by_text("The agent can make exactly this call, once.").wait_for()
        return "In Chromium: one-time link, the request, the account marked in the bill, Approve."

    def _watch(self, session: str, tool: str) -> str:
        page = self._page
        page.reload()
        page.get_by_text("Approved, and the call was made.").wait_for()
        page.goto(f"{self._services.origin}/sessions/{session}")
        page.get_by_text(tool).first.wait_for()
        return f"In Chromium: “Approved, and the call was made”, then the session down to {tool}."

    def _halt(self, agent: str, why: str) -> str:
        page = self._page
        page.get_by_role("link", name="Halt", exact=True).first.click()
        form = page.locator('form[action="/halt"]')
        form.locator("input[name=agent]").fill(agent)
        form.locator("input[name=why]").fill(why)
        form.get_by_role("button", name="Halt").click()
        page.get_by_text(f"Stopped: agent {agent}").wait_for()
        return "In Chromium: the page Halt, the agent, why, and the button."

    def _undo(self, session: str, why: str) -> str:
        page = self._page
        page.goto(f"{self._services.origin}/sessions/{session}")
        page.get_by_role("link", name="Take back what it did").click()
        page.locator("input[name=why]").fill(why)
        page.get_by_role("button", name="Show what would be done").click()
        page.get_by_text("Nothing has been called yet.").wait_for()
        page.get_by_label("I have read what would be done").check()
        page.get_by_role("button", name="Take it back").click()
        page.get_by_role("heading", name="What was taken back").wait_for()
        return "In Chromium: from the session to “Take back what it did”, the plan, “Take it back”."

    def _resume(self, why: str) -> str:
        page = self._page
        page.goto(f"{self._services.origin}/halt")
        page.get_by_label("Why it may go on").fill(why)
        page.get_by_role("button", name="Resume").click()
        page.get_by_text("Nothing is stopped.").wait_for()
        return "In Chromium: Resume, on the page Halt."


def chromium() -> str | None:
    """A Chromium that can be driven here: the system's, or the one that Playwright installed; `None`: there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def whoever(console: Console) -> By:
    """A person where somebody sits at a terminal; else a browser where one can be driven."""
    if console.is_terminal and sys.stdin.isatty() and not os.environ.get("CI"):
        return "you"
    return unattended()


def unattended() -> By:
    """Who decides where nobody is: a browser where one can be driven."""
    return "chromium" if chromium() is not None else "commands"
