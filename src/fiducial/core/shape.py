"""Whether a struct holds what its annotations say, told without encoding it and decoding it again.

A frozen struct is not checked when it is made, so one of the wrong types can be encoded and then not be read. A shape
says yes only where decoding would, and is planned once a class from what msgspec knows of it. Its walk is compiled from
`_shape.pyx`, a quarter of a decoder's time; where the package was built without a C compiler nothing has a shape, and
whoever asks has to decode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec.inspect as types

if TYPE_CHECKING:
    from fiducial.core._shape import Shape

    _Field: TypeAlias = tuple[tuple[type, ...], frozenset[str] | None, Shape | type | None]
    """The types its value may have, exactly; if text, which ones (`None`: any); of a tuple, what its items are."""

_SCALARS: dict[type[types.Type], type] = {
    types.StrType: str,
    types.IntType: int,
    types.BoolType: bool,
    types.NoneType: type(None),
}


def shape_of(struct: type) -> Shape | None:
    """The shape of a struct's class; `None` when it holds what no shape can say, or nothing is compiled."""
    try:
        from fiducial.core._shape import Shape
    except ImportError:
        return None
    known = types.type_info(struct)
    if not isinstance(known, types.StructType):
        return None
    fields = [_field(field.type) for field in known.fields]
    return Shape(struct, tuple(field for field in fields if field)) if all(fields) else None


def _field(known: types.Type) -> _Field | None:
    """`None` when there is more to know of it."""
    members = known.types if isinstance(known, types.UnionType) else (known,)
    kinds: list[type] = []
    texts: frozenset[str] | None = None
    item: Shape | type | None = None
    for member in members:
        if type(member) in _SCALARS and member == type(member)():
            kinds.append(_SCALARS[type(member)])
        elif isinstance(member, types.EnumType):
            kinds.append(member.cls)
        elif isinstance(member, types.LiteralType) and all(type(value) is str for value in member.values):
            kinds.append(str)
            texts = frozenset(map(str, member.values))
        elif isinstance(member, types.VarTupleType) and member.min_length is None and member.max_length is None:
            kinds.append(tuple)
            inner = member.item_type
            item = shape_of(inner.cls) if isinstance(inner, types.StructType) else _SCALARS.get(type(inner))
            if item is None or (type(inner) in _SCALARS and inner != type(inner)()):
                return None
        else:
            return None
    return tuple(kinds), texts, item
