"""Whatever tools, users and third parties write shows as text: stored, reflected, invisible, and long."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from console_world import QUOTED, ROOT, SCRIPT, Browser

from fiducial.console.services import Services
from fiducial.core.ids import SessionId
from fiducial.store.sqlite import SqliteStore

TEMPLATES = sorted((ROOT / "src" / "fiducial" / "console" / "templates").glob("*.html"))
STATIC = ROOT / "src" / "fiducial" / "console" / "static"
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and that every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def check(text: str) -> None:
    """`text` holds only elements of ours."""
    page = Page(text)
    assert page.open == [], "an element is left open"
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "style" not in attributes
        assert tag not in ("iframe", "object", "embed", "base", "style", "template")
        for name in ("href", "src", "action"):
            value = attributes.get(name)
            assert value is None or re.match(r"[/#?]|http://127\.0\.0\.1", value), (tag, value)
            assert value is None or not value.startswith("//")
        if tag == "script":
            assert (attributes.get("src") or "").startswith("/static/console.js")
        if tag == "img":
            assert (attributes.get("src") or "").startswith("/static/icon.svg")
    assert "alert(1)</script>" not in text
    assert "\u202e" not in text
    assert "\u200b" not in text


def test_a_session_shows_what_attackers_wrote_as_text(
    services: Services, browser: Browser, attacked: SessionId
) -> None:
    browser.as_(services, "viewer")
    pages = ["/sessions", f"/sessions/{attacked}"]
    pages += [f"/events/{record.event.id}" for record in services.ledger.session(attacked)]
    for path in pages:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        check(answer.text)
    told = browser.get(f"/sessions/{attacked}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in told
    assert 'title="right-to-left override">⟨U+202E⟩</span>' in told
    assert "⟨U+200B⟩" in told
    assert "the answer of the model" in told
    assert "Somebody wrote: &lt;script&gt;" in told


@pytest.mark.parametrize("text", [SCRIPT, QUOTED, "{{ 7*7 }}", "\u202e", "javascript:alert(1)"])
def test_what_an_address_says_is_reflected_as_text(services: Services, browser: Browser, text: str) -> None:
    browser.as_(services, "admin")
    for path in ("/people", "/ledger", "/account", "/sign-in"):
        answer = browser.get(path, params={"q": text, "done": text, "next": text, "verdict": text, "page": "1"})
        check(answer.text)
        assert "49" not in re.findall(r">\s*(49)\s*<", answer.text)
    browser = browser.as_(services, "viewer")
    answer = browser.get("/sessions", params={"q": text, "state": text})
    check(answer.text)
    check(browser.get(f"/{text}").text)
    check(browser.get(f"/sessions/{text}").text)


@pytest.mark.parametrize("field", ["id", "name", "email"])
def test_a_form_that_is_refused_gives_back_text(services: Services, browser: Browser, field: str) -> None:
    browser.as_(services, "admin")
    fields = {"id": "cleo", "name": "Cleo", "email": "", field: f"{SCRIPT}{QUOTED}\u202e"}
    answer = browser.submit("/people", "/people", **fields)
    assert answer.status_code == 422
    check(answer.text)
    name = browser.submit("/sign-in", "/sign-in", name=f"{SCRIPT}{QUOTED}\u202e", password="x")
    check(name.text)


@pytest.mark.long
def test_long_texts_are_cut_and_say_so(
    services: Services, store: SqliteStore, browser: Browser, attacked: SessionId
) -> None:
    import fiducial

    with fiducial.Guard(services.charter, store=store).session(
        user="emma", roles=["customer"], task="x" * 10**6
    ) as session:
        session.call("read_file", {"file_path": "y" * 10**6}, run=lambda file_path: {"rows": ["z" * 50] * 30_000})
    store.flush()
    browser.as_(services, "viewer")
    page = browser.get(f"/sessions/{session.id}")
    assert page.status_code == 200
    assert len(page.text) < 400_000
    assert "999,000 characters left out" in page.text
    check(page.text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_gets_round_the_escaping(template: Path) -> None:
    text = template.read_text()
    assert re.findall(r"\|\s*(?:safe|e|escape|forceescape|tojson|xmlattr|urlize|striptags)\b", text) == []
    assert "autoescape" not in text
    assert "Markup" not in text
    assert re.findall(r"<[^>]*\s(?:style|on\w+)=", text) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    # Every attribute is quoted: without quotes a space would end it.
    assert re.findall(r"\s[\w-]+=\{\{", text) == []
    # An address begins with a path of ours, never with a value, but for the three that pages make themselves.
    for value in re.findall(r'(?:href|src|action)="(\{\{[^"]*)"', text):
        assert re.match(r"\{\{ (?:static\(|path |'\?page=)", value), value


def test_every_form_that_changes_something_carries_the_token() -> None:
    for template in TEMPLATES:
        for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", template.read_text(), re.DOTALL):
            assert "parts.csrf(visit)" in form, template.name


def test_nothing_comes_from_elsewhere_and_nothing_is_minified() -> None:
    for path in [*TEMPLATES, *STATIC.iterdir()]:
        text = path.read_text()
        outside = re.findall(r"(?:https?:)?//(?!www\.w3\.org)[\w.-]+\.\w+", text)
        assert outside == [], path.name
        assert max(map(len, text.splitlines())) < 600, path.name
        assert "@import" not in text
        assert "eval(" not in text
        assert "innerHTML" not in text
