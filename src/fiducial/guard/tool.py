"""A tool as the guard knows it: the contract with everything that can be worked out once, at load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from fiducial.charter.arguments import arguments_checker
from fiducial.charter.contracts import Contract, Effect, Kind, Role
from fiducial.charter.model import DECLARE_PLAN, Charter
from fiducial.charter.money import minor_units
from fiducial.charter.schema import shape
from fiducial.charter.words import Phrase
from fiducial.core.canonical import digest
from fiducial.core.ids import Digest
from fiducial.core.path import PathPattern
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.flow.masking.recognizer import Recognizer
from fiducial.guard.intent import phrases_of
from fiducial.policy.rulebook import Rulebook, Slice
from fiducial.policy.schema import BUILT_IN_CONTRACTS


class ToolParameter(msgspec.Struct, frozen=True):
    """One parameter, as step 4 needs it."""

    name: str
    role: Role
    unit: str | None
    entity: str | None
    classes: frozenset[str]
    keys: frozenset[str] = frozenset()
    """Names of the members that its schema declares: the contract's words, and nobody's choice."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of one charter, ready to be called."""

    name: str
    contract: Contract
    digest: Digest
    """Of the contract."""
    slice: Slice
    """The policies that can apply to it."""
    check: Callable[[Mapping[str, Any]], list[str]]
    """Step 2: what is wrong with the arguments."""
    parameters: Mapping[str, ToolParameter]
    targets: tuple[str, ...]
    """Names of the target parameters."""
    contents: tuple[str, ...]
    """Names of the content parameters."""
    detects: bool
    """Some policy asks which data classes flow, so content that leaves is searched for them."""
    detection: Detection
    """What tells them there."""
    carries_classes: bool
    """Some parameter holds data of a class whatever its value is."""
    phrases: tuple[Phrase, ...]
    side_effect: bool
    trusted: tuple[PathPattern, ...]
    """Output paths that hold the tool's own records."""
    untrusted: tuple[PathPattern, ...]
    """Output paths among those that third parties can write after all."""
    prose: tuple[PathPattern, ...]
    classes: Mapping[str, tuple[PathPattern, ...]]
    records: str | None
    audience: str
    """The contract's."""
    reaches_others: bool
    """The act itself reaches somebody else, whoever is named."""
    speaks: bool
    """It answers."""
    grounded: tuple[str, ...]
    """Content parameters that are looked up in what was observed, because some policy asks for that."""
    documents: PathPattern | None
    """Where the ids of documents stand in its results."""
    keeps: str
    """Name of the memory that it stores into; empty when it does not."""
    recalls: str
    """Name of the memory that it recalls from; empty when it does not."""
    recalled: tuple[PathPattern, ...]
    """Where the texts of that memory stand."""
    declares: bool
    """It is the built-in tool by which plans are declared."""
    binds: tuple[Any, ...] = ()
    """What an approval of its calls is for, beside what every approval is."""
    kind: str
    cost: str | None
    """Parameter that is spent."""
    currency: str
    """Its ISO 4217 code; empty when nothing is spent."""

    def spend(self, arguments: Mapping[str, Any]) -> int:
        """Minor units that a call with `arguments` would spend. Raises `ValueError` when it is no such amount."""
        if self.cost is None:
            return 0
        value = arguments.get(self.cost)
        units = 0 if value is None else minor_units(value, self.currency)
        if units < 0:
            raise ValueError("must not be negative: it is what the call spends")
        return units


def ready(name: str, contract: Contract, rulebook: Rulebook, detection: Detection) -> Tool:
    """`contract` made ready under `rulebook`; `detection`: of its charter."""
    output, memory = contract.output, contract.memory
    cost = contract.parameters[contract.cost] if contract.cost else None
    return Tool(
        name=name,
        contract=contract,
        digest=digest(contract.model_dump(mode="json", by_alias=True)),
        slice=rulebook.slice(name),
        check=arguments_checker(contract),
        parameters={
            key: ToolParameter(
                key, value.role, value.unit, value.entity, frozenset(value.classes), frozenset(_members(value.schema_))
            )
            for key, value in contract.parameters.items()
        },
        targets=tuple(key for key, value in contract.parameters.items() if value.role is Role.TARGET),
        contents=tuple(key for key, value in contract.parameters.items() if value.role is Role.CONTENT),
        detects="flow.classes" in rulebook.slice(name).reads,
        detection=detection,
        carries_classes=any(value.classes for value in contract.parameters.values()),
        phrases=phrases_of(contract),
        side_effect=contract.effect is not Effect.READ and contract.kind is not Kind.RESPOND,
        trusted=tuple(map(PathPattern, output.trusted)),
        untrusted=tuple(map(PathPattern, output.untrusted)),
        prose=tuple(map(PathPattern, output.prose)),
        classes={name: tuple(map(PathPattern, paths)) for name, paths in output.classes.items()},
        records=output.records,
        audience=contract.audience.value,
        reaches_others=contract.kind in (Kind.SEND, Kind.PUBLISH, Kind.PAY),
        speaks=contract.kind is Kind.RESPOND,
        grounded=_grounded(contract, rulebook.slice(name)),
        documents=PathPattern(output.documents) if output.documents is not None else None,
        keeps=memory.of if memory is not None and contract.effect is not Effect.READ else "",
        recalls=memory.of if memory is not None and contract.effect is Effect.READ else "",
        recalled=tuple(map(PathPattern, memory.at)) if memory is not None else (),
        declares=name == DECLARE_PLAN,
        kind=contract.kind.value,
        cost=contract.cost,
        currency=(cost.unit or "") if cost else "",
    )


def _grounded(contract: Contract, slice: Slice) -> tuple[str, ...]:
    if not any(path == "flow.ungrounded" or path.startswith("grounding.") for path in slice.looks_at):
        return ()
    return tuple(name for name, parameter in contract.parameters.items() if parameter.grounded)


def _members(schema: Mapping[str, Any]) -> Iterator[str]:
    """Names of the members that a value can have, at any depth, as far as they are declared."""
    below = [shape(schema)]
    while below:
        what = below.pop()
        if what.properties is not None:
            yield from what.properties
            below.extend(what.properties.values())
        below.extend(what.one_of)
        below.extend(one for one in (what.items, what.values) if one is not None)


def all_ready(charter: Charter, rulebook: Rulebook, detection: Detection) -> dict[str, Tool]:
    """Every tool of `charter`, and the built-in ones; `detection`: the charter's."""
    contracts = {**charter.contracts, **BUILT_IN_CONTRACTS}
    return {name: ready(name, contract, rulebook, detection) for name, contract in contracts.items()}


def detection_of(charter: Charter) -> Detection:
    """What tells data classes from text, by `charter`. Raises `CharterError` when the model that it names cannot be
    asked."""
    about = charter.about
    if not (about.data_classes or about.detect or about.recognize):
        return BUILT_IN
    recognizer = Recognizer(about.recognize) if about.recognize is not None else None
    return Detection(about.data_classes, about.detect, recognizer)


def classes_of(*tools: Tool) -> frozenset[str]:
    """Data classes that results of `tools` can have, beside those of what they are called with."""
    of_parameters = (parameter.classes for tool in tools for parameter in tool.parameters.values())
    return frozenset(chain.from_iterable([*(tool.classes for tool in tools), *of_parameters]))
