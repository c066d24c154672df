"""What each channel sends, checked by real receivers; and that nothing that an attacker wrote can act in it."""

from __future__ import annotations

import email
import email.policy
import json
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from console_world import ACCOUNT, held

from fiducial.console.notify.mail import Mail
from fiducial.console.notify.message import Message, compose, harmless, masked_value, named, test_message
from fiducial.console.notify.notices import Notice, notices
from fiducial.console.notify.settings import NotifySettings
from fiducial.console.notify.slack import Slack
from fiducial.console.notify.webhook import Webhook, signature
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
from fiducial.guard.switches import Switches

EVIL = (
    "x\r\nBcc: evil@example.org\r\n\r\n<!channel> <http://evil.example|click> @here [click](http://evil.example)"
    " `*_~ \u202e"
)
message_of_a_test = test_message
del test_message  # which pytest would take for a test


@pytest.fixture
def message() -> Message:
    return message_of_a_test("https://console.example.org", "test_1", 1_700_000_000_000_000)


@pytest.fixture
def evil() -> Message:
    """A message whose every word came from an attacker."""
    return Message(
        id="request_1", type="request.waiting", at_us=0, title=f"Approval needed: {named(EVIL)}",
        lines=(f"{named(EVIL)} wants to pay.",), link="https://console.example.org/notice/a.b", link_words="Open",
        details=((named(EVIL), harmless(EVIL, 200)), ("recipient", masked_value(EVIL, amount=False))),
    )  # fmt: skip


