# cython: language_level=3, freethreading_compatible=False
"""`fiducial.flow.table.Table`, compiled: the same answers, five to ten times as fast.

Open addressing with linear probing, at most two thirds full. A slot is 64 bits of keyed hash and a word:

    bits 0-19   the latest chunk
    bits 20-24  how many chunks are listed
    bits 25-    1 + the place in the log where the word before this one is kept; 0 when this is the first

Memory safety, since any text may come in: a string is read through CPython's own pointer and length; a slot is reached
through a masked index; a table is never full, so probing ends; the log is read where a word that this module wrote says;
the buffer of a stream is as long as a stream can get (each character makes at most one word and one space).

The hash is SipHash-1-3 (Aumasson and Bernstein, https://www.aumasson.jp/siphash/siphash.pdf, with the rounds that
CPython and Rust use in their tables), keyed anew in every process, so that nobody can prepare words that crowd one place.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

import os

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    str PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define prefetch(address) __builtin_prefetch(address)
    #else
    #define prefetch(address) ((void)(address))
    #endif
    """
    void prefetch(const void* address) noexcept nogil

cdef struct Slot:
    uint64_t key
    uint64_t word

cdef enum:
    CAP = 16
    CHUNK_BITS = 20
    LINK_BITS = 25
    SLOTS = 64
    SPACE = 0
    LEAF = 1

cdef uint64_t CHUNK_MASK = (1 << CHUNK_BITS) - 1
cdef uint64_t COUNT_MASK = 31 << CHUNK_BITS
cdef uint64_t ONE = 1 << CHUNK_BITS

# What each byte is in the index: 0 parts words, 1 is `LEAF`, anything else belongs to a word and is what it says. Bytes
# of other scripts come in text that is cut into words already.
cdef uint8_t[256] WRITTEN
cdef uint8_t[256] FOLDED


cdef void _classes() noexcept:
    cdef int code
    for code in range(256):
        if code >= 128 or code == 95 or 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122:
            WRITTEN[code] = code
            FOLDED[code] = code + 32 if 65 <= code <= 90 else code
        else:
            WRITTEN[code] = FOLDED[code] = SPACE
    WRITTEN[0] = FOLDED[0] = LEAF


_classes()

cdef uint64_t KEY_0 = int.from_bytes(os.urandom(8), "little")
cdef uint64_t KEY_1 = int.from_bytes(os.urandom(8), "little")


cdef inline uint64_t _turned(uint64_t value, int bits) noexcept nogil:
    return value << bits | value >> (64 - bits)


