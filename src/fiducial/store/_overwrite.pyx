# cython: language_level=3, freethreading_compatible=False
"""A small file overwritten in one stretch, without another thread's having its turn in between."""

from libc.string cimport memcmp
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport pread, pwrite

cdef extern from "<sys/file.h>":
    int flock(int descriptor, int operation)
    enum: LOCK_EX, LOCK_NB, LOCK_UN


def overwrite(int descriptor, bytes old not None, bytes new not None) -> bool:
    """Put `new` in place of `old`, under the file's lock; true when that was done.

    It is not when the file is locked, was replaced or removed, holds anything but `old`, or `new` is of another length.
    """
    cdef char[1024] found
    cdef struct_stat status
    cdef Py_ssize_t size = len(old)
    if size != len(new) or size > sizeof(found) or flock(descriptor, LOCK_EX | LOCK_NB):
        return False
    cdef bint done = (
        fstat(descriptor, &status) == 0
        and status.st_nlink > 0
        and status.st_size == size
        and pread(descriptor, found, size, 0) == size
        and memcmp(found, <const char*> old, size) == 0
        and pwrite(descriptor, <const char*> new, size, 0) == size
    )
    flock(descriptor, LOCK_UN)
    return done