def _notice(services: Services) -> Notice:
    [found] = notices(services.store, services.desk, services.clock.unix_us())
    return found


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification's reference libraries."""
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_is_signed_by_every_secret(receiver: Any, message: Message, clock: ManualClock) -> None:
    old, new = b"o" * 32, b"n" * 32
    channel = Webhook("siem", f"{receiver.url}/hook?x=1", [new, old], clock)
    assert channel.send(message).state == "sent"
    channel.close()
    [got] = receiver.got
    assert got.path == "/hook?x=1"
    assert got.signed_with(old)
    assert got.signed_with(new)
    assert not got.signed_with(b"x" * 32)
    assert got.headers["webhook-timestamp"] == str(clock.unix_us() // 1_000_000)
    assert got.json["type"] == "test"


@pytest.mark.parametrize(
    ("status", "headers", "state", "after"),
    [(200, {}, "sent", 0), (204, {}, "sent", 0), (301, {"location": "/other"}, "failed", 0), (400, {}, "failed", 0),
     (404, {}, "failed", 0), (410, {}, "failed", 0), (408, {}, "later", 0), (429, {"retry-after": "7"}, "later", 7),
     (429, {"retry-after": "x" * 99}, "later", 0), (500, {}, "later", 0),
     (503, {"retry-after": "9" * 30}, "later", 3600)],
)  # fmt: skip
def test_what_an_answer_means(
    receiver: Any, message: Message, clock: ManualClock, status: int, headers: dict[str, str], state: str, after: float
) -> None:
    receiver.answers.append((status, headers))
    channel = Webhook("siem", receiver.url, [b"k" * 32], clock)
    outcome = channel.send(message)
    channel.close()
    assert (outcome.state, outcome.after_s) == (state, after)
    assert str(status) in outcome.said
    assert len(receiver.got) == 1, "a redirect is not followed"


def test_nobody_there_is_tried_again_and_no_address_is_told(
    message: Message, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        channel = Slack("chat", f"http://127.0.0.1:{taken.getsockname()[1]}/services/T0/B0/secret")
        outcome = channel.send(message)
        channel.close()
    assert outcome.state == "later"
    assert "secret" not in outcome.said
    assert "secret" not in "".join(record.getMessage() for record in caplog.records if record.name == "httpx2")


def test_no_address_gets_into_the_log_of_what_works(
    receiver: Any, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Slack("chat", f"{receiver.url}/services/secret")
    with caplog.at_level(logging.INFO):
        assert channel.send(message).state == "sent"
    channel.close()
    assert "secret" not in caplog.text


def test_only_our_own_link_acts_in_slack(receiver: Any, evil: Message) -> None:
    channel = Slack("chat", receiver.url)
    assert channel.send(evil).state == "sent"
    channel.close()
    body = receiver.got[0].json
    acting = re.findall(r"<[^>]*>", json.dumps(body, ensure_ascii=False))
    assert set(acting) == {"<https://console.example.org/notice/a.b|Open>"}
    for text in _texts(body):
        assert "://" not in text.replace("https://console.example.org/notice/a.b", "")
        assert "@" not in text
        assert not set(text) & set("[]`") or "⟨U+" in text
        assert "evil.example|" not in text or "&lt;" in text
    assert [block["text"]["type"] for block in body["blocks"]] == [*["plain_text"] * 3, "mrkdwn"]
    assert not set(body["text"].replace("<https://console.example.org/notice/a.b|Open>", "")) & set("<>*~`@[]|!#")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def _mail(letters: Any, clock: ManualClock, **given: Any) -> Mail:
    fields: dict[str, Any] = {
        "tls": "starttls", "sender": "fiducial@example.org", "to": ("desk@example.org",), "people": True,
        "username": "fiducial", "password": "right", "clock": clock,
    }  # fmt: skip
    return Mail("post", "localhost", letters.port, **{**fields, **given})


@pytest.fixture
def trusted(certificate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mail server's certificate is one that this machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))


@pytest.mark.usefixtures("trusted")
def test_mail_is_plain_text_to_those_who_are_asked(letters: Any, evil: Message, clock: ManualClock) -> None:
    outcome = _mail(letters, clock).send(evil, ["ada@example.org", "gone@example.org"])
    assert (outcome.state, outcome.said) == ("sent", "1 of 3 addresses were refused")
    [envelope] = letters.taken
    assert envelope.rcpt_tos == ["desk@example.org", "ada@example.org"]
    assert letters.greeted == ["example.org"]
    letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert letter["To"] == "desk@example.org", "nobody learns who else was told"
    assert letter["Bcc"] is None
    assert (letter["Auto-Submitted"], letter.get_content_type()) == ("auto-generated", "text/plain")
    assert set(letter.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo",
    }  # fmt: skip
    text = letter.get_content()
    assert re.findall(r"\S+://\S+", text) == ["https://console.example.org/notice/a.b"]
    assert "⟨U+000D⟩⟨U+000A⟩Bcc" in text
    assert "\nBcc" not in text
    assert "\n" not in letter["Subject"]


def test_a_certificate_that_is_not_trusted_is_refused(letters: Any, message: Message, clock: ManualClock) -> None:
    outcome = _mail(letters, clock).send(message)
    assert (outcome.state, letters.taken) == ("later", [])
    assert "SSL" in outcome.said


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("given", "answer", "state"),
    [({"password": "wrong"}, "250 taken", "failed"), ({}, "452 full", "later"), ({}, "554 no", "failed"),
     ({"to": ("gone@example.org",)}, "250 taken", "failed"), ({"to": ()}, "250 taken", "later"),
     ({"tls": "implicit"}, "250 taken", "later")],
)  # fmt: skip
def test_what_a_mail_server_answers_means(
    letters: Any, message: Message, clock: ManualClock, given: dict[str, Any], answer: str, state: str
) -> None:
    letters.answer = answer
    outcome = _mail(letters, clock, **given).send(message)
    assert outcome.state == state
    assert letters.taken == []


def test_a_server_without_starttls_gets_no_mail(open_letters: Any, message: Message, clock: ManualClock) -> None:
    assert _mail(open_letters, clock).send(message).state == "failed"
    assert open_letters.taken == []
    plain = _mail(open_letters, clock, tls="none", username="", password="")
    assert plain.send(message).state == "sent", "where the settings say so, which they may for this machine only"


def test_by_default_no_argument_and_nobody_is_named(services: Services) -> None:
    held(services, user="emma.jones@example.org", task="secret task")
    said = compose(services, _notice(services), "none")
    everything = msgspec.json.encode(said).decode()
    for private in (ACCOUNT, "emma", "secret task", "120", "bill"):
        assert private not in everything, private
    assert said.title == "Approval needed: banking-assistant"
    assert said.lines[0] == "banking-assistant wants to move money (send_money)."
    assert "operator" in said.lines[1]
    assert "in 1 day" in said.lines[2]
    assert services.links.read(said.link.rpartition("/")[2]).hold == services.desk.waiting()[0].id
    assert compose(services, _notice(services), "none").json() == said.json(), "the same at every attempt"


def test_masked_details_show_the_ends_of_texts(services: Services) -> None:
    held(services, user=f"emma{EVIL}")
    details = dict(compose(services, _notice(services), "masked").details)
    assert details["recipient"] == f"…{ACCOUNT[-4:]} (untrusted)"
    assert details["amount"].startswith("120 (")
    assert set(details) == {"for", "recipient", "amount"}
    assert "://" not in details["for"]
    assert "\n" not in details["for"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("120", "120"), ("-1.5", "-1.5"), ("short", "…"), ("x" * 11, "…"), (ACCOUNT, "…6819"), ("120 EUR, now", "… now"),
     ("a" * 20 + "\n\u202e<>", "…⟨U+000A⟩⟨U+202E⟩<>"), ("9" * 30, "…9999"), ('{"a": "secretsecret"}', '…et"}')],
)  # fmt: skip
def test_masking(value: str, shown: str) -> None:
    assert masked_value(value, amount=True) == shown


@pytest.mark.parametrize(("value", "shown"), [("4711", "…"), ("491701234567", "…4567"), ("120 EUR, now", "… now")])
def test_a_number_that_says_where_is_masked_like_a_text(value: str, shown: str) -> None:
    assert masked_value(value, amount=False) == shown


def test_what_was_stopped_taken_and_resumed(services: Services, clock: ManualClock) -> None:
    halt = Switches(services.store, services.clock).order(
        "the bank called Emma", by=PersonId("olga"), user="emma", tool="send_money"
    )
    Switches(services.store, services.clock).order("all", by=PersonId("olga"))
    services.desk.break_glass(PersonId("olga"), "operator", "nobody else is here", services.settings.link / 12)
    Switches(services.store, services.clock).lift(halt.id, by=PersonId("omar"), why="a drill")
    found = notices(services.store, services.desk, clock.unix_us())
    assert sorted(each.kind for each in found) == ["emergency", "halt", "halt", "resume"]
    for each in found:
        text = msgspec.json.encode(compose(services, each, "none")).decode()
        for private in ("emma", "Emma", "olga", "omar", "called", "nobody else"):
            assert private not in text, (each.kind, private)
        assert f"{services.origin}/halt" in text
    masked = {each.id: dict(compose(services, each, "masked").details) for each in found}
    assert masked[f"halt_{halt.id}"] == {"user": "emma", "by": "olga", "why": "the bank called Emma"}
    clock.advance(services.settings.link)
    assert notices(services.store, services.desk, clock.unix_us()) == []


def test_people_are_told_where_they_have_an_address(services: Services) -> None:
    from fiducial.console.notify.notifier import addresses
    from fiducial.oversight.people import Person

    everybody = (
        ("ada", "operator", "ada@example.org"), ("ben", "operator", ""), ("emma", "operator", "emma@example.org"),
        ("zoe", "fraud-desk", "zoe@example.org"),
    )  # fmt: skip
    for name, role, mail in everybody:
        person = Person(id=PersonId(name), name=name, roles=(role,), email=mail)
        services.people.add(person, by=PersonId("console"))
    held(services)
    assert addresses(services, _notice(services)) == ("ada@example.org",), "and not whom the agent acts for"


def test_settings_become_channels(write: Callable[..., NotifySettings], services: Services, tmp_path: Path) -> None:
    from fiducial.console.notify.notifier import Notifier

    settings = write(
        "channels:\n"
        "  a: {kind: webhook, url_env: URL, secrets: [HOOK_SECRET]}\n  b: {kind: slack, url_env: URL}\n"
        "  c: {kind: smtp, host: localhost, tls: none, from: a@example.org, to: [b@example.org]}\n"
        "routes: [{to: [a, b, c], roles: [operator]}]\n",
        URL="https://hooks.example.org/x",
    )
    notifier = Notifier(services, settings)
    assert [channel.kind for channel in notifier._channels] == ["webhook", "slack", "smtp"]
    assert notifier.unheard() == ["fraud-desk", "user"], "and nobody is asked to answer as a `customer`"
    notifier.stop()
