"""`fiducial packs`: contracts of widely used tools, which charters take by name."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fiducial.charter.draft import draft_contracts
from fiducial.charter.findings import did_you_mean, quote
from fiducial.charter.packs.shipped import Pack, load_pack, pack_names
from fiducial.cli.log import AsJson
from fiducial.cli.reporting import console, print_json, shown
from fiducial.core.canonical import digest
from fiducial.errors import CharterError, Problem

app = typer.Typer(no_args_is_help=True, help="Contracts of widely used tools, which charters take by name.")


@app.callback()
def packs() -> None:
    """Contracts of widely used tools, which charters take by name."""


@app.command("list")
def list_packs(json: AsJson = False) -> None:
    """List the packs: what each is about, and the servers that it was held against. Exit status: 0."""
    found = [load_pack(name) for name in pack_names()]
    if json:
        print_json({"packs": [_described(pack) for pack in found]})
        return
    table = Table("pack", "area", "tools", "held against", box=None, pad_edge=False)
    for pack in sorted(found, key=lambda pack: (pack.area, pack.name)):
        against = ", ".join(f"{each.package} {each.version} ({each.held})" for each in pack.servers)
        table.add_row(shown(pack.name), shown(pack.area), str(len(pack.contracts)), shown(against))
    console(wrap=True).print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="PACK", help="One that `fiducial packs list` names.")],
    tool: Annotated[list[str] | None, typer.Option("--tool", help="Only this tool; may be repeated.")] = None,
) -> None:
    """Print a pack's contracts as contracts.yaml has them: copy from it what your charter is to say otherwise.

    Exit status: 0 printed, 2 no such pack or tool.
    """
    pack = load_pack(name)
    for each in tool or ():
        if each not in pack.contracts:
            message = f"the pack {quote(name)} has no tool {quote(each)}"
            fix = did_you_mean(each, pack.contracts) or f"see `fiducial packs show {name}`"
            raise CharterError([Problem("", 0, "unknown-tool", message, fix)])
    lines = [f"# {pack.about}"]
    lines += [f"# held against {each.package} {each.version}: {each.held}" for each in pack.servers]
    lines += [f"# {each}: {why}" for each, why in pack.reasons.items() if not tool or each in tool]
    for each, said in pack.left_out.items():
        lines += [
            f"# {each}: `{at}` is left out, because {why}" for at, why in said.items() if not tool or each in tool
        ]
    chosen = {each: contract for each, contract in pack.contracts.items() if not tool or each in tool}
    typer.echo("\n".join(lines) + "\n" + draft_contracts(chosen), nl=False)


def _described(pack: Pack) -> dict[str, object]:
    return {
        "name": pack.name,
        "area": pack.area,
        "about": pack.about,
        "digest": digest({name: one.model_dump(mode="json", by_alias=True) for name, one in pack.contracts.items()}),
        "servers": [each.model_dump() for each in pack.servers],
        "tools": {name: contract.effect.value for name, contract in pack.contracts.items()},
    }


__all__ = ["app"]
