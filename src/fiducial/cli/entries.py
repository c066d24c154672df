"""Entries of the log, and what came of verifying it, as `fiducial log` prints them.

What is shown was written by agents, users and third parties: it is printed as text, with control characters made
visible.
"""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.table import Table
from rich.text import Text

from fiducial.cli.reporting import console, plain, plain_json
from fiducial.core.clock import instant
from fiducial.store import export
from fiducial.store.bundle import Record
from fiducial.store.ledger import Verified

_HIDDEN = frozenset({"id", "session", "at_us", "v", "payloads"})
"""Fields that have a column of their own, or that nobody reads."""
_EXCERPT = 2_000
"""Characters of a payload shown by `show --payloads`; `export` has them whole."""


_COLUMNS, _KIND = "{:>6}  {:19}  {:30}  {}", 18
_STYLES = {"allowed": "green", "held": "yellow", "unclear": "yellow", "denied": "red"}


def print_records(records: Iterable[Record], json: bool, *, headers: bool = True, payloads: bool = False) -> None:
    """A line for each record, however wide the terminal is; or the lines that `export` writes."""
    if json:
        for record in records:
            typer.echo(plain_json(export.entry_line(record, payloads=payloads).decode()), nl=False)
        return
    out = console()
    if headers:
        out.print(Text(_COLUMNS.format("entry", "time (UTC)", "session", "what"), style="dim"), soft_wrap=True)
    for record in records:
        event, kind = record.event, str(type(record.event).__struct_config__.tag)
        time = instant(event.at_us).strftime("%Y-%m-%d %H:%M:%S")
        line = Text(_COLUMNS.format(record.index, time, plain(event.session or ""), ""))
        line.append(kind.ljust(_KIND), _STYLES.get(str(getattr(event, "verdict", None)), ""))
        out.print(line.append("  " + _summary(record)), soft_wrap=True)


def print_payloads(records: Iterable[Record]) -> None:
    """What was said, asked and returned; the first characters of each."""
    out = console()
    for record in records:
        for stored in record.payloads:
            out.print(Text(f"\n{record.index} {stored.ref.role} {stored.ref.digest}", style="dim"))
            if stored.data is None:
                out.print(Text("erased", style="italic"))
                continue
            text = stored.data[: 4 * _EXCERPT].decode(errors="replace")
            shown = plain(text[:_EXCERPT], keep="\n\t")
            out.print(Text(shown + (" …" if len(text) > _EXCERPT else "")))


def print_verified(verified: Verified) -> None:
    """What was verified, and what it was held to."""
    out = console()
    out.print(Text(f"{plain(verified.origin)} verifies", style="bold green"))
    table = Table(box=None, pad_edge=False, show_header=False)
    held_to = f"{verified.checkpoints} kept checkpoint" + ("s" if verified.checkpoints != 1 else "")
    for name, value in (
        ("entries", f"{verified.size} in {verified.bundles} transactions"),
        ("root", verified.root),
        ("payloads", f"{verified.payloads} kept, {verified.erased} erased"),
        ("key", verified.keys[-1] + (f", after {len(verified.keys) - 1} rotated" if len(verified.keys) > 1 else "")),
        ("held to", held_to + (" and a key" if verified.pinned else "; no key: give one with --key")),
    ):
        table.add_row(Text(name, style="dim"), Text(plain(value), overflow="fold"))
    out.print(table)


def _summary(record: Record) -> str:
    parts = []
    for name in type(record.event).__struct_fields__:
        value = getattr(record.event, name)
        if name in _HIDDEN or value in (None, (), "", False):
            continue
        if isinstance(value, tuple):
            value = ",".join(str(getattr(each, "policy", each)) for each in value)
        parts.append(f"{name}={plain(str(value))}")
    parts += [
        f"{stored.ref.role}:{stored.ref.digest if stored.data is not None else 'erased'}" for stored in record.payloads
    ]
    parts.append(record.event.id)
    return " ".join(parts)
