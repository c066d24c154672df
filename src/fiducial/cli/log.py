"""`fiducial log`: the ledger, read, verified, proved, exported, and erased from.

Everywhere, exit status 0 is clean; 1 means that something is wrong with the log, or that it does not hold what was
asked for; 2 that the command could not run. What is shown was written by agents, users and third parties: it is
printed as text, with control characters made visible.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from fiducial.cli import otlp, parquet, publish, witness
from fiducial.cli.entries import print_payloads, print_records, print_verified
from fiducial.cli.reporting import (
    cannot_run,
    fail,
    judging,
    plain,
    plain_json,
    print_json,
    progress,
    reporting,
)
from fiducial.core.clock import SystemClock
from fiducial.core.ids import Digest, EventId, SessionId
from fiducial.errors import LedgerError, StoreError
from fiducial.store import export, retained
from fiducial.store.checkpoint import Verifier
from fiducial.store.files import write_atomically
from fiducial.store.keyfile import next_path, read_key
from fiducial.store.ledger import Ledger
from fiducial.store.open import beside, in_postgres, open_ledger, open_store
from fiducial.store.proof import InclusionProof
from fiducial.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fiducial.store.postgres.store import PostgresStore

app = typer.Typer(
    name="log",
    help="The ledger: what happened, kept so that an outsider can verify it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(publish.publish)
app.command()(witness.witness)
app.command()(otlp.otlp)

DEFAULT_DATABASE = ".fiducial/fiducial.db"
_POLL_SECONDS = 0.5

Database = Annotated[
    str, typer.Option("--db", envvar="FIDUCIAL_DB", help="The ledger's database: a path, or `postgresql://…`.")
]
By = Annotated[
    str | None,
    typer.Option("--by", envvar="FIDUCIAL_BY", help="Who does it; without it, the user who runs this."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def who(by: str | None) -> str:
    """Who gives the command."""
    try:
        return by or getpass.getuser()
    except (KeyError, ImportError, OSError):
        fail("this user has no name; say who does it with --by", 2)


def key_file() -> Path | None:
    """Where the signing key is, when FIDUCIAL_KEY_FILE says so."""
    named = os.environ.get("FIDUCIAL_KEY_FILE")
    return Path(named) if named else None


def made(db: str) -> SqliteStore | PostgresStore:
    """The store at `db`, with the key that FIDUCIAL_KEY_FILE names, or else the one in its usual place."""
    return open_store(db, key_path=key_file())


def opened(db: str) -> SqliteStore | PostgresStore:
    """As `made`. Raises `StoreError` where there is none: a path that is misspelt is no new store."""
    with open_ledger(db):
        pass
    return made(db)


@app.command()
def tail(
    db: Database = DEFAULT_DATABASE,
    number: Annotated[int, typer.Option("-n", min=1, help="How many entries.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
    json: AsJson = False,
) -> None:
    """Print the latest entries."""
    with reporting(), open_ledger(db) as ledger:
        at = ledger.size
        print_records(ledger.entries(max(0, at - number), at), json)
        try:
            while follow:
                time.sleep(_POLL_SECONDS)
                size = ledger.size
                print_records(ledger.entries(at, size), json, headers=False)
                at = max(at, size)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@app.command()
def show(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session: ses_…")],
    db: Database = DEFAULT_DATABASE,
    payloads: Annotated[bool, typer.Option("--payloads", help="Also print what was said, asked and returned.")] = False,
    json: AsJson = False,
) -> None:
    """Print what happened in a session, in order."""
    with reporting(), open_ledger(db) as ledger:
        _known(ledger, SessionId(session), db)
        records = list(ledger.session(SessionId(session)))
        print_records(records, json, payloads=payloads)
        if payloads and not json:
            print_payloads(records)


@app.command()
def verify(
    database: Annotated[str | None, typer.Argument(metavar="DB", help="The ledger's database.")] = None,
    db: Database = DEFAULT_DATABASE,
    key: Annotated[str | None, typer.Option(metavar="VKEY", help="The public key that has to have signed it.")] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A checkpoint that you kept; the log has to contain it.")
    ] = None,
    tiles: Annotated[
        str | None, typer.Option(metavar="DIR", help="Verify what `publish` wrote there, and no database.")
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="With --tiles: a witness that may have cosigned it.")
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="With --tiles: how many of those witnesses must have. Without it, all.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Check every stored byte of the log, and say where it goes wrong.

    Without --key, the key file beside the database is what it is held to; without --checkpoint, the checkpoint there.
    Where there is no checkpoint either, nobody can tell whether the end is missing: exit status 1, as for a fault.
    With --tiles, the published files are all that is read.
    """
    if tiles is not None:
        if database is not None:
            fail("`--tiles` verifies published files and no database; leave out one of them", 2)
        publish.verify_tiles(tiles, key, witness_key or [], quorum, _notes(checkpoint or []), json)
        return
    if witness_key or quorum is not None:
        fail("witnesses cosign what is published: `--witness-key` and `--quorum` go with `--tiles`", 2)
    path = database or db
    with judging(json):
        with cannot_run():
            verifier = None if key is None else Verifier(key)
            notes = _retained(path, checkpoint)
            ledger = open_ledger(path)
        with ledger, progress(json) as told:
            if verifier is None:
                verifier = _own_key(path)
            verified = ledger.verify(key=verifier, checkpoints=notes, progress=told)
    if json:
        print_json({"verified": True, **msgspec.to_builtins(verified)})
    else:
        print_verified(verified)
    if not verified.checkpoints:
        fail(
            "what is there verifies, and entries may be missing at its end: the log is held to no checkpoint. "
            f"There is none at `{beside(path, key_file()).checkpoint}`; bring it back, or give one with --checkpoint",
            1,
        )


