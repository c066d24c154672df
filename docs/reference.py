"""Write the reference pages from the code: errors, faults, facts, settings and commands.

    python docs/reference.py            write the pages
    python docs/reference.py --check    write nothing; exit 1 and name the pages that differ

What a class or a field means is its docstring, read from the source, so that a name without a description fails here
and not in the hands of a reader. What is added by hand below is what to do about an error: `_ADVICE` must have an entry
for each and none besides, and so must `_FAULTS`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import typer
from pydantic import BaseModel
from typer.core import TyperGroup, TyperOption

from fiducial import cli, errors
from fiducial.charter import contracts, forms, model, recognition
from fiducial.charter.packs import use
from fiducial.core.verdict import Fault
from fiducial.policy import facts

HERE = Path(__file__).parent

_ADVICE = {
    "FiducialError": "Catch this one to catch them all.",
    "CharterError": "Run `fiducial check DIR`, or read `.problems`: each has a file, a line and a fix.",
    "PolicyError": "While loading: mend the policy it names. While running: calls are denied until it is solved.",
    "CallError": "See which of the four below it is.",
    "NotAllowed": "Read `.verdict`; tell the agent `.verdict.remedies.agent` and nothing more.",
    "CallMismatch": "Report an outcome with the tool and arguments that were decided; decide changed ones anew.",
    "ToolFailed": "`outcome` is `failed`: the tool said so. `unknown`: find out whether it happened, then go on.",
    "ToolRefused": "Raise it in a tool that has done nothing; what was reserved is given back.",
    "SessionError": "Open a new session.",
    "OversightError": "Read the message: it names what is missing or wrong in the answer. Nothing was decided by it.",
    "NotPermitted": "Have somebody else decide: who has the role, did not ask, and has not voted yet.",
    "AlreadySettled": "Look at the request again. If the call is still wanted, the agent makes it once more.",
    "CaptureError": "Read the message: it names what stands in the way. Mend it and try again.",
    "ChangedSince": "Look at what changed. Put it back by hand, or with `fiducial undo --force`.",
    "MaskingError": "Read the message for where the model failed, and mend it; ask again then.",
    "StoreError": "The effect did not run. Free the disk, or whatever the message names, and ask again.",
    "StoreBusy": "Try again. If it lasts: a faster disk, a server that answers, or fewer who want the same cells.",
    "StoreClosed": "Open the store again; look in the message for the fault that stopped its writer.",
    "Conflict": "Someone else changed what the decision rests on. Decide again.",
    "LedgerError": "See which of the four below it is.",
    "Corrupt": "Keep the files as they are, compare with a copy, and read `.index`: every entry before it verifies.",
    "RolledBack": "A backup was put back, or history was rewritten. Find the newer copy.",
    "TooNew": "Use a version of Fiducial at least as new as the one that wrote it.",
    "WrongKey": "Give the key that the log was signed with. If it was rotated, the log says when and by whom.",
}
_FAULTS = {
    "unknown-tool": (1, "No contract describes the tool.", "Write one, or draft it with `fiducial contracts infer`."),
    "bad-arguments": (2, "An argument is undeclared, missing or of another type.", "Send what the contract declares."),
    "withdrawn": (3, "The host does not use the tool as it is now.", "Look at `fiducial pins list`."),
    "halted": (3, "An operator has switched this agent, tool or everything off.", "Ask the operator."),
    "flow-failed": (4, "The arguments could not be traced.", "Report it: it is a defect."),
    "facts-failed": (5, "A fact could not be gathered.", "Look at the contract's preview and the store."),
    "policy-failed": (6, "A policy raised, or the engine could not answer.", "Mend the policy that the reason names."),
    "people-refused": (7, "A person said no, or nobody answered in time.", "Go on without the call; ask why."),
    "desk-failed": (7, "Nobody could be asked.", "Look at the reason: the store, or the roles that people have."),
    "store-failed": (8, "The decision could not be recorded.", "Look at the disk and the store's error."),
    "session-closed": (1, "The session is over.", "Open another."),
}
_INTRO = {
    "errors.md": "Every error is a `FiducialError`; the tree is one page of code, `fiducial/errors.py`. Messages are"
    " lower-case, put your values in backticks, say what to do next and never repeat an argument's value.",
    "facts.md": "What a policy can know about a call, besides `principal`, `action`, `resource` and the typed arguments"
    " in `context.input`. Sets hold names, never argument values.",
    "settings.md": "Every key of a charter's files. Unknown keys are refused. A key without a default must be given."
    " Durations have a unit (`30s`, `5m`, `2h`, `7d`, or ISO 8601); money is in minor units (cents).",
}


def _docstrings(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class name → field name → docstring, from the module's source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields: dict[str, str] = {}
        for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
            name = None
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
            if name and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                fields[name] = " ".join(str(after.value.value).split()).replace("`None`:", "without it:")
        found[node.name] = fields
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
    yield ""


def errors_page() -> str:
    """Every error, in the order of the tree."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    raised = [name for name in errors.__all__ if name != "Problem"]
    if set(_ADVICE) != set(raised):
        raise SystemExit(f"docs/reference.py: advice and errors differ: {sorted(set(_ADVICE) ^ set(raised))}")
    if set(_FAULTS) != {fault.value for fault in Fault}:
        raise SystemExit("docs/reference.py: faults and their descriptions differ")
    ordered = [name for name in _ADVICE if name in raised]
    lines = ["# Errors", "", _INTRO["errors.md"], "", "```text", tree, "```", ""]
    rows = [(f"`{name}`", str(getattr(errors, name).__doc__), _ADVICE[name]) for name in ordered]
    lines += _table(("error", "it means", "what to do"), rows)
    lines += ["## Faults", "", "A call that could not be judged is denied, and its reason carries a fault.", ""]
    lines += _table(
        ("fault", "step", "it means", "what to do"),
        [(f"`{name}`", str(step), means, todo) for name, (step, means, todo) in _FAULTS.items()],
    )
    lines += ["## Problems of a charter", "", str(errors.Problem.__doc__), ""]
    described = _docstrings(errors)["Problem"]
    lines += _table(("field", "what it is"), [(f"`{name}`", text) for name, text in described.items()])
    return "\n".join(lines)


