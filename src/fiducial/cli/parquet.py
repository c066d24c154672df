"""`fiducial log export --format parquet`: the ledger's events as sealed files for analytics."""

from __future__ import annotations

from pathlib import Path

import typer

from fiducial.cli.reporting import fail, reporting
from fiducial.store.open import open_ledger


def export(db: str, directory: Path, tenant: str | None) -> None:
    """Write what the files in `directory` do not hold yet of the ledger, and print the files."""
    try:
        from fiducial.store.parquet import seal
    except ImportError:
        fail("Parquet needs PyArrow: `pip install 'fiducial[analytics]'`", 2)
    with reporting(), open_ledger(db) as ledger:
        written = seal(ledger, directory, tenant=tenant)
    for each in written:
        typer.echo(f"entries {each.first} to {each.stop - 1} in {each.path}")
    if not written:
        typer.echo(f"{directory} holds all of the log already", err=True)
