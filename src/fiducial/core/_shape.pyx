# cython: language_level=3, freethreading_compatible=False
"""The walk over a struct's values that `fiducial.core.shape` plans."""

from msgspec.structs import astuple


cdef class Shape:
    """What each field of a struct may hold."""

    cdef object struct
    cdef tuple fields

    def __init__(self, object struct, tuple fields not None):
        self.struct = struct
        self.fields = fields

    cpdef bint fits(self, object value) except -1:
        """Whether `value` is such a struct, and each of its values what its field may hold."""
        cdef tuple values, field, types
        cdef object each, kind, item
        cdef Py_ssize_t at
        if type(value) is not self.struct:
            return False
        values = astuple(value)
        for at in range(len(self.fields)):
            each = values[at]
            field = <tuple> self.fields[at]
            types = <tuple> field[0]
            kind = type(each)
            for one in types:
                if one is kind:
                    break
            else:
                return False
            if kind is str:
                if field[1] is not None and each not in field[1]:
                    return False
            elif kind is tuple:
                item = field[2]
                if type(item) is Shape:
                    for inner in <tuple> each:
                        if not (<Shape> item).fits(inner):
                            return False
                else:
                    for inner in <tuple> each:
                        if type(inner) is not item:
                            return False
        return True