@app.command()
def prove(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Id of an event: evt_…")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Print a proof that an event stands in the log: JSON, for somebody who has only the log's public key."""
    with reporting(), open_ledger(db) as ledger:
        if ledger.find(EventId(event)) is None:
            fail(f"no event `{plain(event)}` in `{db}`; `fiducial log tail` lists the latest", 1)
        typer.echo(plain_json(ledger.prove(EventId(event)).to_json()))


@app.command()
def check(
    proof: Annotated[typer.FileText, typer.Argument(metavar="PROOF", help="What `prove` printed; `-` reads it.")],
    key: Annotated[str, typer.Option(metavar="VKEY", help="The log's public key, as you were given it.")],
) -> None:
    """Check a proof that an event stands in a log, with nothing but the log's public key; print the event."""
    with reporting():
        with cannot_run():
            verifier = Verifier(key)
        document = InclusionProof.parse(proof.read())
        document.verify(verifier)
        typer.echo(plain_json(document.entry))


@app.command()
def checkpoint(
    db: Database = DEFAULT_DATABASE,
    out: Annotated[Path | None, typer.Option(help="Write this file; without it, print.")] = None,
) -> None:
    """Print the newest tree head, signed. Keep it elsewhere: `verify --checkpoint` holds the log to it."""
    with reporting(), open_ledger(db) as ledger:
        note = ledger.checkpoint()
        if out is None:
            typer.echo(plain(note, keep="\n"), nl=False)
            return
        _replaces(db, out, note.partition("\n")[0].encode() + b"\n")
        try:
            write_atomically(out, note, mode=0o644)
        except OSError as error:
            fail(f"the checkpoint `{out}` cannot be written ({error.strerror}); check its path", 2)


@app.command()
def erase(
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD", help="Digest of a payload: sha256:…")],
    why: Annotated[str, typer.Option(help="The reason, recorded in the log; it must not repeat the data.")],
    db: Database = DEFAULT_DATABASE,
    by: By = None,
) -> None:
    """Erase a payload from every file that Fiducial wrote. The log still verifies, and says that it was erased."""
    with reporting():
        with open_ledger(db) as ledger:
            if not ledger.names_payload(Digest(payload)):
                fail(f"no entry names the payload `{plain(payload)}`; `fiducial log show` lists them", 1)
        with opened(db) as store:
            done = store.erase(Digest(payload), by=who(by), why=why)
    typer.echo("erased, and recorded" if done else "it was erased already")


@app.command(name="export")
def export_(
    db: Database = DEFAULT_DATABASE,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write this file; for Parquet, into this directory. Without it, print.")
    ] = None,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="With what was said, asked and returned. Erasing reaches --out files.")
    ] = False,
    format: Annotated[
        Literal["jsonl", "parquet"], typer.Option(help="Lines of JSON, or sealed Parquet files for analytics.")
    ] = "jsonl",
    tenant: Annotated[
        str | None, typer.Option(help="With Parquet: whose log it is; without it, the log's name.")
    ] = None,
) -> None:
    """Print the log as lines of JSON, one an entry; the last one holds the checkpoint.

    With --format parquet, write what the files in the directory do not hold yet into new ones, which never change.
    """
    if format == "parquet":
        if out is None or session is not None or payloads:
            fail("Parquet files hold the whole log, without payloads, and go into a directory: give `--out` alone", 2)
        parquet.export(db, out, tenant)
        return
    if tenant is not None:
        fail("`--tenant` is a column of Parquet files: it goes with `--format parquet`", 2)
    chosen = None if session is None else SessionId(session)
    with reporting():
        if out is not None:
            if payloads and in_postgres(db):
                fail("erasing reaches no file on another machine: without `--out`, payloads are printed", 2)
            _replaces(db, out, *export.BEGINNINGS)
            with open_ledger(db) as ledger:
                _known(ledger, chosen, db)
                if payloads:
                    export.remember(Path(db), out, SystemClock().unix_us())
                count = export.write(ledger, out, session=chosen, payloads=payloads)
            typer.echo(f"{count} lines in {out}", err=True)
            return
        with open_ledger(db) as ledger:
            _known(ledger, chosen, db)
            for line in export.lines(ledger, session=chosen, payloads=payloads):
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _replaces(db: str, out: Path, *beginnings: bytes) -> None:
    """Leaves alone what is the store's own, and a file that is there already and is nothing of the kind."""
    if os.path.realpath(out) in map(os.path.realpath, _own_files(db)):
        fail(f"`{out}` belongs to the store: give another name", 2)
    try:
        with out.open("rb") as file:
            start = file.read(max(map(len, beginnings)))
    except OSError:
        return  # nothing is there; or it cannot be written either, which says more
    if start and not start.startswith(beginnings):
        fail(f"`{out}` is there already, and is something else: give another name, or remove it", 2)


