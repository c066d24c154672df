"""What comes back from a tool: what third parties could have written in it, and which sensitive data it holds.

Everything, when the tool brings along what people or the open world wrote: messages, pages, files, comments, issues,
whatever a search of the web finds, and whatever code that it runs prints. The system's own affairs (accounts, orders,
prices, calendars, directories) are records: short values in them are the system's own, while longer text in them, and
members that are made for prose, could be anyone's. What cannot be told is taken at its worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fiducial.charter import lexicon
from fiducial.charter.acts import Act
from fiducial.charter.contracts import Effect, Kind, Output
from fiducial.charter.roles import classes_of
from fiducial.charter.words import first_sentence, name_words, text_words

PROSE_KEYS = (
    "body", "text", "content", "comment", "comments", "review", "reviews", "description", "note", "notes", "subject",
    "message", "messages", "bio", "feedback", "memo", "remarks",
)  # fmt: skip
"""Members of records that hold what people wrote."""

_LISTED = frozenset({"metadata", "directory", "dir", "tree", "folder", "count", "name", "label", "branch", "tag"})
_WORLD = frozenset({"web", "internet", "online", "google", "bing", "duckduckgo", "wikipedia", "url", "site", "news"})
_ATTRIBUTES = frozenset(
    {"schema", "permission", "status", "count", "size", "availability", "price", "address", "hour", "id", "total"}
    | {"statistic", "stats", "metadata", "info", "information", "balance", "direction"}
)
_TALK = frozenset({"channel", "chat", "conversation", "thread", "message", "dm", "email", "group", "room"})
_PERSONAL = frozenset(
    {"user", "account", "profile", "customer", "contact", "member", "employee", "patient", "person", "candidate"}
    | {"information", "info", "client"}
)
_MENTIONS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("credentials", (("password",), ("bank", "account", "password"), ("pin",), ("otp",), ("passcode",))),
    ("secrets", (("token",), ("secret",), ("api", "key"), ("access", "token"), ("private", "key"))),
    ("payment", (("iban",), ("account", "number"), ("bank", "account", "number"), ("card", "number"),
                 ("credit", "card", "number"), ("credit", "card"), ("cvv",), ("bank", "account"))),
    ("identity", (("passport", "number"), ("passport",), ("ssn",), ("id", "number"), ("national", "id"),
                  ("birth", "date"), ("date", "of", "birth"), ("social", "security", "number"))),
    ("contact", (("email",), ("phone",), ("phone", "number"), ("address",))),
    ("health", (("diagnosis",), ("diagnoses",), ("medication",), ("prescription",), ("allergy",))),
)  # fmt: skip
"""Data class → the names of members that hold it, word by word."""


def output_of(act: Act, name: str, description: str, schema: Mapping[str, Any] | None, *, open_world: bool) -> Output:
    """What comes back from the tool `name` that does `act`; `schema` is its output schema, if it has one."""
    classes = _classes(act, name, description, schema)
    if open_world or act.kind in (Kind.FETCH, Kind.EXECUTE) or not _own(act, description):
        return Output(classes=classes)
    known = tuple(_paths_of(schema)) if schema else ("$",)
    if act.effect is not Effect.READ:  # a confirmation: what it repeats at length came in with the arguments
        return Output(prose=known, classes=classes)
    return Output(prose=known, untrusted=tuple(f"$..{key}" for key in PROSE_KEYS), classes=classes)


def _paths_of(schema: Mapping[str, Any]) -> Iterator[str]:
    """The members that an output schema declares; everything when it names none."""
    keys = dict.fromkeys(_keys(schema, 0))
    if not keys:
        yield "$"
    for key in keys:
        yield from _paths(key)


def _own(act: Act, description: str) -> bool:
    """Whether the system's own records come back."""
    if act.effect is not Effect.READ:
        return act.kind not in (Kind.FETCH, Kind.EXECUTE) and not {"response", "page"} & set(act.nouns[-1:])
    nouns = list(act.nouns)
    said = text_words(first_sentence(description))
    if _WORLD & {*nouns, *said} and act.verb in ("search", "find", "browse", "query", "lookup", "fetch", "get"):
        return False
    if {"content", "contents", "text"} & set(text_words(description)) and not _LISTED & set(nouns):
        return False
    if "history" in nouns[-1:] and _TALK & set(nouns):
        return False
    if {"query", "sql"} & set(nouns[-1:]):
        return False
    if act.verb in ("query", "search") and not set(nouns[-1:]) & lexicon.RECORDS:
        return False
    if nouns and nouns[-1] in _ATTRIBUTES | _LISTED:
        return "history" not in nouns or not lexicon.WRITTEN & set(nouns[:-1]) - lexicon.RECORDS
    for noun in reversed(nouns):
        if noun in lexicon.RECORDS and noun not in lexicon.WRITTEN:
            return not lexicon.MESSAGES & set(nouns) or noun not in ("history", "list")
        if noun in lexicon.WRITTEN:
            return False
    return any(word in lexicon.RECORDS for word in said[:8]) and not any(word in lexicon.WRITTEN for word in said)


def _classes(act: Act, name: str, description: str, schema: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    if schema:
        for key in _keys(schema, 0):
            for held in classes_of(name_words(key), []) or _contact(key):
                found.setdefault(held, []).extend(_paths(key))
    elif act.effect is Effect.READ and _PERSONAL & {*act.nouns, *name_words(name)}:
        said = text_words(description)
        for held, members in _MENTIONS:
            for words in members:
                mentioned = _holds(said, words)
                if mentioned or (len(words) == 1 and held in ("contact", "credentials")):
                    for spelled in _spellings(words):
                        found.setdefault(held, []).extend(_paths(spelled))
    return {held: tuple(dict.fromkeys(paths)) for held, paths in found.items()}


def _contact(key: str) -> tuple[str, ...]:
    return ("contact",) if set(name_words(key)) & {"email", "phone", "address", "telephone"} else ()


def _holds(said: Sequence[str], words: Sequence[str]) -> bool:
    return any(tuple(said[i : i + len(words)]) == tuple(words) for i in range(len(said) - len(words) + 1))


def _spellings(words: Sequence[str]) -> list[str]:
    """The ways in which programs and people write a member's name: `phone_number`, `phoneNumber`, `Phone Number`."""
    title = [
        word.upper() if word in ("id", "ssn", "iban", "cvv", "otp", "pin", "api") else word.title() for word in words
    ]
    return ["_".join(words), words[0] + "".join(word.title() for word in words[1:]), " ".join(title)]


def _paths(key: str) -> list[str]:
    """Patterns that find the member at any depth."""
    plain = key.isascii() and key.replace("-", "_").isidentifier() and key[0] != "-"
    if plain:
        return [f"$..{key}"]
    return [f"$..['{key}']"] if "'" not in key else []


def _keys(schema: Any, depth: int) -> Iterator[str]:
    """The names of members anywhere in a JSON Schema."""
    if depth > 12 or not isinstance(schema, (Mapping, list)):
        return
    if isinstance(schema, list):
        for member in schema:
            yield from _keys(member, depth + 1)
        return
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        yield from (str(key) for key in properties)
    for key, member in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(member, Mapping):
            for inner in member.values():
                yield from _keys(inner, depth + 1)
        elif key in ("items", "anyOf", "oneOf", "allOf", "additionalProperties"):
            yield from _keys(member, depth + 1)
