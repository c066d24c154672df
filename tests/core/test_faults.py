"""What a log says of an error."""

from __future__ import annotations

import logging

import pytest

from fiducial.core.faults import told, wordless
from fiducial.errors import StoreClosed, ToolFailed

SECRET = "DE89370400440532013000"


def raised(error: BaseException, cause: BaseException | None = None, *, aside: bool = False) -> BaseException:
    try:
        if cause is not None and not aside:
            raise error from cause
        try:
            raise cause or KeyError
        except BaseException:
            raise error from None
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        raised(ValueError(SECRET)),
        raised(ToolFailed(SECRET, outcome="failed")),
        raised(KeyError("x"), cause=ValueError(SECRET)),
        raised(ExceptionGroup(SECRET, [ValueError(SECRET), ExceptionGroup(SECRET, [TypeError(SECRET)])])),
        raised(FileNotFoundError(2, SECRET, SECRET)),
        raised(OSError(SECRET)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_word_of_an_error_reaches_the_log(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("fiducial").error("failed: %s", told(error), exc_info=wordless(error))
    assert SECRET not in caplog.text
    assert type(error).__name__ in caplog.text
    assert "in raised" in caplog.text


def test_what_led_to_it_is_told_too_unless_it_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("fiducial")
    logger.error("failed", exc_info=wordless(raised(KeyError(1), cause=ZeroDivisionError(2))))
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()
    logger.error("failed", exc_info=wordless(raised(KeyError(1), cause=ZeroDivisionError(2), aside=True)))
    assert "ZeroDivisionError" not in caplog.text
    error = KeyError(1)
    error.__context__ = ZeroDivisionError(2)
    assert str(wordless(error).__cause__) == "ZeroDivisionError"


def test_the_members_of_a_group_are_told_by_kind_and_place() -> None:
    group = ExceptionGroup("several", [raised(ValueError(1)), KeyError(2)])
    assert str(wordless(group)).startswith("ExceptionGroup; ValueError at test_faults.py:")
    assert str(wordless(group)).endswith("; KeyError")


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert str(wordless(one).__cause__) == "KeyError"


def test_what_a_store_and_the_system_say_is_said() -> None:
    assert str(wordless(StoreClosed("the store was closed"))) == "StoreClosed: the store was closed"
    assert str(wordless(ConnectionRefusedError(111, SECRET))) == "ConnectionRefusedError: Connection refused"


def test_a_store_says_what_failed_and_not_with_which_values() -> None:
    error = StoreClosed("the store was closed")
    error.__cause__ = ValueError(SECRET)
    assert str(wordless(error).__cause__) == "ValueError"
