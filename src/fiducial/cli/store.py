"""`fiducial store`: the database around the log, brought up to date, checked, backed up and brought back.

Exit status 0 is clean; 1 means that something is wrong with the store; 2 that the command could not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, who
from fiducial.cli.reporting import cannot_run, judging, print_json, progress, reporting
from fiducial.core.clock import SystemClock
from fiducial.core.plain import plain
from fiducial.errors import StoreError
from fiducial.store import backup as sqlite_backup
from fiducial.store.checkpoint import Verifier
from fiducial.store.health import check as look
from fiducial.store.ledger import Ledger
from fiducial.store.open import beside, in_postgres, needing_postgres, target

app = typer.Typer(
    name="store",
    help="The database around the log: migrate, check, back up, restore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

KeyFile = Annotated[
    Path | None, typer.Option("--key-file", envvar="FIDUCIAL_KEY_FILE", help="Where the signing key is.")
]


@app.command()
def migrate(db: Database = DEFAULT_DATABASE) -> None:
    """Bring the tables to the format of this version. End whatever uses the store first."""
    with reporting():
        if in_postgres(db):
            with needing_postgres():
                from fiducial.store.postgres.migrate import migrate as upgrade
            before, after = upgrade(target(db))
        else:
            # SQLite has had one format; a newer one is refused here.
            Ledger.open(db).close()
            before = after = "1"
    typer.echo(f"format {after}, as before" if before == after else f"format {after}; before: {before or 'no tables'}")


@app.command()
def check(
    db: Database = DEFAULT_DATABASE,
    key: Annotated[str | None, typer.Option(metavar="VKEY", help="The public key that has to have signed it.")] = None,
    key_file: KeyFile = None,
    json: AsJson = False,
) -> None:
    """Check the log, what waits to go into it, and the settings that it relies on."""
    with judging(json), progress(json) as told:
        with cannot_run():
            verifier = None if key is None else Verifier(key)
        health = look(db, key=verifier, key_path=key_file, progress=told)
    if json:
        print_json({"sound": not health.findings, **msgspec.to_builtins(health)})
    else:
        typer.echo(f"{health.verified.size} entries verify; {health.parcels} transactions wait to go into the log")
        for finding in health.findings:
            typer.echo(plain(f"{finding.what}\n  {finding.fix}", keep="\n"))
    if health.findings:
        raise typer.Exit(1)


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Write log and control state, as of one instant, to a file. Others go on meanwhile. The key is not in it."""
    now = SystemClock().unix_us()
    with reporting():
        if in_postgres(db):
            with needing_postgres():
                from fiducial.store.postgres.backup import back_up
            made = back_up(target(db), out, at_us=now)
        else:
            made = sqlite_backup.back_up(Path(db), out, at_us=now)
    typer.echo(f"{made.size} entries of {made.origin} in {out}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `backup` wrote.")],
    why: Annotated[str, typer.Option(help="The reason, recorded in the log.")],
    db: Database = DEFAULT_DATABASE,
    by: By = None,
    key_file: KeyFile = None,
) -> None:
    """Put a backup in place of the store, once it verifies, and record that. What came after the backup is lost.

    Everything is stopped then, until somebody else lifts that with `fiducial resume`: agents may have done since what
    the backup does not know. Approvals are void, and everybody has to sign in again.
    """
    from fiducial.console.restored import settle

    now = SystemClock().unix_us()
    with reporting():
        files = beside(db, key_file)
        if not file.is_file():
            raise StoreError(f"there is no backup at `{file}`")
        if in_postgres(db):
            with needing_postgres():
                from fiducial.store.postgres.backup import bring_back
            event = bring_back(file, target(db), settle=settle, key_path=files.key, by=who(by), why=why, at_us=now)
        else:
            event = sqlite_backup.bring_back(
                file, Path(db), settle=settle, key_path=files.key, by=who(by), why=why, at_us=now
            )
    typer.echo(f"restored {event.size} entries, and recorded")
    if event.seen:
        typer.echo(f"at least {event.seen - event.size} later ones are lost", err=True)
    typer.echo(
        "everything is stopped until somebody else lifts that: see `fiducial halt` and `fiducial resume`", err=True
    )
