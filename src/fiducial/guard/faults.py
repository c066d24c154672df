"""Faults, in words fit for a process log."""

from __future__ import annotations

from pathlib import PurePath


def told(fault: BaseException) -> str:
    """Type and place of `fault`, such as `ValueError at send.py:12`; not its text, which may repeat what is secret."""
    trace = fault.__traceback__
    if trace is None:
        return type(fault).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(fault).__name__} at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


__all__ = ["told"]
