"""What the settings files of the doors have in common.

They are read as charters are (`fiducial.charter.yaml`): what is not understood is refused, and every problem is
reported with its line. Secrets are never in a file: it names the variables that hold them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from fiducial.charter.yaml import Document, read_yaml
from fiducial.core.address import is_private
from fiducial.errors import CharterError
from fiducial.gateway.statements import is_short

_T = TypeVar("_T")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 section 3.3."""


def as_tuple(given: Any) -> Any:
    """A list as what cannot be changed."""
    return tuple(given) if isinstance(given, list) else given


def named(given: dict[str, Any]) -> dict[str, Any]:
    """Raises `ValueError` for names that no path of an address can hold."""
    for name in given:
        if not _NAME.fullmatch(name):
            raise ValueError(f"has the name `{name[:40]}`: use a to z, 0 to 9 and `-`, 40 at most")
    return given


def filled(given: Any) -> Any:
    """Raises `ValueError` for what is empty."""
    if not given:
        raise ValueError("is empty")
    return given


def _private(given: str) -> str:
    if not is_private(given):
        raise ValueError("must be an https address, or one of this machine")
    return given


def _scope(given: str) -> str:
    if not _SCOPE.fullmatch(given):
        raise ValueError("must be one scope")
    return given


Words = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
"""A list of texts."""
PrivateUrl = Annotated[str, AfterValidator(_private)]
"""An address that nobody on the way reads along."""


class Written(BaseModel):
    """A part of a file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class UserSettings(Written):
    """Who issues the tokens of users."""

    issuer: PrivateUrl
    """The authorization server's issuer; its description and keys are fetched from there."""
    scope: Annotated[str, AfterValidator(_scope)] = "mcp"
    """What a token must be good for."""
    user: str = "sub"
    """The claim that says who the user is."""
    roles: str = ""
    """The claim that lists the user's roles; empty: they have none."""


class AttendedSettings(Written):
    """Clients whose user answers forms themselves (MCP elicitation): what comes back from one is the user's answer. Of
    all others nobody knows who answers; it may be the agent."""

    hosts: Words = ()
    """Hosts whose clients are such, by the names of their tokens."""
    clients: Words = ()
    """OAuth clients that are such, as users' tokens name them (`client_id`, RFC 9068 section 2.2)."""


def read(path: Path, check: Callable[[Document], _T | None]) -> _T:
    """What `check` makes of the file. Raises `CharterError` with every problem, or when the file cannot be read."""
    document = Document(path.name)
    try:
        document = read_yaml(path.read_text(encoding="utf-8-sig"), path.name)
        if document.readable:
            made = check(document)
            if made is not None and not document.problems:
                return made
    except (OSError, UnicodeDecodeError) as error:
        document.problem((), "unreadable", f"it cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
    raise CharterError(document.problems)


def secret(document: Document, at: tuple[str, ...], variable: str, environment: Mapping[str, str]) -> str:
    """The token in a variable of the environment; a problem when it holds none."""
    found = environment.get(variable, "")
    if not found.isascii() or not found.isprintable() or not found.strip():
        document.problem(at, "invalid-value", f"`{variable}` holds no token")
    return found


def keys_of(document: Document, hosts: Mapping[str, str], folder: Path) -> dict[str, KeySet]:
    """Host → the public keys in its file; those that cannot be used are problems."""
    found = {host: _keys(document, ("hosts", host), folder / file) for host, file in hosts.items()}
    return {host: keys for host, keys in found.items() if keys is not None}


def _keys(document: Document, at: tuple[str, ...], file: Path) -> KeySet | None:
    """The keys in a file; `None`, with a problem, when they cannot be used."""
    try:
        written = json.loads(file.read_text())
        if any(map(is_short, written["keys"])):
            document.problem(at, "invalid-value", f"`{file.name}` holds an RSA key of less than 2048 bits")
            return None
        found = KeySet.import_key_set(written)
    except (OSError, ValueError, KeyError, TypeError, JoseError):
        document.problem(at, "invalid-value", f"`{file.name}` holds no JWK Set that can be read")
        return None
    if any(key.key_type == "oct" or key.is_private for key in found):
        fix = "give the public keys alone: who has the others can say anything in this host's name"
        document.problem(at, "invalid-value", f"`{file.name}` holds keys that are secret", fix)
        return None
    return found


__all__ = [
    "AttendedSettings", "PrivateUrl", "UserSettings", "Words", "Written", "as_tuple", "filled", "keys_of", "named",
    "read", "secret",
]  # fmt: skip
