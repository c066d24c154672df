# cython: language_level=3, freethreading_compatible=False, boundscheck=False, wraparound=False
"""The YAML that programs write, line by line: many times as fast as by libyaml's events.

It is a small part of the language: block mappings and lists, plain keys of ASCII letters, scalars that are plain or
quoted, in one line or folded, and empty collections. Whatever goes beyond that, or might, is left to
`fiducial.flow.formats.yaml_events`, which reads the same out of what is read here; the tests hold the two to each
other.

Memory safety, since any text may come in: the bytes end with a line end, which nothing that goes forward byte by byte
passes; what stands behind it is looked at only where a comparison with the size came before. What is looked for is ASCII,
so that no byte of another character is taken for it. Folding makes no text longer, so that a buffer as long as the whole
text holds each of its scalars.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from fiducial.flow.formats.members import MAX_DEPTH, Members
from fiducial.flow.formats.yaml_escapes import unescaped

cdef extern from "Python.h":
    str PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)
    Py_ssize_t PyUnicode_GET_LENGTH(str text)
    const void* PyUnicode_DATA(str text)

cdef enum:
    MAX_KEY = 120
    KEYS = 64

cdef Py_ssize_t DEEPEST = MAX_DEPTH


def read(str text not None):
    """The block mapping or list that `text` is; `None` when it is not, or not in this part of the language."""
    if not (text.isascii() or text.replace("\n", "").isprintable()):
        return None
    cdef Lines lines = Lines(text.lstrip("\n").removeprefix("---\n").rstrip(" \n") + "\n")
    if lines.controlled():
        return None
    while lines.at < lines.size:
        if not lines.line():
            return None
    return lines.closed()


cdef inline bint _named(char c) noexcept:
    return b"a" <= c <= b"z" or b"A" <= c <= b"Z" or b"0" <= c <= b"9" or c == b"_"


cdef inline bint _in_key(char c) noexcept:
    return _named(c) or c in b".@/+()&-"


cdef inline str _piece(const char* text, Py_ssize_t start, Py_ssize_t end):
    return PyUnicode_DecodeUTF8(text + start, end - start, NULL)


cdef class Lines:
    """Where the reading is, and the collections that are open, the innermost in the attributes."""

    cdef bytes encoded
    cdef const char* text
    cdef char* folded  # room for one scalar
    cdef Py_ssize_t at, size, column
    cdef list outer, items
    cdef list known  # keys that came, where `_name` looks for them
    cdef str key
    cdef bint awaits

    def __cinit__(self, str text not None):
        self.encoded = text.encode()
        self.text = PyBytes_AS_STRING(self.encoded)
        self.at, self.size = 0, len(self.encoded)
        self.folded = <char*>PyMem_Malloc(self.size)
        if self.folded == NULL:
            raise MemoryError
        self.outer, self.known = [], [None] * KEYS
        # At first a list that holds nothing but the whole; a list has no key.
        self.column, self.key, self.items = -1, None, []
        self.awaits = True  # a value is still to come

    def __dealloc__(self):
        PyMem_Free(self.folded)

    cdef bint controlled(self) noexcept:
        """Some character is a control of ASCII, and no line end."""
        cdef Py_ssize_t at
        cdef bint found = False
        for at in range(self.size):
            found |= 0 <= self.text[at] < b" " and self.text[at] != b"\n" or self.text[at] == 127
        return found

    cdef bint line(self) except -1:
        """One line, and those that its scalar goes on over. Whether it can stand here."""
        cdef const char* text = self.text
        cdef Py_ssize_t start = self.at, at = start, end
        cdef bint dashed = False
        while text[at] == b" ":
            at += 1
        cdef Py_ssize_t first = at - start
        while text[at] == b"-" and text[at + 1] == b" ":
            if not dashed:
                self._back_to(first)
            dashed = True
            if not self._dash(at - start):
                return False
            at += 2
            while text[at] == b" ":
                at += 1
        end = self._key_end(at)
        if end >= 0:
            if not dashed:
                self._back_to(first)
            if end - at > MAX_KEY or not self._key(at - start, self._name(at, end)):
                return False
            at = end + 1
            while text[at] == b" ":
                at += 1
        elif not dashed:
            return False
        self.at = at
        if text[at] != b"\n":
            value = self._scalar()
            if value is None:
                return False
            self._add(value)
            self.awaits = False
        at = self.at
        while text[at] == b" ":
            at += 1
        self.at = at + 1
        return text[at] == b"\n"

    # Scalars

    cdef Py_ssize_t _key_end(self, Py_ssize_t at) noexcept:
        """Where the key ends that starts at `at`, which is its colon's place; -1 when there is none."""
        cdef const char* text = self.text
        cdef Py_ssize_t end
        if not _named(text[at]):
            return -1
        while True:
            while _in_key(text[at]):
                at += 1
            end = at
            while text[at] == b" ":
                at += 1
            if at == end or not _in_key(text[at]):
                break
        return end if text[end] == b":" and text[end + 1] in b" \n" else -1

    cdef str _name(self, Py_ssize_t start, Py_ssize_t end):
        """The key there: mostly the same string that it was before, since records have the same members."""
        cdef const char* text = self.text
        cdef Py_ssize_t size = end - start
        cdef Py_ssize_t place = (3 * text[start] + 5 * text[end - 1] + size) % KEYS
        cdef str key = self.known[place]
        # Keys are ASCII, a byte for each character.
        if key is None or PyUnicode_GET_LENGTH(key) != size or memcmp(PyUnicode_DATA(key), text + start, size) != 0:
            key = self.known[place] = _piece(text, start, end)
        return key

    cdef object _scalar(self):
        """The scalar or empty collection at the place of reading, which goes behind it; `None` when it is not clear."""
        cdef const char* text = self.text
        cdef Py_ssize_t at = self.at, end
        cdef char c = text[at]
        cdef str written
        if c == b"'" or c == b'"':
            end = self._quoted_end(at + 1, c)
            if end < 0:
                return None
            self.at = end + 1
            written = self._said(at + 1, end, c == b'"')
            if written is None:
                return None
            return written.replace("''", "'") if c == b"'" else unescaped(written)
        if c == b"[" or c == b"{":
            self.at = at + 2
            if c == b"[":
                return [] if text[at + 1] == b"]" else None
            return Members() if text[at + 1] == b"}" else None
        if c in b"?:,]}#&*!|>%@`" or c == b"-" and text[at + 1] in b" \n":
            return None
        end = self._plain_end(at)
        if end < 0:
            return None
        self.at = self._before_spaces(at, end)
        return self._said(at, self.at, False)

    cdef str _said(self, Py_ssize_t start, Py_ssize_t end, bint escapes):
        """What stands there; `None` when it goes over several lines and is not clear."""
        if memchr(self.text + start, b"\n", end - start) == NULL:
            return _piece(self.text, start, end)
        end = self._fold(start, end, escapes)
        return None if end < 0 else _piece(self.folded, 0, end)

    cdef Py_ssize_t _fold(self, Py_ssize_t start, Py_ssize_t end, bint escapes) noexcept:
        """Fold the lines there into one: a line end is a space, each empty line after it a line end. How long it is.

        -1 when a line is not further in than its collection. `escapes`: a line end may be escaped, as in double quotes.
        """
        cdef const char* text = self.text
        cdef const char* found
        cdef Py_ssize_t low = start, at, high, stop, size = 0
        # How many empty lines came since the last other one; -1 where that ended with an escape, and before the first.
        cdef Py_ssize_t empty = -1
        cdef bint escaped
        while True:
            found = <const char*>memchr(text + low, b"\n", end - low)
            stop = end if found == NULL else found - text
            at = low if low == start else self._after_spaces(low, stop)
            high = stop if found == NULL else self._before_spaces(at, stop)
            if at == high and low > start and found != NULL:
                if empty < 0:
                    return -1
                empty += 1
            elif low > start and at - low <= self.column:
                return -1
            else:
                escaped = escapes and found != NULL and self._escaped(at, high)
                if escaped and high < stop:
                    return -1
                size = self._join(size, empty, at, high - escaped)
                if found == NULL:
                    return size
                empty = -1 if escaped else 0
            low = stop + 1

    cdef inline Py_ssize_t _after_spaces(self, Py_ssize_t at, Py_ssize_t end) noexcept:
        while at < end and self.text[at] == b" ":
            at += 1
        return at

    cdef inline Py_ssize_t _before_spaces(self, Py_ssize_t start, Py_ssize_t at) noexcept:
        while at > start and self.text[at - 1] == b" ":
            at -= 1
        return at

    cdef inline bint _escaped(self, Py_ssize_t start, Py_ssize_t end) noexcept:
        """What stands at `end` has a backslash before it that itself has none."""
        cdef bint escaped = False
        while end > start and self.text[end - 1] == b"\\":
            escaped = not escaped
            end -= 1
        return escaped

    cdef inline Py_ssize_t _join(self, Py_ssize_t size, Py_ssize_t empty, Py_ssize_t start, Py_ssize_t end) noexcept:
        """One line more of a folded scalar, behind the `size` bytes that there are; how many there are then."""
        if empty == 0:
            self.folded[size] = b" "
            size += 1
        elif empty > 0:
            memset(self.folded + size, b"\n", empty)
            size += empty
        memcpy(self.folded + size, self.text + start, end - start)
        return size + end - start

    cdef Py_ssize_t _quoted_end(self, Py_ssize_t at, char quote):
        """Where the closing quote is of a scalar whose text starts at `at`; -1 when there is none."""
        cdef const char* text = self.text
        while at < self.size:
            if text[at] != quote:
                at += 1
            elif quote == b'"' and text[at - 1] == b"\\":
                # Whether it is escaped is for `unescaped` to say.
                at += 1
            elif quote == b"'" and text[at + 1] == b"'":
                at += 2
            else:
                return at
        return -1

    cdef Py_ssize_t _plain_end(self, Py_ssize_t at) noexcept:
        """The end of the last line of the plain scalar at `at`; -1 when it is none."""
        cdef const char* text = self.text
        cdef Py_ssize_t end = self._rest_end(at + 1), more = end
        while more >= 0:
            end = more
            at = end + 1
            if at >= self.size or text[at] != b" ":
                break
            while text[at] == b" ":
                at += 1
            if text[at] == b"\n" or text[at] == b"-" and text[at + 1] == b" ":
                break
            more = self._rest_end(at)
        return end

    cdef Py_ssize_t _rest_end(self, Py_ssize_t at) noexcept:
        """The end of the line, from `at` on no `: ` and no ` #`; -1 when there is one."""
        cdef const char* text = self.text
        cdef char c = text[at]
        while c != b"\n":
            if c == b":" and text[at + 1] in b" \n" or c == b"#" and text[at - 1] == b" ":
                return -1
            at += 1
            c = text[at]
        return at

    # Collections

    cdef int _add(self, value) except -1:
        self.items.append(value if self.key is None else (self.key, value))
        return 0

    cdef bint _dash(self, Py_ssize_t column) except -1:
        """A member of a list starts. Whether it can."""
        if column == self.column and self.key is None:
            self._settle()
        elif not self.awaits or not self._enter(column, None):
            return False
        self.awaits = True
        return True

    cdef bint _key(self, Py_ssize_t column, str key) except -1:
        """A member of a mapping starts. Whether it can."""
        if column == self.column and self.key is None and self.outer[len(self.outer) - 1][0] == column:
            # A list may stand where its key does.
            self._close()
        if column == self.column and self.key is not None:
            self._settle()
            self.key = key
        elif column <= self.column or not self.awaits or not self._enter(column, key):
            return False
        self.awaits = True
        return True

    cdef int _back_to(self, Py_ssize_t column) except -1:
        """Close what is further in."""
        while column < self.column:
            self._close()
        return 0

    cdef bint _enter(self, Py_ssize_t column, str key) except -1:
        self.outer.append((self.column, self.key, self.items))
        self.column, self.key, self.items = column, key, []
        return len(self.outer) <= DEEPEST

    cdef int _settle(self) except -1:
        """What was awaited does not come: it is empty."""
        if self.awaits:
            self._add("")
            self.awaits = False
        return 0

    cdef int _close(self) except -1:
        self._settle()
        value = self.items if self.key is None else Members(self.items)
        self.column, self.key, self.items = self.outer.pop()
        self._add(value)
        return 0

    cdef object closed(self):
        """The whole; `None` when there is nothing."""
        while self.outer:
            self._close()
        return self.items[0] if len(self.items) == 1 else None