cdef inline void _round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[1] = _turned(v[1], 13) ^ v[0]
    v[0] = _turned(v[0], 32)
    v[2] += v[3]
    v[3] = _turned(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = _turned(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = _turned(v[1], 17) ^ v[2]
    v[2] = _turned(v[2], 32)


cdef inline uint64_t _hash(const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Never 0, which is the key of an empty slot."""
    cdef uint64_t[4] v
    cdef uint64_t block
    cdef Py_ssize_t at = 0
    v[0] = KEY_0 ^ 0x736F6D6570736575ULL
    v[1] = KEY_1 ^ 0x646F72616E646F6DULL
    v[2] = KEY_0 ^ 0x6C7967656E657261ULL
    v[3] = KEY_1 ^ 0x7465646279746573ULL
    while size - at >= 8:
        memcpy(&block, text + at, 8)
        v[3] ^= block
        _round(v)
        v[0] ^= block
        at += 8
    block = <uint64_t>size << 56
    cdef int shift = 0
    while at < size:
        block |= <uint64_t>text[at] << shift
        shift += 8
        at += 1
    v[3] ^= block
    _round(v)
    v[0] ^= block
    v[2] ^= 0xFF
    _round(v)
    _round(v)
    _round(v)
    block = v[0] ^ v[1] ^ v[2] ^ v[3]
    return block if block else 1


cdef inline uint64_t _run(const uint64_t* four) noexcept nogil:
    """The hash of four words: of their hashes, which nobody outside can choose, so a plain mixer is enough."""
    cdef uint64_t mixed = four[0]
    cdef int index
    for index in range(1, 4):
        mixed ^= mixed >> 32
        mixed = mixed * 0x9E3779B97F4A7C15ULL + four[index]
    mixed ^= mixed >> 32
    mixed *= 0xD6E8FEB86659FD93ULL
    mixed ^= mixed >> 32
    return mixed if mixed else 1


cdef inline bytes _encoded(str text):
    return text.encode("utf-8", "surrogatepass")


cdef uint64_t _hash_of(str token) except 0:
    cdef Py_ssize_t size
    cdef const char* start
    if token is None:
        raise TypeError("a token is not `None`")
    if token.isascii():
        start = PyUnicode_AsUTF8AndSize(token, &size)
        return _hash(<const uint8_t*>start, size)
    encoded = _encoded(token)
    return _hash(<const uint8_t*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cdef class Table:
    """Which chunks each token stands in."""

    cdef Slot* slots
    cdef uint64_t* log
    cdef uint64_t mask
    cdef uint64_t used
    cdef uint64_t logged
    cdef uint64_t log_room

    def __cinit__(self):
        self.slots = <Slot*>PyMem_Calloc(SLOTS, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        self.mask = SLOTS - 1

    def __dealloc__(self):
        PyMem_Free(self.slots)
        PyMem_Free(self.log)

    @property
    def size(self):
        """Bytes used."""
        return (self.mask + 1) * sizeof(Slot) + self.log_room * sizeof(uint64_t)

    def size_with(self, Py_ssize_t characters):
        """Bytes used at most once so many more characters have been added."""
        # Every second character a word, every second word a run, and each of these logged.
        cdef uint64_t tokens = characters // 2 + characters // 4 + 2
        cdef uint64_t slots = self.mask + 1
        cdef uint64_t room = self.log_room
        while 3 * (self.used + tokens) > 2 * slots:
            slots *= 2
        if self.logged + tokens > room:
            room = max(2 * room, self.logged + tokens)
        return slots * sizeof(Slot) + room * sizeof(uint64_t)

    cdef int _grow(self) except -1:
        cdef uint64_t count = 2 * (self.mask + 1)
        cdef uint64_t mask = count - 1
        cdef uint64_t index, at
        cdef Slot* slots = <Slot*>PyMem_Calloc(count, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        for index in range(self.mask + 1):
            if self.slots[index].key:
                at = self.slots[index].key & mask
                while slots[at].key:
                    at = at + 1 & mask
                slots[at] = self.slots[index]
        PyMem_Free(self.slots)
        self.slots = slots
        self.mask = mask
        return 0

    cdef int _keep(self, uint64_t word) except -1:
        """Add a word to the log."""
        cdef uint64_t room
        cdef uint64_t* log
        if self.logged == self.log_room:
            room = max(64, self.log_room + self.log_room // 2)
            log = <uint64_t*>PyMem_Realloc(self.log, room * sizeof(uint64_t))
            if log == NULL:
                raise MemoryError
            self.log = log
            self.log_room = room
        self.log[self.logged] = word
        self.logged += 1
        return 0

    cdef inline int _note(self, uint64_t key, uint64_t chunk) except -1:
        """The token stands in `chunk`, the latest."""
        cdef uint64_t at = key & self.mask
        cdef uint64_t word
        cdef Slot* slot
        while True:
            slot = &self.slots[at]
            if slot.key == key:
                word = slot.word
                if word & CHUNK_MASK == chunk or word & COUNT_MASK == CAP << CHUNK_BITS:
                    return 0
                self._keep(word)
                slot.word = (word & COUNT_MASK) + ONE | chunk | self.logged << LINK_BITS
                return 0
            if not slot.key:
                if 3 * (self.used + 1) > 2 * (self.mask + 1):
                    self._grow()
                    at = key & self.mask
                    continue
                slot.key = key
                slot.word = ONE | chunk
                self.used += 1
                return 0
            at = at + 1 & self.mask

    cdef inline uint64_t _word(self, uint64_t key) noexcept:
        """What is kept for a token; 0 when nothing is."""
        cdef uint64_t at = key & self.mask
        while self.slots[at].key:
            if self.slots[at].key == key:
                return self.slots[at].word
            at = at + 1 & self.mask
        return 0

    cdef list _listed(self, uint64_t word):
        found = []
        while word:
            found.append(word & CHUNK_MASK)
            word = self.log[(word >> LINK_BITS) - 1] if word >> LINK_BITS else 0
        found.reverse()
        return found

    def add_words(self, str text not None, uint64_t chunk):
        """The words of `text` stand in `chunk`."""
        _check(chunk)
        cdef Py_ssize_t size, start, at = 0
        cdef const char* raw
        encoded = None
        if text.isascii():
            raw = PyUnicode_AsUTF8AndSize(text, &size)
        else:
            encoded = _encoded(text)
            raw, size = PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)
        cdef const uint8_t* source = <const uint8_t*>raw
        while at < size:
            if WRITTEN[source[at]] <= LEAF:
                at += 1
                continue
            start = at
            while at < size and WRITTEN[source[at]] > LEAF:
                at += 1
            self._note(_hash(source + start, at - start), chunk)

    def add_folded(self, str text not None, uint64_t chunk):
        """The words of `text` and their runs stand in `chunk`; returns the words, each with a space behind it."""
        _check(chunk)
        cdef Py_ssize_t size
        cdef const char* raw
        encoded = None
        if text.isascii():
            raw = PyUnicode_AsUTF8AndSize(text, &size)
        else:
            encoded = _encoded(text)
            raw, size = PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)
        cdef uint8_t* stream = <uint8_t*>PyMem_Malloc(2 * size + 1)
        if stream == NULL:
            raise MemoryError
        try:
            size = self._stream(<const uint8_t*>raw, size, stream, chunk)
            return PyUnicode_DecodeUTF8(<const char*>stream, size, "surrogatepass")
        finally:
            PyMem_Free(stream)

    cdef Py_ssize_t _stream(
        self, const uint8_t* source, Py_ssize_t size, uint8_t* stream, uint64_t chunk
    ) except -1:
        cdef Py_ssize_t start, at = 0, end = 0
        cdef uint64_t number = 0
        cdef uint64_t[4] four = [0, 0, 0, 0]
        cdef uint64_t unbroken = 0
        cdef uint8_t byte
        while at < size:
            byte = FOLDED[source[at]]
            if byte == SPACE:
                at += 1
                continue
            if byte == LEAF:
                stream[end] = 0
                at += 1
                end += 1
                unbroken = 0
            else:
                start = end
                while byte > LEAF:
                    stream[end] = byte
                    end += 1
                    at += 1
                    byte = FOLDED[source[at]] if at < size else SPACE
                four[0] = four[1]
                four[1] = four[2]
                four[2] = four[3]
                four[3] = _hash(stream + start, end - start)
                self._note(four[3], chunk)
                unbroken += 1
                # Runs of four that begin at every second word; none goes over the end of a leaf.
                if unbroken >= 4 and not unbroken & 1:
                    self._note(_run(four), chunk)
            stream[end] = 32
            end += 1
        return end

    def add_tokens(self, tokens, uint64_t chunk):
        """Each of `tokens`, taken as a whole, stands in `chunk`."""
        _check(chunk)
        for token in tokens:
            self._note(_hash_of(token), chunk)

    def __contains__(self, str token not None):
        return self._word(_hash_of(token)) != 0

    def chunks(self, str token not None):
        """The chunks listed for `token`, earliest first."""
        return self._listed(self._word(_hash_of(token)))

    def rarest(self, tokens):
        """The chunks of the token that is listed in fewest; none when one of them stands nowhere."""
        cdef uint64_t word, least = 0
        for token in tokens:
            word = self._word(_hash_of(token))
            if not word:
                return []
            if not least or word & COUNT_MASK < least & COUNT_MASK:
                least = word
        return self._listed(least)

    def runs(self, tokens):
        """Positions in `tokens` at which a run of four may be one that was added, and the chunks it may be from."""
        found = []
        cdef uint64_t[4] four = [0, 0, 0, 0]
        cdef uint64_t word
        cdef Py_ssize_t index = 0, count = len(tokens)
        cdef uint64_t* keys = <uint64_t*>PyMem_Malloc((count + 1) * sizeof(uint64_t))
        if keys == NULL:
            raise MemoryError
        try:
            # Nearly always none is known. Each is a miss of the cache: asked for beforehand, the misses overlap.
            for index in range(count):
                four[0] = four[1]
                four[1] = four[2]
                four[2] = four[3]
                four[3] = _hash_of(tokens[index])
                keys[index] = _run(four)
                prefetch(&self.slots[keys[index] & self.mask])
            for index in range(3, count):
                word = self._word(keys[index])
                if word:
                    found.append((index - 3, self._listed(word)))
        finally:
            PyMem_Free(keys)
        return found


cdef int _check(uint64_t chunk) except -1:
    if not 0 < chunk <= CHUNK_MASK:
        raise ValueError("a chunk's number is from 1 to 2**20 - 1")
    return 0
