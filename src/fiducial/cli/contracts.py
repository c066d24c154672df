"""`fiducial contracts`: drafting contracts from what tool servers say about their tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fiducial.charter.contracts import Contract
from fiducial.charter.draft import draft_contracts
from fiducial.charter.infer import infer_contracts
from fiducial.charter.yaml import read_yaml
from fiducial.cli.reporting import fail, plain_json
from fiducial.errors import CharterError, Problem

MAX_BYTES = 32 * 2**20
"""Largest tool list read; the largest public OpenAPI documents have a third of it."""

app = typer.Typer(no_args_is_help=True, help="Draft contracts from what tool servers say about their tools.")


@app.callback()
def contracts() -> None:
    """Draft contracts from what tool servers say about their tools."""


@app.command()
def infer(
    tools: Annotated[
        Path, typer.Argument(metavar="TOOLS", help="An MCP `tools/list` result, or an OpenAPI 3 document.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write here instead of the terminal; never over.")] = None,
    server: Annotated[str, typer.Option("--server", help="Name of the system the tools belong to.")] = "local",
) -> None:
    """Draft contracts.yaml from a list of tools, marking what was guessed.

    Read the draft as a stranger would: what each tool does, on whom, and what comes back that others wrote. Remove
    `guessed: true` from what you have confirmed. Exit status: 0 drafted, 2 could not run.
    """
    drafted = infer_contracts(read_tool_list(tools), server=server)
    text = HEADER + draft_contracts(drafted)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_new(out, text)
    typer.echo(f"{len(drafted)} contracts drafted in {out}; {_summary(drafted)}")


@app.command("list")
def list_tools(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What starts the server; after `--`.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write here instead of the terminal; never over.")] = None,
) -> None:
    """Print what an MCP server that is a command says of its tools, for `infer` and for `check --tools`.

    Its tools are not called. Exit status: 0 printed, 2 could not run.
    """
    try:
        from fiducial.gateway.mcp.listing import tools_of
    except ModuleNotFoundError:
        fail("`contracts list` needs more packages: `pip install 'fiducial[mcp]'`", 2)
    try:
        tools = tools_of(command)
    except OSError as error:
        fail(f"the server `{command[0]}` cannot be talked to: {error}", 2)
    text = plain_json(msgspec.json.format(msgspec.json.encode({"tools": tools}), indent=2).decode()) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    write_new(out, text)
    typer.echo(f"{len(tools)} tools listed in {out}")


HEADER = """\
# What each tool can do, stated without reference to any task. Drafted from names, descriptions and schemas: everything
# marked `guessed: true` waits for a person who knows. Look first at these:
#   effect, kind      a tool that changes more than it says
#   role: target      every parameter that decides where or on whom the tool acts
#   output            `trusted`: the system's own records; `prose`: records among which longer texts could be anyone's
#   asked_by          the words by which your users ask for it
"""


def read_tool_list(path: Path) -> Any:
    """The JSON (or YAML) in `path`; raises `CharterError` when it cannot be read."""
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise CharterError([_problem(path, f"cannot be read: {(error.strerror or 'error').lower()}")]) from None
    if len(data) > MAX_BYTES:
        raise CharterError([_problem(path, f"has more than {MAX_BYTES} bytes")])
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(data.decode("utf-8", "replace"), path.name)
        errors = [problem for problem in document.problems if problem.severity == "error"]
        if errors:
            raise CharterError(errors)
        return document.data
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CharterError([_problem(path, "is not JSON")]) from None


def write_new(path: Path, text: str) -> None:
    """Write `text` to `path`; raises `CharterError` when it exists or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise CharterError([_problem(path, "is there already, and is never written over")]) from None
    except OSError as error:
        raise CharterError([_problem(path, f"cannot be written: {(error.strerror or 'error').lower()}")]) from None


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 0, "unreadable", message, "name another file")


def _summary(drafted: dict[str, Contract]) -> str:
    reading = sum(contract.effect == "read" for contract in drafted.values())
    return f"{reading} only read, {len(drafted) - reading} change something: read them before you rely on them"


__all__ = ["app", "infer", "list_tools", "read_tool_list", "write_new"]
