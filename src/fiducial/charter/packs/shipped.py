"""The packs that ship with Fiducial: `NAME.yaml` beside this module, one for each set of tools.

    area       what the tools are about: `files`, `sql`, `email` …
    about      the tools, in a sentence
    servers    the packages that it was held against, and how far
    reasons    {tool: why its contract is milder than its name or its server says}
    left_out   {tool: {argument of the server's: why calls with it are refused}}
    tools      {name: contract}, as in contracts.yaml; `server` is for the charter to say

A pack is about the tools of one server, since names of tools are unique within one and not beyond it. It is read as
strictly as a charter is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec
from pydantic import Field, ValidationError, field_validator

from fiducial.charter.contracts import Contract, _Written
from fiducial.charter.findings import did_you_mean, quote, report
from fiducial.charter.yaml import Document, read_yaml
from fiducial.core.path import Path
from fiducial.errors import CharterError, Problem

SHOWN = "fiducial/charter/packs/"
"""Before a pack's file in problems: it is the package's and not the charter's."""

Held = Literal["called", "listed"]
"""How far a pack was held against a server. `called`: tests run the server and call it through the guard; `listed`:
what it says of its tools was read, and calling it takes an account or a system that no test has."""


class ServerPackage(_Written):
    """A package that serves the tools of a pack."""

    package: str = Field(min_length=1)
    """Its name, after that of its registry: `npm:@modelcontextprotocol/server-filesystem`."""
    version: str = Field(min_length=1)
    """The one that the pack was held against."""
    held: Held
    """How far."""


class _File(_Written):
    """What a pack's file says."""

    area: str = Field(min_length=1)
    about: str = Field(min_length=1)
    servers: tuple[ServerPackage, ...] = Field(min_length=1)
    reasons: dict[str, str] = Field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = Field(default_factory=dict)
    tools: dict[str, Contract] = Field(min_length=1)

    @field_validator("servers", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """One pack, read and checked by itself."""

    name: str
    """By which charters name it."""
    area: str
    """What its tools are about."""
    about: str
    """The tools, in a sentence."""
    servers: tuple[ServerPackage, ...]
    """What it was held against."""
    reasons: dict[str, str]
    """Tool → why its contract is milder than its name or its server says."""
    left_out: dict[str, dict[str, str]]
    """Tool → argument that the server takes (`filename`, `params.outputDir`) → why the contract does not."""
    contracts: dict[str, Contract]
    """By tool, of the server that is called as the pack is."""
    lines: dict[Path, int]
    """Path in its file → line."""

    def document(self) -> Document:
        """Its file, for problems that a charter has with it."""
        return Document(SHOWN + self.name + ".yaml", lines=self.lines)


def pack_names() -> list[str]:
    """The names of all packs, sorted."""
    found = (each.name for each in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


@cache
def load_pack(name: str) -> Pack:
    """The pack `name`.

    Raises `CharterError` when there is none, or when its file is not sound: then the package is not what was released.
    """
    names = pack_names()
    if name not in names:
        fix = did_you_mean(name, names) or "see `fiducial packs list`"
        raise CharterError([Problem("", 0, "unknown-pack", f"there is no pack {quote(name)}", fix)])
    file = name + ".yaml"
    document = read_yaml(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"), SHOWN + file)
    found = _validated(document)
    if found is None or document.problems:
        raise CharterError(document.problems)
    return Pack(
        name=name,
        area=found.area,
        about=found.about,
        servers=found.servers,
        reasons=found.reasons,
        left_out=found.left_out,
        contracts={tool: contract.model_copy(update={"server": name}) for tool, contract in found.tools.items()},
        lines=document.lines,
    )


def packs_with(tool: str, contract: Contract) -> Iterator[Pack]:
    """Those that have this very contract of a tool, whatever its server is called."""
    for pack in map(load_pack, pack_names()):
        known = pack.contracts.get(tool)
        if known is not None and known == contract.model_copy(update={"server": pack.name}):
            yield pack


def _validated(document: Document) -> _File | None:
    if not document.readable:
        return None
    data: Any = document.data
    try:
        found = _File.model_validate(data)
    except ValidationError as error:
        report(document, error, _File)
        return None
    document.problems += [
        Problem(
            document.file, document.line(("tools", tool)), "unknown-key", f"{quote(tool)} has a `server`", "drop it"
        )
        for tool, contract in found.tools.items()
        if "server" in contract.model_fields_set
    ]
    document.problems += [
        Problem(document.file, document.line((key, tool)), "unknown-tool", f"there is no tool {quote(tool)}")
        for key, said in (("reasons", found.reasons), ("left_out", found.left_out))
        for tool in said.keys() - found.tools.keys()
    ]
    return found


__all__ = ["SHOWN", "Held", "Pack", "ServerPackage", "load_pack", "pack_names", "packs_with"]
