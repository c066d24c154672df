"""Reading a charter from its directory: everything wrong with it is reported at once, with file, line and fix.

    charter.yaml         required   who, what for, limits                     `About`
    contracts.yaml       required   {tools: {name: contract}, packs: [pack]}  absent only for the tier `chat`
    intent.yaml                     {clauses: [clause]}
    policies/*.cedar                the rules, compiled in a layer above
    cases/*.yaml                    {cases: [case]}
    prompts/*.md, constitution.yaml, metrics.yaml, scenarios/*.yaml   counted in the digest, read above

1. Files are gathered. What looks as if it should count and would not (`contract.yaml`, `cases/x.yml`) is an error,
   other strangers are warned about; README, licences and hidden files are nobody's business.
2. Each file is read (`fiducial.charter.yaml`) and validated against its model.
3. What only the whole can show is checked (`fiducial.charter.crosscheck`).
4. With no error left, the charter is built and its digest taken. Half a charter is never returned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from fiducial.charter.contracts import Contract
from fiducial.charter.crosscheck import Parts, crosscheck
from fiducial.charter.findings import did_you_mean, quote, validated
from fiducial.charter.model import About, Case, Charter, Clause, PolicySource
from fiducial.charter.packs.use import packed
from fiducial.charter.yaml import MAX_BYTES, Document, read_yaml
from fiducial.core.canonical import digest, digest_bytes
from fiducial.core.ids import Digest
from fiducial.core.path import Path
from fiducial.errors import Problem

_FILES = ("charter.yaml", "intent.yaml", "contracts.yaml", "constitution.yaml", "metrics.yaml")
_FOLDERS = {"policies": ".cedar", "cases": ".yaml", "prompts": ".md", "scenarios": ".yaml"}
_IGNORED = ("readme", "license", "licence", "changelog", "notice")
_MAX_FILES = 2_000
"""Most files read; a charter with more is a directory given by mistake."""


def read_charter(directory: str | os.PathLike[str]) -> tuple[Charter | None, list[Problem]]:
    """The charter in `directory`, and every problem found, in file and line order.

    The charter is `None` exactly when a problem's severity is `error`. Never raises on what the directory holds.
    """
    draft, problems = read_draft(directory)
    return (None if any(problem.severity == "error" for problem in problems) else draft), problems


def read_draft(directory: str | os.PathLike[str]) -> tuple[Charter | None, list[Problem]]:
    """As `read_charter`, but also a charter with errors in it, where what it says can be told in spite of them.

    Only to look for more problems in it: keys that nobody knows are left out of it, or read as the key they resemble.
    """
    root = FilePath(directory)
    problems: list[Problem] = []
    if not os.path.isdir(root):
        message = f"there is no directory {quote(root)}"
        return None, [Problem("", 0, "no-charter", message, "make one with `fiducial init DIR`")]
    draft, found = _parse(_gather(root, problems))
    return draft, sorted([*problems, *found])


def parse_charter(files: Mapping[str, str]) -> tuple[Charter | None, list[Problem]]:
    """The charter that `files` (path relative to the charter's directory → text) make up, and every problem found."""
    draft, problems = _parse(files)
    return (None if any(problem.severity == "error" for problem in problems) else draft), problems


def _parse(files: Mapping[str, str]) -> tuple[Charter | None, list[Problem]]:
    sound: dict[str, str] = {}
    problems: list[Problem] = []
    for name, text in files.items():
        try:
            text.encode()
            sound[name] = text
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            problems.append(Problem(name, line, "not-utf8", "this is not UTF-8 text", "save the file as UTF-8"))
    draft, found = _Reader(sound).read()
    return draft, sorted([*problems, *found])


# ── 1. files ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _gather(root: FilePath, problems: list[Problem]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in _walk(root, problems):
        name = _name(path, root)
        if len(files) >= _MAX_FILES:
            problems.append(
                Problem("", 0, "too-large", f"there are more than {_MAX_FILES} files", "give the charter's directory")
            )
            break
        try:
            if path.exists() and not path.is_file():
                raise OSError(0, "it is no regular file")  # a pipe would block, a device never end
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                problems.append(Problem(name, 0, "too-large", f"the file has more than {MAX_BYTES} bytes", "split it"))
                continue
            files[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            problems.append(Problem(name, line, "not-utf8", "this is not UTF-8 text", "save the file as UTF-8"))
        except OSError as error:
            said = (error.strerror or "error").lower()
            problems.append(Problem(name, 0, "unreadable", f"the file cannot be read: {said}", "check permissions"))
    return files


def _name(path: FilePath, root: FilePath) -> str:
    """The name of a file as problems give it; bytes that are no text are replaced."""
    return path.relative_to(root).as_posix().encode("utf-8", "replace").decode()


def _entries(root: FilePath, folder: FilePath, problems: list[Problem]) -> list[FilePath]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        name = "" if folder == root else _name(folder, root) + "/"
        said = f"the directory cannot be read: {(error.strerror or 'error').lower()}"
        problems.append(Problem(name, 0, "unreadable", said, "check permissions"))
        return []


def _walk(root: FilePath, problems: list[Problem]) -> Iterator[FilePath]:
    """The files that belong to a charter; the others become problems."""
    for entry in _entries(root, root, problems):
        if os.path.isdir(entry):
            if entry.name in _FOLDERS:
                yield from _walk_folder(root, entry, problems)
            elif not _ignored(entry.name):
                _stranger(_name(entry, root) + "/", did_you_mean(entry.name, _FOLDERS), problems)
        elif entry.name in _FILES:
            yield entry
        elif not _ignored(entry.name):
            close = did_you_mean(entry.name, _FILES) if entry.suffix in (".yaml", ".yml") else ""
            if entry.suffix == ".cedar":
                close = "move it into `policies/`"
            _stranger(_name(entry, root), close, problems)


def _walk_folder(root: FilePath, folder: FilePath, problems: list[Problem]) -> Iterator[FilePath]:
    suffix = _FOLDERS[folder.name]
    for entry in _entries(root, folder, problems):
        nested = os.path.isdir(entry)
        if entry.suffix == suffix and not entry.name.startswith(".") and not nested:
            yield entry
        elif not _ignored(entry.name):
            wanted = f"only `{folder.name}/*{suffix}` is read"
            looks = nested or entry.suffix in (".yaml", ".yml", ".cedar", ".json")
            _stranger(_name(entry, root), wanted if looks else "", problems, wanted)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith("~") or name.lower().startswith(_IGNORED)


def _stranger(name: str, close: str, problems: list[Problem], otherwise: str = "") -> None:
    """A file or folder that is not read: an error when it looks as if its author thinks it is."""
    fix = close or otherwise or "move it out of the charter's directory"
    severity: Any = "error" if close else "warning"
    problems.append(Problem(name, 0, "unknown-file", f"{quote(name)} is not part of a charter", fix, severity))


# ── 2. content ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Reader:
    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._documents: list[Document] = []
        self._whole = True
        """Whether every contract, clause and case could be told; only then is a name that is missing really missing."""

    def read(self) -> tuple[Charter | None, list[Problem]]:
        parts = Parts()
        self._about(parts)
        self._contracts(parts)
        self._clauses(parts)
        self._cases(parts)
        parts.policies = tuple(PolicySource(file=name, text=self._files[name]) for name in self._in("policies"))
        companions = self._companions()
        missing = list(self._missing(parts))
        crosscheck(parts)  # 3
        problems = sorted({problem for document in self._documents for problem in document.problems} | {*missing})
        if parts.about is None or not self._whole:
            return None, problems
        charter = Charter.build(  # 4
            parts.about,
            {name: found for name, (found, _, _) in parts.contracts.items()},
            tuple(clause for clause, _, _ in parts.clauses),
            parts.policies,
            tuple(case for case, _, _ in parts.cases),
            companions,
        )
        return charter, problems

    def _in(self, folder: str) -> list[str]:
        return sorted(name for name in self._files if name.startswith(folder + "/"))

    def _open(self, name: str) -> Document | None:
        """The document of file `name`; `None` when there is no such file."""
        if name not in self._files:
            return None
        document = read_yaml(self._files[name], name)
        self._documents.append(document)
        return document

    def _about(self, parts: Parts) -> None:
        document = self._open("charter.yaml")
        if document is None or not document.readable:
            return
        parts.about_document = document
        parts.about = validated(document, document.data if document.data is not None else {}, About, ())

    def _contracts(self, parts: Parts) -> None:
        document = self._open("contracts.yaml")
        if document is None:
            return
        tools = self._section(document, "tools", dict, beside="packs")
        own: dict[str, Contract | None] = {}
        for name, written in (tools or {}).items():
            own[name] = contract = validated(document, written, Contract, ("tools", name))
            parts.tools.add(name)
            if contract is None:
                self._whole = False
            else:
                parts.contracts[name] = (contract, document, ("tools", name))
        named = isinstance(document.data, dict) and "packs" in document.data
        packs = self._section(document, "packs", list, beside="tools") if named else []
        added = packed(document, packs or (), own)
        self._documents += added.documents
        parts.contracts.update(added.contracts)
        parts.tools.update(added.contracts)
        parts.contracts_read = document.readable and packs is not None and added.whole
        self._whole = self._whole and tools is not None and packs is not None and added.whole

    def _clauses(self, parts: Parts) -> None:
        document = self._open("intent.yaml")
        if document is not None:
            for path, written in self._listed(document, "clauses"):
                clause = validated(document, written, Clause, path)
                if clause is None:
                    self._whole = False
                else:
                    parts.clauses.append((clause, document, path))

    def _cases(self, parts: Parts) -> None:
        for name in self._in("cases"):
            document = self._open(name)
            if document is not None:
                for path, written in self._listed(document, "cases"):
                    case = validated(document, written, Case, path)
                    if case is not None:
                        parts.cases.append((case, document, path))

    def _listed(self, document: Document, key: str) -> Iterator[tuple[Path, Any]]:
        for index, written in enumerate(self._section(document, key, list) or ()):
            yield (key, index), written

    def _section(self, document: Document, key: str, kind: type, *, beside: str = "") -> Any:
        """What stands under `key`, which is the file's only one, or may be left out where there is `beside`.

        Problems are added for anything else in the file.
        """
        if not document.readable:
            return None
        data = {} if document.data is None else document.data
        words = "mapping" if kind is dict else "list"
        if not isinstance(data, dict):
            document.problem((), "invalid-value", f"the file must be a mapping with the key `{key}`", "see the docs")
            return None
        keys = sorted({key, beside or key})
        for other in data:
            if other not in keys:
                only = f"the only key here is `{key}`" if not beside else f"the keys here are `{'` and `'.join(keys)}`"
                fix = did_you_mean(other, keys) or only
                document.problem((other,), "unknown-key", f"{quote(other)} is not a key here", fix)
        if key not in data:
            if beside and beside in data:
                return kind()
            document.problem(
                (), "missing-key", f"`{key}` is missing", f"write `{key}: {'{}' if kind is dict else '[]'}`"
            )
            return None
        if data[key] is None:
            return kind()
        if not isinstance(data[key], kind):
            document.problem((key,), "invalid-value", f"`{key}` must be a {words}")
            return None
        return data[key]

    def _companions(self) -> dict[str, Digest]:
        """Files that other layers read, by the digest of what they say."""
        found: dict[str, Digest] = {}
        for name in sorted(self._files):
            folder = name.partition("/")[0]
            if folder == "prompts":
                found[name] = digest_bytes("\n".join(self._files[name].splitlines()).encode())
            elif folder == "scenarios" or name in ("constitution.yaml", "metrics.yaml"):
                document = self._open(name)
                if document is not None:
                    found[name] = digest(document.data)
        return found

    def _missing(self, parts: Parts) -> Iterator[Problem]:
        if "charter.yaml" not in self._files:
            yield Problem("charter.yaml", 0, "missing-file", "there is no `charter.yaml`", "start with `fiducial init`")
        chat = parts.about is not None and parts.about.tier == "chat"
        if "contracts.yaml" not in self._files and not chat:
            yield Problem(
                "contracts.yaml",
                0,
                "missing-file",
                "there is no `contracts.yaml`: the agent has no tools",
                "draft it with `fiducial contracts infer`, or set `tier: chat`",
            )
        if "intent.yaml" not in self._files:
            yield Problem(
                "intent.yaml",
                0,
                "no-intent",
                "there is no `intent.yaml`: nothing says what must never happen",
                "write at least one clause",
                "warning",
            )
        if not parts.policies and not chat:
            yield Problem(
                "policies/",
                0,
                "no-policies",
                "there are no policies: nothing is permitted, so every call is denied",
                "write a `permit` into `policies/*.cedar`",
                "warning",
            )
