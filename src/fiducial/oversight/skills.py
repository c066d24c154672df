"""Skills: folders with a `SKILL.md`, whose files an agent reads as instructions and may run.

A skill is what its files are. Every folder that holds a `SKILL.md`, at whatever depth below the given one, is a skill,
with all that is below it; its name is its path. It is described by each file's path, content and whether it can be run,
so that nothing of it changes without another digest.

What cannot be told for certain makes a skill *unfit*: nobody can approve it, because it may be something else for the
agent that loads it than for the person who looks.

| unfit is | because |
|---|---|
| a link, wherever it leads; what is neither a file nor a folder | it can lead elsewhere tomorrow |
| two files, or two skills, whose names differ in case or in their Unicode form alone | some disks have one of them |
| a `SKILL.md` in another spelling, such as `skill.md` | some agents load it, and others do not |
| a name that is no UTF-8; a file or folder that cannot be read, or changes while it is | it was not looked at |
| more than `MOST_FILES` files or `MOST_BYTES` bytes | nobody looks through that |

Files are opened below the folder that was listed, and never through a link, so that nothing outside is read.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from fiducial.charter.yaml import read_yaml
from fiducial.core.canonical import digest_bytes
from fiducial.core.plain import plain
from fiducial.errors import OversightError
from fiducial.flow.lexer import fold
from fiducial.oversight.pins import Found
from fiducial.oversight.signs import signs

ENTRY: Final = "SKILL.md"
"""The file that makes a folder a skill: https://agentskills.io/specification."""
MOST_FILES: Final = 1000
"""Of one skill."""
MOST_BYTES: Final = 16 * 2**20
"""Of one skill, all files together."""
MOST_SKILLS: Final = 1000
"""In one folder."""
_SHOWN: Final = 512 * 2**10
"""Bytes of texts that are kept of a skill, to be compared and looked through; of the others the digest is."""
_REASONS: Final = 12
"""That are said of one skill."""
_FENCE: Final = "---"


class File(msgspec.Struct, frozen=True):
    """One file of a skill, as it was read."""

    data: bytes
    runs: bool
    """Somebody may run it."""


class Skill(msgspec.Struct, frozen=True):
    """A skill as it was read, all at once."""

    name: str
    """Its folder, from the one that was given."""
    files: Mapping[str, File]
    """Path in the skill → file; those alone that could be read."""
    flaws: tuple[str, ...]
    """Why it is unfit; empty: it is not."""

    def found(self) -> Found:
        """The skill, as pins have it."""
        texts = self._texts()
        files = {path: _said(file, texts.get(path)) for path, file in self.files.items()}
        said = {"files": files, "flaws": list(self.flaws[:_REASONS])}
        return Found(said=said, reasons=partial(self._reasons, texts), unfit=bool(self.flaws))

    def _reasons(self, texts: Mapping[str, str]) -> list[str]:
        """Why it waits for a person, or can be approved by nobody; not more than somebody reads."""
        found = list(dict.fromkeys((*self.flaws, *self._signs(texts))))
        return found if len(found) <= _REASONS else [*found[:_REASONS], f"and {len(found) - _REASONS} things more"]

    def _texts(self) -> dict[str, str]:
        """Path → what people and signs are shown of it, as long as all of it together is no more than they look at."""
        found: dict[str, str] = {}
        left = _SHOWN
        for path in sorted(self.files, key=lambda each: (each != ENTRY, each)):
            data = self.files[path].data
            text = _text(data) if len(data) <= left else None
            if text is not None:
                found[path] = text
                left -= len(data)
        return found

    def _signs(self, texts: Mapping[str, str]) -> list[str]:
        found = [f"its name, or a file's: {why}" for why in signs([self.name, *self.files])]
        if ENTRY in self.files:
            found += _misnamed(texts[ENTRY], self.name) if ENTRY in texts else [f"its `{ENTRY}` is not read as text"]
        for path, file in self.files.items():
            if path in texts:
                found += [f"`{plain(path)}`: {why}" for why in signs(texts[path])]
            elif _text(file.data) is not None:
                found.append(f"`{plain(path)}` is too long to be looked through")
        return found


def read_skills(folder: Path) -> list[Skill]:
    """The skills in `folder`, by name. Raises `OversightError` when it is no folder that can be read, or has more than
    `MOST_SKILLS`."""
    if not folder.is_dir():
        raise OversightError(f"`{folder}` is no folder of skills")
    found = [_SkillReading(at).read(name) for name, at in _entries(folder)]
    keys = Counter(_key(each.name) for each in found)
    alike = "another skill here has the same name on some disks"
    return [
        msgspec.structs.replace(each, flaws=(*each.flaws, alike)) if keys[_key(each.name)] > 1 else each
        for each in found
    ]


def _entries(folder: Path) -> list[tuple[str, Path]]:
    """The names of the skills, and where they are: folders that hold a `SKILL.md`, however it is spelled, and are in no
    other skill. A link to a folder, and a folder that cannot be listed, may hold one, and is one here."""
    found: list[tuple[str, Path]] = []

    def add(at: str) -> None:
        name = os.path.relpath(at, folder).replace(os.sep, "/")
        found.append((folder.resolve().name if name == "." else name, Path(at)))
        if len(found) > MOST_SKILLS:
            raise OversightError(f"`{folder}` has more than {MOST_SKILLS} skills; name a folder in it")

    for at, folders, files in os.walk(folder, onerror=lambda error: add(os.fsdecode(error.filename or folder))):
        if any(map(_is_entry, (*files, *folders))):
            add(at)
            folders.clear()
        for each in folders:
            if os.path.islink(inside := os.path.join(at, each)):
                add(inside)
    return sorted(found)


