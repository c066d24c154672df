"""Shapes: they say yes only to what can be read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiducial.core.event import CallDecided, Event, Firing, check_event, decode_event, encode_event
from fiducial.core.label import Integrity
from fiducial.core.payload import PayloadRef
from fiducial.core.shape import shape_of

pytest.importorskip("fiducial.core._shape", reason="not compiled")
KINDS: tuple[type[Any], ...] = get_args(Event)
FEW = settings().max_examples // 8
"""Of each kind: there are many, and they are alike."""


class Text(str):
    """Not quite text."""


def good(hint: Any) -> st.SearchStrategy[Any]:
    """What a field may hold."""
    hint = getattr(hint, "__supertype__", hint)
    if hint is int:
        return st.integers(-(2**53), 2**53)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        fields = get_type_hints(hint)
        return st.builds(hint, **{name: good(fields[name]) for name in hint.__struct_fields__})
    if str(hint).startswith("tuple["):
        return st.lists(good(get_args(hint)[0]), max_size=3).map(tuple)
    if str(hint).startswith("typing.Literal["):
        return st.sampled_from(get_args(hint))
    if get_args(hint):
        return st.one_of(*[good(each) for each in get_args(hint)])
    return st.from_type(hint)


junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.text(max_size=5).map(Text), st.sampled_from(Integrity), st.lists(st.text(max_size=3), max_size=2),
    st.tuples(st.text(max_size=3)), st.tuples(st.integers()), st.tuples(st.none()),
    st.just((PayloadRef("text", "sha256:", "9"),)), st.just((PayloadRef("other", "sha256:", 9),)),  # type: ignore[arg-type]
    st.just((Firing(5),)), st.just((Firing("x", ("y",)),)), st.just((Firing,)),  # type: ignore[arg-type]
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_shape_that_its_values_fit(kind: type[Any]) -> None:
    shape = shape_of(kind)
    assert shape is not None

    @settings(max_examples=FEW)
    @given(good(kind))
    def fits(event: Any) -> None:
        assert shape.fits(event)
        assert decode_event(encode_event(event)) == event

    fits()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_what_can_be_read_back_passes(kind: type[Any]) -> None:
    @settings(max_examples=FEW)
    @given(good(kind), st.sampled_from(kind.__struct_fields__), junk)
    def sound(event: Any, field: str, value: Any) -> None:
        changed = msgspec.structs.replace(event, **{field: value})
        try:
            data = encode_event(changed)
        except (ValueError, TypeError, msgspec.MsgspecError):
            return
        try:
            decode_event(data)
        except msgspec.ValidationError:
            with pytest.raises(msgspec.ValidationError):
                check_event(changed, data)
        else:
            check_event(changed, data)

    sound()


def test_items_are_looked_at() -> None:
    listing: Any = msgspec.defstruct("Listing", [("names", tuple[str, ...]), ("parts", tuple[PayloadRef, ...])])
    shape = shape_of(listing)
    assert shape is not None
    assert shape.fits(listing(("a", "b"), (PayloadRef("text", "sha256:", 9),)))
    for wrong in (("a", 5), (None,), (("a",),), ["a"]):
        assert not shape.fits(listing(wrong, ()))
    for part in ("text", None, PayloadRef("text", "sha256:", "9"), PayloadRef("other", "sha256:", 9)):  # type: ignore[arg-type]
        assert not shape.fits(listing((), (part,)))


def test_another_class_does_not_fit() -> None:
    class Decided(CallDecided, frozen=True, kw_only=True, tag="call.decided.too"):
        pass

    event = Decided(
        id="e",
        session=None,
        at_us=1,
        decision="d",
        tool="t",
        contract="c",
        policies="p",
        verdict="held",
        mode="enforce",
    )  # type: ignore[arg-type]
    shape = shape_of(CallDecided)
    assert shape is not None
    assert not shape.fits(event)
    assert not shape.fits(None)
    with pytest.raises(msgspec.ValidationError):
        check_event(event, encode_event(event))


@pytest.mark.parametrize(
    "hint",
    [float, list[str], dict[str, int], tuple[int, str], tuple[float, ...], str | float, Literal[1, 2],
     msgspec.Raw, Callable[[], None]],
    ids=str,
)  # fmt: skip
def test_what_no_shape_can_say_has_none(hint: Any) -> None:
    assert shape_of(msgspec.defstruct("Odd", [("value", hint)])) is None


@pytest.mark.parametrize("hint", [msgspec.Meta(min_length=3), msgspec.Meta(pattern="^a")], ids=["length", "pattern"])
def test_bounds_are_more_than_a_shape_says(hint: Any) -> None:
    from typing import Annotated

    assert shape_of(msgspec.defstruct("Bounded", [("value", Annotated[str, hint])])) is None
    assert shape_of(msgspec.defstruct("Listed", [("value", tuple[Annotated[str, hint], ...])])) is None
    assert (
        shape_of(msgspec.defstruct("Short", [("value", Annotated[tuple[str, ...], msgspec.Meta(max_length=1)])]))
        is None
    )
