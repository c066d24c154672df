"""Receivers that mean harm, agents that ask without end, clocks that are wrong: what has to be told is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from console_world import held

from fiducial.console.notify import attempt, notifier
from fiducial.console.notify.health import failing
from fiducial.console.notify.mail import Mail
from fiducial.console.notify.message import harmless, masked_value
from fiducial.console.notify.message import test_message as message_of_a_test
from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.settings import NotifySettings
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.guard.switches import Switches

Round = Callable[[NotifySettings], float]
Write = Callable[..., NotifySettings]


DECADE = timedelta(days=3650)


class Dripping:
    """Takes connections and answers each with a byte now and then, without end."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections.append(connection)
                self._threads.append(threading.Thread(target=self._drip, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _drip(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nx-more: ")
            while not self._over.wait(0.1):
                connection.sendall(b"x")

    def hang_up(self) -> None:
        """End what there is."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._over.set()
        # Closing alone wakes nobody who waits for the next connection.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.hang_up()
        for thread in self._threads[1:]:
            thread.join()
        for each in (self._listening, *self.connections):
            each.close()


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    made = Dripping()
    yield made
    made.close()


def _hooks(write: Write, url: str, names: list[str]) -> NotifySettings:
    channels = "".join(f"  {name}: {{kind: webhook, url: '{url}', secrets: [HOOK_SECRET]}}\n" for name in names)
    return write(f"channels:\n{channels}routes:\n  - to: [{', '.join(names)}]\n")


def _many(services: Services, count: int) -> None:
    for number in range(count):
        held(services, user=f"user-{number}")


def _until(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_answer_that_never_ends_is_given_up_and_few_of_them_hang_at_once(
    services: Services, write: Write, round_: Round, dripping: Dripping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "ATTEMPT", 0.3)
    hook = _hooks(write, f"http://127.0.0.1:{dripping.port}/", ["siem"])
    _many(services, 7)
    for _ in range(3):
        round_(hook)
    assert len(dripping.connections) == 4
    assert "longer than" in failing(services.store)["siem"].why
    dripping.hang_up()
    _until(lambda: round_(hook) and len(dripping.connections) > 4)


def test_several_channels_that_hang_end_together(
    services: Services, receiver: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_PATIENCE", 1.5)
    receiver.hang.clear()
    told = Notifier(services, _hooks(write, receiver.url, [f"siem-{number}" for number in range(8)]))
    held(services)
    told.start()
    receiver.wait(8)
    began = time.monotonic()
    told.stop()
    assert time.monotonic() - began < 8, "not one after the other"
    receiver.hang.set()


def test_a_halt_is_told_before_the_requests_of_an_agent_that_asks_without_end(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    round_(hook)
    _many(services, 5)
    clock.advance(timedelta(seconds=1))
    Switches(services.store, services.clock).order("stop it", by=PersonId("olga"), agent="another")
    _many(services, 5)
    round_(hook)
    assert receiver.got[0].json["type"] == "halt.ordered"


def test_what_fails_again_and_again_keeps_nothing_new_from_being_tried(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers += [(503, {})] * 5
    _many(services, 4)
    round_(hook)
    clock.advance(timedelta(hours=1))
    held(services, user="somebody-else")
    receiver.got.clear()
    round_(hook)
    newest = max(services.desk.waiting(), key=lambda hold: hold.requested_us)
    assert receiver.got[0].id == f"request_{newest.id}"


def test_a_slow_receiver_is_told_of_what_still_waits_only(
    services: Services, receiver: Any, hook: NotifySettings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiducial.console.notify.outbox import Outbox

    [post] = Notifier(services, hook)._posts
    outbox, send = Outbox(services.store, clock, "siem"), post._channel.send

    def slowly(message: Any, to: Any = ()) -> Any:
        clock.advance(timedelta(seconds=6))
        return send(message, to)

    monkeypatch.setattr(post._channel, "send", slowly)
    _many(services, 3)
    assert post.round(outbox) < 1, "there is more to do"
    assert len(receiver.got) == 1
    Switches(services.store, services.clock).order("they are void", by=PersonId("olga"))
    assert post.round(outbox) < 1
    assert receiver.got[1].json["type"] == "halt.ordered"


def test_who_wants_to_be_left_alone_is(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers.append((429, {"retry-after": "60"}))
    _many(services, 3)
    round_(hook)
    round_(hook)
    assert len(receiver.got) == 1, "by every message, not by the one alone that was told so"
    clock.advance(timedelta(seconds=60))
    round_(hook)
    assert len(receiver.got) == 4


def _mail(port: int, clock: ManualClock) -> Mail:
    return Mail(
        "post", "127.0.0.1", port, tls="none", sender="fiducial@example.org", to=["on-call@example.org"], people=True,
        username="", password="", clock=clock,
    )  # fmt: skip


def test_an_address_that_the_server_cannot_be_told_keeps_no_mail_from_the_others(
    open_letters: Any, clock: ManualClock
) -> None:
    message = message_of_a_test("http://console", "test_1", 0)
    outcome = _mail(open_letters.port, clock).send(message, ["jürgen@example.org"])
    assert (outcome.state, outcome.said) == ("sent", "1 of 2 addresses were refused")
    assert [each.rcpt_tos for each in open_letters.taken] == [["on-call@example.org"]]


def test_a_mail_server_that_does_not_stop_answering_is_not_listened_to(clock: ManualClock) -> None:
    said = []

    def answer() -> None:
        connection, _ = server.accept()
        connection.sendall(b"220 welcome\r\n")
        connection.recv(100)
        with contextlib.suppress(OSError):
            for _ in range(2_500):
                connection.sendall(b"250-something more\r\n" * 1_000)
                said.append(20_000)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        message = message_of_a_test("http://console", "test_1", 0)
        assert _mail(server.getsockname()[1], clock).send(message).said.startswith("it cannot be reached")
        thread.join(20)
    assert sum(said) < 40_000_000, "nothing like all of it"


def test_a_password_that_no_server_can_be_told_is_found_before_anything_starts(write: Write) -> None:
    text = (
        "channels:\n  post: {kind: smtp, host: mail.example.org, from: f@example.org, to: [a@example.org],\n"
        "         username: f, password_env: MAIL_PASSWORD}\nroutes:\n  - to: [post]\n"
    )
    assert write(text, MAIL_PASSWORD="right").secret("MAIL_PASSWORD") == "right"
    with pytest.raises(OversightError, match="letters than those of ASCII") as error:
        write(text, MAIL_PASSWORD="schlüssel")
    assert "schl" not in str(error.value)


def test_a_channel_set_up_by_a_clock_that_was_ahead_is_told_of_halts(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    clock.jump(DECADE)
    round_(hook)
    clock.jump(-DECADE)
    Switches(services.store, services.clock).order("stop it", by=PersonId("olga"), agent="banking-assistant")
    round_(hook)
    assert [got.json["type"] for got in receiver.got] == ["halt.ordered"]


def test_what_was_put_off_by_a_clock_that_was_ahead_is_sent(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers.append((503, {}))
    round_(hook)
    clock.jump(DECADE)
    Switches(services.store, services.clock).order("stop it", by=PersonId("olga"), agent="banking-assistant")
    round_(hook)
    clock.jump(-DECADE)
    round_(hook)
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    "text", ["evil.example/login", "www.evil.example", "evil\u3002example", "a@evil.example", "t.co"]
)
def test_no_program_makes_a_link_of_what_somebody_wrote(text: str) -> None:
    for shown in (harmless(text, 60), masked_value("x" * 12 + text, amount=True)):
        assert not any(dot in shown for dot in ".\u3002\uff0e\uff61")
    assert harmless("Paid 10.50 EUR. Fine.", 60) == "Paid 10.50 EUR. Fine."
