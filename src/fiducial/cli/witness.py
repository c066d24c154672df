"""`fiducial log witness`: a small C2SP witness, so that somebody else than the log's operator sees each tree head."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fiducial.cli.reporting import cannot_run, fail, reporting
from fiducial.store.checkpoint import Verifier
from fiducial.store.published.witness import Witness


def witness(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to answer; port 0 is any free one.")],
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="Its key and what it has seen; made when missing. Never restore it.")
    ],
    log_key: Annotated[list[str], typer.Option(metavar="VKEY", help="A log to cosign, by its public key; repeat it.")],
    name: Annotated[
        str | None, typer.Option(help="The witness's name, a URL without its scheme; without it, one is made up.")
    ] = None,
) -> None:
    """Cosign the tree heads of the logs that it knows, each only if it extends all that were cosigned before."""
    try:
        from fiducial.store.published.service import serve
    except ImportError:
        fail("a witness needs a web server: `pip install 'fiducial[witness]'`", 2)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        fail(f"`{listen}` is no address to listen on; give HOST:PORT", 2)
    # Only what the witness refuses is worth a line.
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    with reporting():
        with cannot_run():
            logs = [Verifier(each) for each in log_key]
            cosigner = Witness(state, logs, name=name)
        with cosigner, suppress(KeyboardInterrupt):
            typer.echo(f"witness key {cosigner.key.text}")
            serve(cosigner, host.strip("[]"), int(port), lambda url: typer.echo(f"listening on {url}"))
