"""What a charter takes of packs, under `packs:` in contracts.yaml.

    packs:
      - filesystem                                        all of it; its server is called `filesystem`
      - {pack: github, server: code, only: [get_issue]}   two of its keys say otherwise

1. What the charter's own `tools:` say of a tool stands alone: a pack adds nothing to it and takes nothing from it.
   Where it is milder than the pack, that is told.
2. Two packs that describe one tool are a problem, unless they describe it alike or the charter does so itself.
3. A pack that is not there, or a tool that a pack does not have, is a problem: nothing is taken in its stead.

The contracts become the charter's, so its digest covers them, and problems with them are found as in its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, field_validator, model_validator

from fiducial.charter.contracts import Contract, _Written
from fiducial.charter.findings import did_you_mean, quote, validated
from fiducial.charter.milder import milder
from fiducial.charter.packs.shipped import Pack, load_pack
from fiducial.charter.yaml import Document
from fiducial.core.path import Path
from fiducial.errors import CharterError

_NAMED = 3
"""Tools that a problem names before it counts the rest."""


class PackUse(_Written):
    """A pack, and what a charter takes of it; the pack's name alone takes all."""

    pack: str = Field(min_length=1)
    """Its name, as `fiducial packs list` has it."""
    server: str | None = Field(default=None, min_length=1)
    """What the charter calls the server that has the tools; `None`: as the pack is called."""
    only: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The tools that are taken; `None`: all."""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        return {"pack": value} if isinstance(value, str) else value

    @field_validator("only", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


@dataclass(slots=True)
class Packed:
    """What the packs of a charter add to it."""

    contracts: dict[str, tuple[Contract, Document, Path]] = field(default_factory=dict)
    """By tool, with the document and path of where it is described."""
    documents: list[Document] = field(default_factory=list)
    """The packs' own, which get the problems with them."""
    whole: bool = True
    """False: a pack could not be told, so nobody can say which tools there are."""


def packed(document: Document, listed: Sequence[Any], own: Mapping[str, Contract | None]) -> Packed:
    """What the packs that are `listed` in `document` add to a charter that describes the tools `own` itself.

    own  by tool; `None` where its contract cannot be read

    What is wrong with the list, and warnings of what is milder in `own`, are added to the problems of `document`.
    """
    result = Packed()
    taken: dict[str, tuple[Contract, str]] = {}
    for index, written in enumerate(listed):
        path: Path = ("packs", index)
        use = validated(document, written, PackUse, path)
        pack = None if use is None else _found(document, use.pack, path)
        if use is None or pack is None:
            result.whole = False
            continue
        described, against = pack.document(), dict[str, list[str]]()
        result.documents.append(described)
        for name in _wanted(document, use, path, pack):
            if name in own:
                _compare(document, own[name], name, pack)
                continue
            contract = pack.contracts[name].model_copy(update={"server": use.server or use.pack})
            first, earlier = taken.setdefault(name, (contract, use.pack))
            if first != contract:
                against.setdefault(earlier, []).append(name)
            elif name not in result.contracts:
                result.contracts[name] = (contract, described, ("tools", name))
        for other, names in against.items():
            _contradict(document, path, (other, use.pack), names)
    return result


def _found(document: Document, name: str, path: Path) -> Pack | None:
    try:
        return load_pack(name)
    except CharterError as error:
        for each in error.problems:
            document.problem(path, each.code, each.message, each.fix)
    return None


def _wanted(document: Document, use: PackUse, path: Path, pack: Pack) -> list[str]:
    if use.only is None:
        return list(pack.contracts)
    for index, name in enumerate(use.only):
        at: Path = (*path, "only", index)
        if name not in pack.contracts:
            fix = did_you_mean(name, pack.contracts) or f"see `fiducial packs show {use.pack}`"
            document.problem(at, "unknown-tool", f"the pack {quote(use.pack)} has no tool {quote(name)}", fix)
    return [name for name in pack.contracts if name in use.only]


def _compare(document: Document, own: Contract | None, name: str, pack: Pack) -> None:
    found = milder(own, pack.contracts[name]) if own is not None else []
    if found:
        message = f"{quote(name)} is milder here than in the pack {quote(pack.name)}: {'; '.join(found)}"
        fix = f"compare it with `fiducial packs show {pack.name} --tool {name}`"
        document.problem(("tools", name), "milder-than-pack", message, fix, warning=True)


def _contradict(document: Document, path: Path, packs: tuple[str, str], names: list[str]) -> None:
    rest = len(names) - _NAMED
    listed = ", ".join(map(quote, names[:_NAMED])) + (f" and {rest} more" if rest > 0 else "")
    by = f"packs {quote(packs[0])} and {quote(packs[1])}, and not alike"
    message = f"{listed}: described by the {by if packs[0] != packs[1] else f'pack {quote(packs[0])} for two servers'}"
    fix = "take them from one of the two (`only`), describe them under `tools`, or give each server a charter"
    document.problem(path, "contradiction", message, fix)


__all__ = ["PackUse", "Packed", "packed"]
