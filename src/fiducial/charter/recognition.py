"""Recognition: names that no form can tell from other words, and that a model for named entities is asked for."""

from __future__ import annotations

import re
from pathlib import PurePath

from pydantic import Field, field_validator

from fiducial.charter.contracts import _Written

_PACKAGE = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)


def _usual() -> dict[str, str]:
    return {"PERSON": "identity", "LOCATION": "location"}


class Recognition(_Written):
    """Which model is asked for names, and what they are; it is asked through Presidio, which the extra `ner` brings."""

    model: str
    """A pipeline of spaCy's: an installed package such as `en_core_web_lg`, or a folder by its absolute path. It is
    never downloaded."""
    entities: dict[str, str] = Field(default_factory=_usual)
    """What Presidio calls an entity → the data class of its values; without it: `PERSON` is `identity`, and `LOCATION`
    is `location`."""

    @field_validator("model")
    @classmethod
    def _found(cls, value: str) -> str:
        if _PACKAGE.fullmatch(value) is None and not PurePath(value).is_absolute():
            raise ValueError("must be the name of a package, or the absolute path of a folder")
        return value

    @field_validator("entities")
    @classmethod
    def _some(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValueError("is empty: name an entity, or drop it")
        return value


__all__ = ["Recognition"]
