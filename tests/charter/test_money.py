"""Amounts in minor units, exactly or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.money import LONG, minor_units, scaled


@pytest.mark.parametrize(
    ("value", "currency", "units"),
    [
        (98.7, "USD", 9870), (5, "USD", 500), (5.0, "USD", 500), (-0.01, "EUR", -1), (1000, "JPY", 1000),
        (1.234, "KWD", 1234), (4.35, "USD", 435), (1.1, "CLF", 11000), (0.0, "USD", 0), (1e16, "USD", 10**18),
        (92233720368547758, "USD", 9223372036854775800),
    ],
)  # fmt: skip
def test_exact(value: float, currency: str, units: int) -> None:
    assert minor_units(value, currency) == units


@pytest.mark.parametrize(
    "value",
    [
        0.005, 0.1 + 0.2, 1.005, float("nan"), float("inf"), float("-inf"), 1e17, 10**20, 1e308,
        True, False, "5", None, [5], {},
    ],
)  # fmt: skip
def test_refused(value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        minor_units(value, "USD")
    assert repr(value) not in str(caught.value), "a message never holds the amount"


@pytest.mark.parametrize("currency", ["", "usd", "XXX", "items", "US"])
def test_unknown_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="is not an ISO 4217 currency"):
        minor_units(1, currency)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 4))
def test_agrees_with_decimal_arithmetic(value: float, exponent: int) -> None:
    exact = Decimal(repr(value)).scaleb(exponent)
    fits = exact == exact.to_integral_value() and -LONG <= exact < LONG
    try:
        assert scaled(value, exponent) == int(exact)
        assert fits
    except ValueError:
        assert not fits


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_every_decimal_amount_is_exact(units: int, exponent: int) -> None:
    assert scaled(float(Decimal(units).scaleb(-exponent)), exponent) == units