def facts_page() -> str:
    """Every path a policy may read below `context`."""
    described = _docstrings(facts)
    lines = ["# Facts", "", _INTRO["facts.md"], ""]
    cedar = {"bool": "Bool", "int": "Long", "str": "String", "frozenset[str]": "Set&lt;String&gt;"}
    for group in msgspec.structs.fields(facts.Facts):
        struct = group.type
        title, _, text = str(struct.__doc__).partition(": ")
        lines += [f"## {title}", "", text[:1].upper() + text[1:], ""]
        rows = []
        for field in msgspec.structs.fields(struct):
            written = described[struct.__name__].get(field.name, "")
            annotation = struct.__annotations__[field.name]
            rows.append((f"`context.{group.name}.{field.name}`", cedar[str(annotation)], written))
        lines += _table(("fact", "type", "what it says"), rows)
    return "\n".join(lines)


_FILES: tuple[tuple[str, str, tuple[type[BaseModel], ...]], ...] = (
    (
        "charter.yaml",
        "The agent, who answers for it, and the limits of a session.",
        (
            model.About,
            model.Owners,
            model.Oversight,
            model.Budgets,
            model.SessionBudget,
            model.RateWindow,
            model.Memories,
            forms.Form,
            recognition.Recognition,
        ),
    ),
    ("intent.yaml", "Under `clauses:`, a list of clauses.", (model.Clause,)),
    (
        "contracts.yaml",
        "Under `tools:`, a mapping of tool names to contracts; under `packs:`, a list of [packs](packs.md).",
        (
            contracts.Contract,
            contracts.Parameter,
            contracts.Output,
            contracts.Memory,
            contracts.Probe,
            contracts.Undo,
            contracts.Capture,
            use.PackUse,
        ),
    ),
    (
        "cases/*.yaml",
        "Under `cases:`, a list of cases: each a request and the verdict it must get.",
        (model.Case, model.Given, model.GivenPlan, model.GivenStep, model.Observed, model.Asked, model.Expected),
    ),
)