def _own_files(db: str) -> Iterator[Path]:
    """The files that the store at `db` keeps on this machine, whether they are there now or not."""
    own = beside(db, key_file())
    yield from (own.key, next_path(own.key), own.key.with_suffix(".laundry"), own.checkpoint)
    if not in_postgres(db):
        path = Path(db).resolve()
        yield from (path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".restoring"))


def _known(ledger: Ledger, session: SessionId | None, db: Database) -> None:
    if session is not None and next(iter(ledger.session(session)), None) is None:
        fail(f"no session `{plain(session)}` in `{db}`; `fiducial log tail` lists the latest", 1)


# What the log is held to


def _retained(database: str, given: list[Path] | None) -> list[tuple[str, str]]:
    """The checkpoints that the log is held to: where each came from, and its text."""
    if given:
        return _notes(given)
    path = beside(database, key_file()).checkpoint
    text = retained.load(path)
    return [] if text is None else [(str(path), text)]


def _notes(given: list[Path]) -> list[tuple[str, str]]:
    notes = []
    for path in given:
        text = retained.load(path)
        if text is None:
            fail(f"there is no checkpoint at `{path}`", 2)
        notes.append((str(path), text))
    return notes


def _own_key(database: str) -> Verifier | None:
    """The public half of the key beside the database; `None` when it is not there for this user to read."""
    path = beside(database, key_file()).key
    try:
        if not path.is_file():
            return None
        return read_key(path).verifier
    except LedgerError:
        raise
    except (StoreError, OSError):
        return None
