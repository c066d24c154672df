"""National numbers: which shapes they are written in, what checks them, and whether a word must say what they are.

Where so many numbers of a shape pass the check that others would be taken for them (one in fifty or more), a word
within `NAMED_WITHIN` characters before must name them: an order number of eleven digits is no PESEL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

from fiducial.charter.forms import BEFORE
from fiducial.flow.masking.accounts import luhn

NAMED_WITHIN = BEFORE
"""Characters before a number in which a word can say what it is."""

_ANY_ID = (
    r"national (?:id|identity|identification|insurance)|identity (?:card|number)|personal (?:id|identification|number)"
    r"|citizen (?:id|number)|tax(?:payer)? (?:id|number|file|identification)|id (?:no|number|card)"
)


@cache
def _module(name: str) -> Callable[[str], bool]:
    valid: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return valid


def stdnum(name: str) -> Callable[[str], bool]:
    """The validator of python-stdnum in the module `name`, loaded when it is first asked."""
    return lambda value: _module(name)(value)


class National(NamedTuple):
    """A number of one country."""

    shapes: tuple[str, ...]
    """How it is written, with `9` for each digit."""
    check: Callable[[str], bool]
    words: re.Pattern[str] | None = None
    """One of these must stand before it; `None`: it needs none."""
    data_class: str = "identity"
    apart: bool = False
    """No other digits may stand before or behind it: one in ten of its shape passes the check."""


def _said(words: str, *, data_class: str = "") -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{words}{'' if data_class else '|' + _ANY_ID})(?![^\W_])", re.IGNORECASE)


def _plain(length: int) -> tuple[str, ...]:
    return ("9" * length,)


def _sin(value: str) -> bool:
    return value[0] not in "08" and luhn("".join(filter(str.isdecimal, value)))


def _health_card(value: str) -> bool:
    return _module("gb.nhs")(value)


NATIONAL = (
    National(("999-99-9999",), stdnum("us.ssn")),
    National(("999 99 9999", "999999999"), stdnum("us.ssn"), _said("ssn|social security(?: number| no)?")),
    National(("999-99-9999",), stdnum("us.itin")),
    National(("99-9999999",), stdnum("us.ein"), _said("ein|employer identification(?: number)?")),
    National(("9999 9999 9999", "9999-9999-9999"), stdnum("in_.aadhaar"), apart=True),
    National(("999999999999", "9999 9999 9999", "9999-9999-9999"), stdnum("in_.aadhaar"), _said("aadhaar|uidai|uid")),
    National(("999.999.999-99",), stdnum("br.cpf")),
    National(_plain(11), stdnum("br.cpf"), _said("cpf")),
    National(_plain(11), stdnum("pl.pesel"), _said("pesel")),
    National(("99999999999", "99 999 999 999"), stdnum("de.idnr"), _said(r"steuer-?id\w*|idnr|identifikationsnummer")),
    National(_plain(11), stdnum("tr.tckimlik"), _said("kimlik(?: no)?|tckn|t\\.?c\\.?")),
    National(("99999999999", "999999 99999"), stdnum("no.fodselsnummer"), _said(r"f[øo]dselsnummer|personnummer|fnr")),
    National(("9 99 99 99 999 999 99", "999999999999999"), stdnum("fr.nir")),
    National(("99.99.99-999.99",), stdnum("be.nn")),
    National(_plain(11), stdnum("be.nn"), _said("rijksregister(?:nummer)?|registre national|nrn")),
    National(("756.9999.9999.99",), stdnum("ch.ssn")),
    National(_plain(13), stdnum("ch.ssn"), _said("ahv(?:-?n(?:umme)?r)?|avs")),
    National(("999999-9999", "99999999-9999"), stdnum("se.personnummer")),
    National(("999999-9999",), stdnum("dk.cpr"), _said("cpr(?:-nr|-nummer)?")),
    National(("999999-9999999",), stdnum("kr.rrn")),
    National(_plain(9), stdnum("nl.bsn"), _said("bsn|burgerservicenummer|sofinummer")),
    National(("999 999 999", "999-999-999", "999999999"), _sin, _said("sin|social insurance(?: number)?")),
    National(("999 999 999", "999999999"), stdnum("au.tfn"), _said("tfn|tax file(?: number)?")),
    National(_plain(13), stdnum("za.idnr"), _said("sa id|south african id|rsa id")),
    National(_plain(18), stdnum("cn.ric")),
    National(("999 999 9999",), _health_card, _said(r"nhs(?: number| no\.?)?|patient", data_class="health"), "health"),
    National(("999-999-9999", "9999999999"), _health_card, _said("nhs(?: number| no)?", data_class="health"), "health"),
    National(_plain(9), stdnum("us.rtn"), _said(r"routing(?: number| no)?|aba", data_class="payment"), "payment"),
)  # fmt: skip

BY_SHAPE: dict[str, tuple[National, ...]] = {
    shape: tuple(each for each in NATIONAL if shape in each.shapes) for each in NATIONAL for shape in each.shapes
}
