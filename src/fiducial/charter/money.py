"""Money: currencies, and amounts in minor units, exactly.

An amount of a currency becomes an integer of minor units (cents, yen, fils), or nothing at all: what is finer than a
minor unit has no integer and is refused, never rounded, because a limit that rounds can be slipped under.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"

EXPONENTS: dict[str, int] = {
    code: digits for digits, codes in ((0, _NONE), (2, _TWO), (3, _THREE), (4, _FOUR)) for code in codes.split()
}
"""Code → digits after the point of its minor unit. ISO 4217, list one:
https://www.six-group.com/en/products-services/financial-information/market-reference-data/data-standards.html"""


def is_currency(code: str | None) -> bool:
    """Whether `code` is an ISO 4217 code of money; `None` is not."""
    return code in EXPONENTS


LONG = 2**63
"""Longs of Cedar lie within −2⁶³ and 2⁶³ − 1 (https://docs.cedarpolicy.com/policies/syntax-datatypes.html#long)."""


def minor_units(value: object, currency: str) -> int:
    """`value` (major units, as in a tool's arguments) of `currency` in minor units.

    Raises `ValueError` when the currency is unknown, or the amount is not a finite number, is finer than a minor unit
    or does not fit 64 bits. The message never holds the amount.
    """
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise ValueError(f"`{currency}` is not an ISO 4217 currency")
    return scaled(value, exponent)


def scaled(value: object, exponent: int) -> int:
    """`value` × 10^`exponent`, when that is a whole number of 64 bits; raises `ValueError` when it is not.

    A float stands for the shortest decimal that reads back as it: 98.7 is 98.7, not 98.7000000000000028.
    """
    factor: int = 10**exponent
    if type(value) is int:
        result = value * factor
    elif type(value) is float:
        if not -LONG < value < LONG:
            raise ValueError("does not fit 64 bits" if isfinite(value) else "is not a finite number")
        result = round(value * factor)
        if abs(result) >= 2**52 or result / factor != value:  # past 2⁵² the product itself may be rounded
            result = _exactly(value, exponent)
    else:
        raise ValueError("is not a number")
    if not -LONG <= result < LONG:
        raise ValueError("does not fit 64 bits")
    return result


def _exactly(value: float, exponent: int) -> int:
    exact = Decimal(repr(value)).scaleb(exponent)
    if exact != exact.to_integral_value():
        raise ValueError(f"has more than {exponent} digits after the point" if exponent else "is not a whole number")
    return int(exact)