class _SkillReading:
    """One look at a skill."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, File] = {}
        self._flaws: list[str] = []
        self._left = MOST_BYTES

    def read(self, name: str) -> Skill:
        if not _is_text(name):
            self._flaws.append("its name is no UTF-8")
        try:
            if stat.S_ISLNK(os.lstat(self._root).st_mode):
                self._flaws.append("it is a link")
            else:
                self._walk()
        except OSError as error:
            self._unreadable(error)
        if ENTRY not in self._files and not self._flaws:
            self._flaws.append(f"it has no `{ENTRY}` in that spelling")
        self._flaws += [f"`{plain(a)}` and `{plain(b)}` are one file on some disks" for a, b in _alike([*self._files])]
        named = name if _is_text(name) else _shown(name)
        return Skill(named, dict(sorted(self._files.items())), tuple(dict.fromkeys(self._flaws)))

    def _walk(self) -> None:
        seen = 0
        for at, folders, files, below in os.fwalk(self._root, onerror=self._unreadable):
            inside = os.path.relpath(at, self._root)
            for name in (*folders, *files):
                path = name if inside == "." else f"{inside}/{name}".replace(os.sep, "/")
                self._look(path, name, below)
                seen += 1
                if seen > MOST_FILES:
                    self._flaws.append(f"it has more than {MOST_FILES} files and folders")
                    return

    def _look(self, path: str, name: str, below: int) -> None:
        """At one thing in the folder that is open as `below`."""
        try:
            kind = os.stat(name, dir_fd=below, follow_symlinks=False).st_mode
            if not _is_text(path):
                self._flaws.append(f"the name of `{_shown(path)}` is no UTF-8")
            elif stat.S_ISLNK(kind):
                self._flaws.append(f"`{plain(path)}` is a link")
            elif _is_entry(name) and name != ENTRY:
                self._flaws.append(f"`{plain(path)}` is a `{ENTRY}` to some agents, and to others it is not")
            elif not stat.S_ISDIR(kind):
                self._take(path, name, below)
        except OSError as error:
            self._flaws.append(f"`{_shown(path)}` cannot be read: {_said_by(error)}")

    def _take(self, path: str, name: str, below: int) -> None:
        """Raises `OSError`."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=below), "rb") as stream:
            before = os.fstat(stream.fileno())
            if not stat.S_ISREG(before.st_mode):
                self._flaws.append(f"`{plain(path)}` is no ordinary file")
                return
            data = stream.read(self._left + 1)
            after = os.fstat(stream.fileno())
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            self._flaws.append(f"`{plain(path)}` changes while it is read")
        self._left -= len(data)
        if self._left < 0:
            self._flaws.append(f"it has more than {MOST_BYTES} bytes")
            self._left = 0
            return
        self._files[path] = File(data, bool(before.st_mode & 0o111))

    def _unreadable(self, error: OSError) -> None:
        where = os.path.relpath(os.fsdecode(error.filename or self._root), self._root)
        what = "it" if where == "." else f"`{_shown(where)}`"
        self._flaws.append(f"{what} cannot be read: {_said_by(error)}")


def _said(file: File, text: str | None) -> dict[str, Any]:
    content = {"digest": digest_bytes(file.data)} if text is None else {"text": text}
    return content | ({"runs": True} if file.runs else {})


def _text(data: bytes) -> str | None:
    """`None` for what is no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _misnamed(entry: str, name: str) -> list[str]:
    """Why an agent may know the skill by another name than its folder's, which is what is pinned."""
    first, _, rest = entry.partition("\n")
    written, fence, _ = rest.partition(f"\n{_FENCE}")
    if first.rstrip("\r") != _FENCE or not fence:
        return [f"its `{ENTRY}` does not begin with its name and a description"]
    document = read_yaml(written, ENTRY)
    data = document.data if document.readable and not document.problems else None
    if not isinstance(data, dict):
        return [f"what its `{ENTRY}` begins with cannot be read for certain"]
    found = []
    if data.get("name") != name.rpartition("/")[2]:
        found.append("it gives itself another name than its folder's")
    if not isinstance(data.get("description"), str) or not data["description"].strip():
        found.append("it has no description")
    return found


def _is_entry(name: str) -> bool:
    return _key(name) == _key(ENTRY) or fold(_shown(name)) == fold(ENTRY)


def _alike(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of paths that are one on a disk that knows no case, or has one Unicode form."""
    known: dict[str, str] = {}
    return [(other, name) for name in names if (other := known.setdefault(_key(name), name)) != name]


def _key(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return plain(os.fsencode(name).decode("utf-8", "backslashreplace"))


def _said_by(error: OSError) -> str:
    return (error.strerror or "error").lower()


__all__ = ["ENTRY", "MOST_BYTES", "MOST_FILES", "MOST_SKILLS", "File", "Skill", "read_skills"]
