"""The shelf: a folder with the skills that may be loaded, and nothing else, for agents to load them from.

What is put there are the bytes that were looked at, so nothing that changes in the meantime gets there. The whole
folder is put in the place of the one before: what is quarantined is not on the shelf, whatever was there last time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fiducial.errors import OversightError
from fiducial.oversight.skills import Skill

MARK: Final = ".fiducial-skills"
"""The file that tells a shelf from folders that hold anything else, which are never replaced."""
_SAID: Final = "The skills in this folder are put here by `fiducial skills --into`, and replaced each time.\n"


def shelve(skills: Iterable[Skill], shelf: Path) -> None:
    """Have `shelf` hold `skills` and nothing else; without a flaw, all of them.

    Raises `OversightError` when it is there and no shelf, or a skill has a flaw, and `OSError` when it cannot be
    written; it is then what it was.
    """
    if os.path.lexists(shelf) and (shelf.is_symlink() or not (shelf / MARK).is_file()):
        raise OversightError(f"`{shelf}` is there, and was not made by this command; name a folder that is not")
    shelf.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{shelf.name}-", dir=shelf.parent, ignore_cleanup_errors=True) as beside:
        made, before = Path(beside, "new"), Path(beside, "old")
        made.mkdir()
        (made / MARK).write_text(_SAID)
        for skill in skills:
            _write(skill, made)
        if shelf.exists():
            shelf.rename(before)
        try:
            made.rename(shelf)
        except OSError:
            if before.exists():
                before.rename(shelf)
            raise


def _write(skill: Skill, shelf: Path) -> None:
    if skill.flaws:
        raise OversightError(f"`{skill.name}` has a flaw: {skill.flaws[0]}")
    for path, file in skill.files.items():
        to = shelf / skill.name / path
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.data)
        to.chmod(0o555 if file.runs else 0o444)


__all__ = ["MARK", "shelve"]