_WORDS: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
    timedelta: "duration",
    Any: "anything",
}


def _type(annotation: Any) -> str:
    """The type as a reader of YAML would say it."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        return _type(args[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in args)
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"mapping of {_type(args[0])} to {_type(args[1])}"
    if origin in (Union, UnionType):
        return " or ".join(_type(arg) for arg in args if arg is not type(None))
    if issubclass(annotation, StrEnum):
        return "one of " + ", ".join(f"`{member.value}`" for member in annotation)
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def _default(value: Any) -> str:
    """A default as a reader of YAML would write it; empty for none, and for what is empty."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{value.total_seconds():g}s`"
    if isinstance(value, tuple) and value:
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{value}`" if isinstance(value, str | int | float) and value != "" else ""


def settings_page() -> str:
    """Every key people may write."""
    modules = (contracts, forms, recognition, use, model)
    described = {key: each for module in modules for key, each in _docstrings(module).items()}
    lines = ["# Settings", "", _INTRO["settings.md"], ""]
    for file, about, models in _FILES:
        lines += [f"## {file}", "", about, ""]
        for cls in models:
            lines += [f"### {cls.__name__}", "", " ".join(str(cls.__doc__).split()), ""]
            rows = []
            for name, field in cls.model_fields.items():
                default = (
                    "*required*" if field.is_required() else _default(field.get_default(call_default_factory=True))
                )
                text = described[cls.__name__].get(name, "")
                rows.append((f"`{field.alias or name}`", _type(field.annotation), default, text))
            lines += _table(("key", "type", "default", "what it says"), rows)
    return "\n".join(lines)


_MARK = "<!-- Everything below is written by docs/reference.py. -->"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, f"{path} {name}")
    else:
        yield path, command


def _with_variable(parameter: Any) -> str:
    """What a parameter says, and the environment variable that sets it."""
    said = parameter.help or ""
    return f"{said} (or `{parameter.envvar}` in the environment)" if parameter.envvar else said


def cli_page() -> str:
    """What the page says by hand, then every command with its arguments and options."""
    by_hand, mark, _ = (HERE / "cli.md").read_text().partition(_MARK)
    if not mark:
        raise SystemExit(f"docs/cli.md has lost the line `{_MARK}`")
    lines = [by_hand + mark, ""]
    for path, command in _commands(typer.main.get_command(cli.app), "fiducial"):
        usage, rows = [path, "[OPTIONS]"], []
        for parameter in command.params:
            if isinstance(parameter, TyperOption):
                names = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
                plain = isinstance(parameter.default, str | int | float | Path) and parameter.default is not False
                rows.append((names, f"`{parameter.default}`" if plain else "", _with_variable(parameter)))
            else:
                name = (parameter.metavar or parameter.name).strip("[]").upper()
                usage.append(name if parameter.required else f"[{name}]")
                rows.append((f"`{name}`", "", _with_variable(parameter)))
        lines += [f"## {path}", "", inspect.cleandoc(command.help or ""), "", "```text", " ".join(usage), "```", ""]
        if rows:
            lines += _table(("argument or option", "default", "what it says"), rows)
    return "\n".join(lines)


PAGES = {"cli.md": cli_page, "errors.md": errors_page, "facts.md": facts_page, "settings.md": settings_page}


def main() -> None:
    differ = []
    for name, write in PAGES.items():
        page, path = write().rstrip() + "\n", HERE / name
        if not path.exists() or path.read_text() != page:
            differ.append(name)
            if "--check" not in sys.argv:
                path.write_text(page)
    if differ:
        print(("differ from the code: " if "--check" in sys.argv else "written: ") + ", ".join(differ))
    if differ and "--check" in sys.argv:
        sys.exit("run `python docs/reference.py`")


if __name__ == "__main__":
    main()
