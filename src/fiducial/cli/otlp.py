"""`fiducial log otlp`: the ledger as OpenTelemetry spans, sent to a collector."""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from fiducial.cli.reporting import fail, reporting, warn
from fiducial.core.address import is_private
from fiducial.errors import CharterError, Conflict, RolledBack, StoreError

if TYPE_CHECKING:
    from fiducial.gateway.otlp.exporter import Exporter

_LOOK = 1.0
"""Seconds between two looks for what is new."""
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def otlp(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The ledger's database: a path, or `postgresql://…`.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="The collector: http://127.0.0.1:4318")],
    content: Annotated[
        bool,
        typer.Option(
            "--content",
            help="Also send who it was for, and what was said, asked and returned, masked; needs --charter.",
        ),
    ] = False,
    charter: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The charter that says how its own data classes are written."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
) -> None:
    """Send the ledger to an OpenTelemetry collector, as spans by the GenAI conventions over OTLP/HTTP.

    Run it again to send what came since: the store knows how far each collector is. Headers, such as a token, come from
    OTEL_EXPORTER_OTLP_HEADERS. Exit status: 0 sent; 1 the collector did not take all of it; 2 could not run.
    """
    try:
        from fiducial.gateway.otlp.exporter import Exporter
    except ImportError:
        fail("this needs OpenTelemetry's wire types: `pip install 'fiducial[otel]'`", 2)
    from fiducial.cli.log import opened
    from fiducial.flow.masking.detect import BUILT_IN
    from fiducial.guard.tool import detection_of
    from fiducial.policy.load import load_charter

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        fail("the collector's address is a URL such as http://127.0.0.1:4318", 2)
    if not is_private(url):
        fail("what goes to another machine is read by nobody on the way: give the collector's https:// address", 2)
    if content and charter is None:
        fail("--content needs --charter: it says how the data classes are written that are masked there", 2)
    try:
        detection = detection_of(load_charter(charter)) if charter is not None else BUILT_IN
    except CharterError as error:
        fail(str(error), 2)
    with (
        reporting(),
        opened(store) as kept,
        closing(
            Exporter(kept, url, headers=_headers(os.environ.get(HEADERS, "")), content=content, detection=detection)
        ) as exporter,
    ):
        if not follow:
            raise typer.Exit(_once(exporter))
        with suppress(KeyboardInterrupt):
            _follow(exporter)


def _once(exporter: Exporter) -> int:
    """Send all there is; the command's exit status."""
    spans, status = 0, 0
    while True:
        sent = exporter.send()
        spans += sent.spans
        if sent.refused:
            warn(sent.refused)
            status = 1
        if sent.failed:
            warn(f"{sent.failed}; run it again to send the rest")
            status = 1
        if sent.failed or not sent.more:
            typer.echo(f"{spans} spans sent")
            return status


def _follow(exporter: Exporter) -> None:
    """Send what comes, until interrupted or until another exporter does."""
    said = ""
    while True:
        wait = _LOOK
        try:
            sent = exporter.send()
        except (Conflict, RolledBack):
            raise
        except StoreError as error:
            failed, refused = str(error), ""
        else:
            failed, refused = sent.failed, sent.refused
            wait = 0.0 if sent.more else sent.wait.total_seconds() or _LOOK
        if refused:
            warn(refused)
        if failed and failed != said:
            warn(f"{failed}, which is tried again")
        said = failed
        time.sleep(wait)


def _headers(text: str) -> dict[str, str]:
    """Headers as the variable holds them: `name=value,…`, percent-encoded. Ends the command when they are none."""
    found = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = each.partition("=")
        value = unquote(value.strip())
        plain = (name.strip() + value).isascii() and (name.strip() + value).isprintable()
        if not name.strip() or not equals or not plain:
            fail(f"`{HEADERS}` holds `name=value`, separated by commas, each percent-encoded", 2)
        found[name.strip().lower()] = value
    return found
