"""The file of settings: what is not understood is refused, all of it at once, with what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fiducial.console.notify.notices import Notice
from fiducial.console.notify.settings import NotifySettings, secret_bytes
from fiducial.core.address import is_loopback
from fiducial.errors import OversightError

Write = Callable[..., NotifySettings]
WHOLE = """
details: masked
channels:
  siem: {kind: webhook, url: https://siem.example.org/hook, secrets: [HOOK_SECRET]}
  chat: {kind: slack, url_env: CHAT_URL}
  post:
    kind: smtp
    host: mail.example.org
    from: fiducial@example.org
    people: true
    username: fiducial
    password_env: MAIL_PASSWORD
routes:
  - {to: [siem]}
  - {to: [chat, post], events: [request, escalation], roles: [fraud-desk], agents: [banking-assistant]}
"""
ENVIRONMENT = {"CHAT_URL": "https://hooks.slack.com/services/T/B/x", "MAIL_PASSWORD": "secret"}


def _told(settings: NotifySettings, **given: object) -> list[str]:
    fields = {"kind": "request", "about": "hld_1", "at_us": 0, "until_us": 1, "role": "fraud-desk"}
    notice = Notice(**{**fields, "agent": "banking-assistant", **given})  # type: ignore[arg-type]
    return [name for name in settings.channels if settings.routed(name, notice)]


def test_routes_choose_by_event_role_and_agent(write: Write) -> None:
    settings = write(WHOLE, **ENVIRONMENT)
    assert _told(settings) == ["siem", "chat", "post"]
    assert _told(settings, kind="escalation") == ["siem", "chat", "post"]
    assert _told(settings, kind="question") == ["siem"]
    assert _told(settings, role="operator") == ["siem"]
    assert _told(settings, agent="another") == ["siem"]
    assert _told(settings, kind="halt", role=None, agent=None) == ["siem"]


def test_what_concerns_every_agent_concerns_each(write: Write) -> None:
    settings = write(WHOLE.replace("events: [request, escalation], roles: [fraud-desk], ", ""), **ENVIRONMENT)
    assert _told(settings, kind="halt", role=None, agent=None) == ["siem", "chat", "post"]
    assert _told(settings, kind="halt", role=None, agent="another") == ["siem"]


WRONG = [
    ("details: masked", "details: everything", "not a value of `details`"),
    ("details: masked", "detials: none", "did you mean `details`?"),
    ("kind: slack", "kind: slak", "has the kind `slak`"),
    ("{kind: slack, url_env: CHAT_URL}", "{url_env: CHAT_URL}", "has no `kind`"),
    ("url: https://siem", "url: http://siem", "is not https"),
    ("https://siem.example.org/hook", "https://169.254.169.254/latest", "metadata"),
    ("https://siem.example.org/hook", "'https://[fe80::1]/'", "metadata"),
    *(
        ("https://siem.example.org/hook", f"'https://{host}/'", "metadata")
        for host in (
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.169.254.",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
        )
    ),
    ("https://siem.example.org/hook", "https://me:pw@siem.example.org/", "user name"),
    ("https://siem.example.org/hook", "ftp://siem.example.org/", "is not one of the web"),
    ("https://siem.example.org/hook", "http://127.0.0.1.example.org/", "is not https"),
    ("secrets: [HOOK_SECRET]", "secrets: []", "`secrets` is empty"),
    ("secrets: [HOOK_SECRET]", "secrets: [NO_SUCH]", "the environment has no `NO_SUCH`"),
    ("secrets: [HOOK_SECRET]", "secrets: [CHAT_URL]", "openssl rand"),
    ("secrets: [HOOK_SECRET]", "secrets: HOOK_SECRET", "must be a list"),
    ("url_env: CHAT_URL", "url_env: CHAT", "the environment has no `CHAT`"),
    ("url_env: CHAT_URL", "url: https://hooks.slack.com/x", "`url` is not a key here"),
    ("    from: fiducial@example.org", "    from: fiducial", "is no e-mail address"),
    ("    from: fiducial@example.org", '    from: "a@example.org\\r\\nBcc: b@example.org"', "is no e-mail address"),
    ("    people: true", "    people: false", "nobody gets this mail"),
    ("    people: true", "    tls: none\n    people: true", "in the clear"),
    ("    password_env: MAIL_PASSWORD", "", "go together"),
    ("    host: mail.example.org", "    host: mail.example.org\n    port: 70000", "at most 65535"),
    ("to: [siem]", "to: [seim]", "did you mean `siem`?"),
    ("  - {to: [siem]}\n", "", "no route leads to `siem`"),
    ("events: [request", "events: [requests", "did you mean"),
    ("roles: [fraud-desk]", "rolls: [fraud-desk]", "did you mean `roles`?"),
    ("  siem:", "  Siem!:", "is no name for a channel"),
    ("routes:", "routes: []\nrest:", "`routes` is empty"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG, ids=[wrong[:40] for _, wrong, _ in WRONG])
def test_what_is_wrong_is_said_with_its_line(write: Write, right: str, wrong: str, said: str) -> None:
    assert right in WHOLE
    with pytest.raises(OversightError, match=r"notify\.yaml:\d+: ") as error:
        write(WHOLE.replace(right, wrong, 1), **ENVIRONMENT)
    assert said in str(error.value)
    assert "pw@" not in str(error.value)


def test_every_problem_is_said_at_once(write: Write) -> None:
    with pytest.raises(OversightError, match="3 problems") as error:
        write(WHOLE.replace("kind: slack", "kind: slak").replace("[siem]", "[seim]"), **ENVIRONMENT)
    assert "no route leads to `siem`" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "channels: [", "channels: {}\nroutes: []", "x: 1", "channels: 3\nroutes: 3", "a: &b {}"]
)
def test_what_is_no_settings_is_refused(write: Write, text: str) -> None:
    with pytest.raises(OversightError, match="problem"):
        write(text)


def test_a_secret_has_the_bytes_that_the_specification_asks_for() -> None:
    assert (
        secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        == b"1\xf2\x90\xf6\xbf\x06)\x8a\xabO\x08\xd4<?\x08,\xf6H\xa3b\xda-\xa4\xb0"
    )
    for wrong in (
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_dG9vIHNob3J0",
        "whsec_!",
        "whsec_" + "QUJD" * 22,
    ):
        assert secret_bytes(wrong) is None, wrong


@pytest.mark.parametrize(
    ("host", "same"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("127.0.0.1.example.org", False),
     ("0.0.0.0", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_only_this_machine_is_this_machine(host: str, same: bool) -> None:
    assert is_loopback(host) is same
