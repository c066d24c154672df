"""Templates: every value is escaped and made visible, whether its author thought of it or not."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
from markupsafe import Markup, escape

from fiducial.console.text import LIMIT, marked, ticked, visible
from fiducial.console.words import told_as
from fiducial.core.clock import instant

DONE = {
    "saved": "Saved.",
    "added": "Added.",
    "ended": "That session is over.",
    "revoked": "Signed out everywhere; password, tokens and links are void.",
    "password": "Your password is set. Your other sessions are over.",
    "token-ended": "That token is void.",
    "verifying": "Every stored byte is being checked.",
    "answered": "Your answer is recorded.",
    "appealed": "Your appeal is under way: people who have not decided it are asked again.",
    "halted": "Halted. Nothing that matches starts any more.",
    "resumed": "Resumed.",
    "glass": "You have that role for now. Everybody sees it, and somebody else will review it.",
    "reviewed": "Your review is recorded.",
    "relied-upon": "It is relied upon as it is now.",
    "kept-out": "It is kept out. What it becomes later waits again.",
}
"""Notices, by what a redirect says: fixed sentences, so that an address cannot make the console say things."""
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Static:
    """The console's own files, kept in memory; their addresses change with their content."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self._versions: dict[str, str] = {}
        for file in sorted(files("fiducial.console").joinpath("static").iterdir(), key=lambda each: each.name):
            kind = _TYPES.get(file.name.rpartition(".")[2])
            if kind is not None:
                data = file.read_bytes()
                self._files[file.name] = data, kind
                self._versions[file.name] = hashlib.sha256(data).hexdigest()[:16]

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Content and media type."""
        return self._files.get(name)

    def address(self, name: str) -> str:
        """Where pages find it. Raises `KeyError` for a file that there is not."""
        return f"/static/{name}?v={self._versions[name]}"


@cache
def static() -> Static:
    """The files, read once for a process."""
    return Static()


@cache
def environment() -> jinja2.Environment:
    """Where templates are rendered. One for a process, because compiling them all takes half a second."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("fiducial.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_finalize,
    )
    made.filters.update(
        ago=ago,
        duration=duration,
        last_day=last_day,
        marked=marked,
        percent=percent,
        short=short,
        step=_step,
        ticked=ticked,
        truncated=_truncated,
        area=_area,
        field=field,
        raw=_raw,
        told_as=told_as,
        when=when,
    )
    made.globals.update(limit=LIMIT, static=static().address)
    return made


def _finalize(value: Any) -> Any:
    """What the templates do to every value that they show, before it is escaped."""
    if isinstance(value, Markup) or value is None:
        return "" if value is None else value
    return visible(str(value)) if not isinstance(value, int | float) else value


def when(at_us: int) -> Markup:
    """An instant, in UTC."""
    at = instant(at_us)
    shown = at.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(timespec="milliseconds"), shown)


def ago(us: int) -> str:
    """A stretch of time in words, roughly; `in …` when it is still to come."""
    seconds = abs(us) // 1_000_000
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = seconds // size
            words = f"{count} {unit}{'s' if count != 1 else ''}"
            return f"{words} ago" if us >= 0 else f"in {words}"
    return "now"


def duration(seconds: float) -> str:
    """A stretch of time, short ones to a tenth of a second."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3_600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 86_400 else f"{seconds / 86_400:.1f} days"


def percent(part: float) -> str:
    """A share in whole percent; what is neither nothing nor all never reads so."""
    whole = round(part * 100)
    return "<1 %" if whole == 0 and part > 0 else ">99 %" if whole == 100 and part < 1 else f"{whole} %"


def last_day(until_us: int) -> str:
    """The last whole day before an instant, as a date field holds it; empty for 0."""
    return instant(until_us - 1).strftime("%Y-%m-%d") if until_us else ""


def _step(text: str) -> str:
    """`text` as one step of a path, or one value of a query."""
    return quote(str(text), safe="")


def field(value: Any) -> str:
    """A value as a form's field holds it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _raw(value: Any) -> Markup:
    """A value for a control of a form: escaped and nothing else, because it comes back as what somebody approves."""
    return escape(str(value))


def _area(value: Any) -> Markup:
    """The same for a text area, of which browsers leave out a line break at the beginning."""
    return Markup("\n") + _raw(value)


def _truncated(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def short(identifier: str) -> str:
    """The end of an id or digest, which is what tells two apart."""
    return f"…{identifier[-8:]}" if len(identifier) > 14 else identifier


def in_words(duration: timedelta) -> str:
    """A wait, in words."""
    seconds = max(1, round(duration.total_seconds()))
    return f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"


__all__ = ["DONE", "Static", "environment", "field", "in_words", "when"]
