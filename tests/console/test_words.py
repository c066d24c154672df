"""What happened, in sentences."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from fiducial.console.words import told_as
from fiducial.core.event import Event

SHOWN_OTHERWISE = {"message.observed", "model.answered", "result.observed", "call.decided"}
"""A session's page shows these by what was said and called."""


def example(kind: inspect.Type) -> Any:
    """Some value of a type."""
    match kind:
        case inspect.UnionType():
            return example(kind.types[0])
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.StructType():
            given = {field.encode_name: example(field.type) for field in kind.fields if field.required}
            return given | ({kind.tag_field: kind.tag} if kind.tag_field else {})
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.IntType():
            return 1
        case inspect.BoolType():
            return True
        case inspect.NoneType():
            return None
        case inspect.CollectionType() | inspect.VarTupleType():
            return []
        case inspect.DictType():
            return {}
    return "a" * 64


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__struct_config__.tag)
def test_every_event_of_a_session_is_told_in_a_sentence(kind: Any) -> None:
    event = msgspec.convert(example(inspect.type_info(kind)), kind)
    tag = kind.__struct_config__.tag
    if tag not in SHOWN_OTHERWISE and not tag.startswith("log."):
        assert told_as(event) != tag
