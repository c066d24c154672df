"""The signing key's file.

The key is made at first start, in a file that only its owner may read (0600). Losing it means that the log can be
verified but no longer be appended to; whoever has it can sign a forged log, which only a checkpoint kept elsewhere
would give away. So it belongs into a backup, and not into the one that the database is in.

A rotation writes the next key beside the current one, records it in the log, and then moves it into place; a process
that dies in between finishes the move at the next start.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fiducial.core.event import Entry, KeyRotated
from fiducial.core.ids import EventId, mint
from fiducial.errors import StoreError, WrongKey
from fiducial.store.checkpoint import Signer
from fiducial.store.files import sync_directory, write_atomically, write_once
from fiducial.store.writer import LogWriter

_SECRET_BYTES = 32
_MODE = stat.S_IRUSR | stat.S_IWUSR
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_key(path: Path) -> Signer:
    """The key in `path`. Raises `WrongKey` when it is missing or damaged, `StoreError` when others may read it."""
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise WrongKey(
            f"the signing key `{path}` is missing; restore it from a backup, or start a new log beside the old one"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise WrongKey(f"the signing key `{path}` cannot be read; check its permissions and its backup") from error
    if mode & _OTHERS:
        raise StoreError(f"the signing key `{path}` may be read by others; run `chmod 600` on it, or rotate it")
    try:
        return Signer.parse(text)
    except WrongKey as error:
        raise WrongKey(f"the signing key `{path}` is damaged: {error}; restore it from a backup") from error


def make_key(path: Path) -> Signer:
    """The key in `path`, made there if there is none yet; of several processes at once, all get the first one's."""
    write_once(path, Signer.generate(fresh_origin()).secret() + "\n", mode=_MODE)
    return read_key(path)


def write_key(path: Path, signer: Signer) -> None:
    """Keep `signer` in `path`, readable by its owner alone."""
    write_atomically(path, signer.secret() + "\n", mode=_MODE)


def secret(path: Path, first: bytes | None = None) -> bytes:
    """The secret bytes in `path`, made there (`first`, or 32 random ones) if there are none yet.

    Raises `WrongKey` when the file is damaged, `StoreError` when others may read it.
    """
    write_once(path, (first or os.urandom(_SECRET_BYTES)).hex() + "\n", mode=_MODE)
    try:
        kept = bytes.fromhex(path.read_text(encoding="ascii"))
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise WrongKey(f"the secret `{path}` cannot be read; check its permissions and its backup") from error
    if mode & _OTHERS:
        raise StoreError(f"the secret `{path}` may be read by others; run `chmod 600` on it")
    if len(kept) < _SECRET_BYTES // 2:
        raise WrongKey(f"the secret `{path}` is damaged; restore it from a backup")
    return kept


def rotate(writer: LogWriter, path: Path, *, by: str, at_us: int) -> str:
    """Have `writer` sign with a new key from here on, recorded in the log and kept in `path`; the new public key."""
    signer = Signer.generate(writer.signer.verifier.name)
    public = signer.verifier.text
    write_key(next_path(path), signer)
    with writer.transaction():
        event = KeyRotated(id=EventId(mint("evt", at_us // 1000)), session=None, at_us=at_us, key=public, by=by)
        writer.append(Entry(event))
        writer.adopt_key(signer)
    signer_for(path, public)
    return public


def next_path(path: Path) -> Path:
    """Where a rotation keeps the key that is about to hold."""
    return path.with_name(path.name + ".next")


def fresh_origin() -> str:
    """A name for a new log: unique, and a URL without its scheme, as C2SP tlog-checkpoint asks for."""
    return f"fiducial.local/log/{os.urandom(8).hex()}"


def signer_for(path: Path, public: str) -> Signer:
    """The private key in `path` for the `public` one.

    Finishes a rotation that was recorded in the log but not yet in the file. Returns whatever key is there when it is
    another one; the caller says so. Raises `WrongKey` when there is none.
    """
    following = next_path(path)
    if following.exists():
        coming = read_key(following)
        if coming.verifier.text == public:
            following.replace(path)
            sync_directory(path.parent)
            return coming
    return read_key(path)
