"""`fiducial log publish`, and `fiducial log verify --tiles`: the ledger as files for outsiders, made and verified."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fiducial.cli.reporting import cannot_run, console, fail, judging, plain, print_json, progress, reporting
from fiducial.core.clock import instant
from fiducial.errors import LedgerError, StoreError
from fiducial.store.checkpoint import Verifier
from fiducial.store.ledger import Ledger
from fiducial.store.open import open_ledger
from fiducial.store.published.audit import Audited, audit
from fiducial.store.published.cosign import Cosignature, WitnessKey, distinct
from fiducial.store.published.objects import Folder, Objects
from fiducial.store.published.publish import Publication, Witnesses
from fiducial.store.published.publish import publish as bring_up_to_date


def publish(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The ledger's database: a path, or `postgresql://…`.")],
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Where to publish: a directory that any web server can serve, or `s3://…`."),
    ],
    witness: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Ask this witness to cosign; repeat it for more.")
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="A witness's public key; repeat it for each witness.")
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="Publish when this many witnesses have cosigned. Without it, all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="With --follow: seconds between two looks.")] = 10.0,
) -> None:
    """Publish the ledger as C2SP tlog-tiles: its entries, its tree and its signed head, but no payloads.

    Run it again to publish what came since. What is there is never taken back: a store that was put back or rewritten
    is refused.
    """
    with cannot_run(), reporting():
        keys = tuple(WitnessKey(each) for each in witness_key or ())
        if bool(witness) != bool(keys):
            fail("give both `--witness` and `--witness-key`: where a witness is asked, and what it signs with", 2)
        witnesses = Witnesses(tuple(witness or ()), keys, len(keys) if quorum is None else quorum)
    with reporting(), open_ledger(store) as ledger:
        objects = _objects(directory)
        if not follow:
            _say(bring_up_to_date(ledger, objects, witnesses), None)
            return
        with suppress(KeyboardInterrupt):
            _follow(ledger, objects, witnesses, interval)


def _objects(where: str) -> Objects:
    """The place at `where`: a directory, or below a prefix of a bucket. Raises `StoreError`."""
    if not where.startswith("s3://"):
        return Folder(Path(where))
    try:
        from fiducial.store.published.bucket import Bucket
    except ImportError as error:
        raise StoreError(str(error)) from error
    return Bucket(where)


def _follow(ledger: Ledger, objects: Objects, witnesses: Witnesses, interval: float) -> None:
    """Publish every `interval` seconds, until interrupted or until the log is at fault."""
    before: Publication | None = None
    while True:
        try:
            done = bring_up_to_date(ledger, objects, witnesses)
            _say(done, before)
            before = done
        except LedgerError:
            raise
        except StoreError as error:
            typer.echo(f"fiducial: {error}", err=True)
        time.sleep(interval)


def _say(done: Publication, before: Publication | None) -> None:
    """Print what is published, if that is not what was `before`, and who is missing."""
    if before is None or (done.checkpoint, done.cosignatures) != (before.checkpoint, before.cosignatures):
        cosigned = _cosigned(done.cosignatures)
        typer.echo(
            f"{done.checkpoint.size} entries published, {done.added} of them new"
            + (f"; cosigned {cosigned}" if cosigned else "")
        )
    for why in done.missing:
        typer.echo(f"fiducial: {why}", err=True)


def verify_tiles(
    directory: str,
    key: str | None,
    witness_keys: list[str],
    quorum: int | None,
    kept: list[tuple[str, str]],
    json: bool,
) -> None:
    """Verify the log published in `directory`, print what it is, and end as `fiducial log verify` does."""
    with judging(json):
        with cannot_run():
            verifier = None if key is None else Verifier(key)
            witnesses = distinct(WitnessKey(each) for each in witness_keys)
        asked = len(witnesses) if quorum is None else quorum
        if asked > len(witnesses):
            fail(f"a quorum of {asked} cannot be reached with {len(witnesses)} `--witness-key`", 2)
        with cannot_run():
            objects = _objects(directory)
        if isinstance(objects, Folder) and not objects.root.is_dir():
            fail(f"there is no directory `{directory}`", 2)
        with progress(json) as told:
            audited = audit(objects, key=verifier, witnesses=witnesses, quorum=asked, kept=kept, progress=told)
    if json:
        print_json(
            {
                "verified": True,
                "origin": audited.checkpoint.origin,
                "size": audited.checkpoint.size,
                "root": base64.b64encode(audited.checkpoint.root).decode(),
                "key": audited.key,
                "pinned": audited.pinned,
                "cosignatures": [
                    {"witness": each.witness.text, "at": instant(each.at_s * 1_000_000).isoformat()}
                    for each in audited.cosignatures
                ],
                "checkpoints": audited.kept,
            }
        )
        return
    _print(audited)


def _print(audited: Audited) -> None:
    out = console()
    head = audited.checkpoint
    out.print(Text(f"{plain(head.origin)} verifies", style="bold green"))
    table = Table(box=None, pad_edge=False, show_header=False)
    held_to = f"{audited.kept} kept checkpoint" + ("s" if audited.kept != 1 else "")
    for name, value in (
        ("entries", str(head.size)),
        ("root", base64.b64encode(head.root).decode()),
        ("key", plain(audited.key)),
        (
            "cosigned",
            _cosigned(audited.cosignatures) or "by nobody who was asked for: give witnesses with --witness-key",
        ),
        ("held to", held_to + (" and a key" if audited.pinned else "; no key: give one with --key")),
    ):
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    out.print(table)


def _cosigned(cosignatures: tuple[Cosignature, ...]) -> str:
    return ", ".join(
        f"by {plain(each.witness.name)} at {instant(each.at_s * 1_000_000):%Y-%m-%d %H:%M:%S} UTC"
        for each in cosignatures
    )
