"""What a log may say of an error that nobody foresaw.

The words of such an error are not ours, and can repeat a value that is masked everywhere else (`invalid literal for
int() with base 10: '…'`). Of which kind it is, where it came from and what led to it finds the fault as well.
"""

from __future__ import annotations

import os
from pathlib import PurePath

from fiducial.errors import StoreError


class Fault(Exception):
    """Stands for another error in a log: its kind, and its words where they are a store's or the system's."""


def wordless(fault: BaseException) -> Fault:
    """`fault` as `exc_info` for a log: the tracebacks of it and of what led to it, with no word of theirs."""
    found: list[BaseException] = []
    led: BaseException | None = fault
    while led is not None and not any(led is each for each in found):
        found.append(led)
        led = led.__cause__ or (None if led.__suppress_context__ else led.__context__)
    stands: Fault | None = None
    for each in reversed(found):
        within = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        made = Fault("; ".join((_words(each), *map(told, within)))).with_traceback(each.__traceback__)
        made.__cause__, stands = stands, made
    assert stands is not None
    return stands


def told(fault: BaseException) -> str:
    """Kind and place of `fault` on one line, such as `ValueError at send.py:12`."""
    trace = fault.__traceback__
    if trace is None:
        return _kind(fault)
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{_kind(fault)} at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _words(fault: BaseException) -> str:
    if isinstance(fault, StoreError):
        return f"{_kind(fault)}: {fault}"
    if isinstance(fault, OSError) and fault.errno is not None:
        return f"{_kind(fault)}: {os.strerror(fault.errno)}"
    return _kind(fault)


def _kind(fault: BaseException) -> str:
    return type(fault).__name__


__all__ = ["told", "wordless"]
