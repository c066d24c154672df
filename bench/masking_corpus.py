"""Labelled texts for the masking benchmark: values with right check digits, and near misses of each kind.

A near miss has the shape of a value and is none: one check digit off, ranges that nobody issues, a country's code that
does not exist. Values are drawn anew from the seed; nothing in the library knows them.
"""

from __future__ import annotations

import random
import string
from typing import NamedTuple

import phonenumbers
from stdnum import iban as ibans
from stdnum import luhn
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.us import ssn

FILLER = (
    "Thank you for your message about the delivery. We looked into it and found that the parcel left the warehouse on "
    "time. The carrier says that nobody was at home in the afternoon. Please tell us which day suits you and we will "
    "arrange another visit. The report of the last quarter is nearly done and the team meets again next week. Prices "
    "stay as they are until spring. If something is missing from the box then write to us and we send it at once. "
    "The meeting room on the second floor is free after lunch. Our customers liked the new catalogue very much. "
)


class Text(NamedTuple):
    """One text with one value, or a near miss."""

    kind: str
    text: str
    start: int
    end: int
    data_class: str | None
    """`None`: what stands there is a near miss."""


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def _off_by_one(rng: random.Random, value: str) -> str:
    """`value` with its last digit another one."""
    at = max(index for index, each in enumerate(value) if each.isdigit())
    return value[:at] + str((int(value[at]) + rng.randint(1, 9)) % 10) + value[at + 1 :]


def _card(rng: random.Random) -> str:
    prefix, length = rng.choice([("4", 16), ("51", 16), ("34", 15), ("6011", 16)])
    body = prefix + _digits(rng, length - len(prefix) - 1)
    number = body + luhn.calc_check_digit(body)
    if length == 15 or rng.random() < 0.5:
        return number
    return rng.choice(" -").join(number[at : at + 4] for at in range(0, 16, 4))


def _iban(rng: random.Random) -> str:
    country, body = rng.choice(
        [("DE", _digits(rng, 18)), ("GB", "NWBK" + _digits(rng, 14)), ("NL", "ABNA" + _digits(rng, 10))]
    )
    number = country + ibans.calc_check_digits(country + "00" + body) + body
    return number if rng.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _email(rng: random.Random) -> str:
    word = "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(4, 9)))
    name, host = rng.choice(["fox", "lee", "meyer"]), rng.choice(["mail.", ""])
    return f"{word}.{name}@{host}example.{rng.choice(['com', 'org', 'net'])}"


def _phone(rng: random.Random) -> str:
    region = rng.choice(["US", "GB", "DE", "FR", "IN"])
    sample = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.FIXED_LINE)
    style = rng.choice([phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL])
    while True:
        base = str(sample.national_number)
        number = phonenumbers.PhoneNumber(
            country_code=sample.country_code, national_number=int(base[:-3] + _digits(rng, 3))
        )
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, style)


def _ssn(rng: random.Random) -> str:
    while True:
        number = f"{rng.randint(1, 899):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"
        if ssn.is_valid(number):
            return number


def _nhs(rng: random.Random) -> str:
    while True:
        number = str(rng.randint(4, 7)) + _digits(rng, 9)
        if nhs.is_valid(number):
            return f"{number[:3]} {number[3:6]} {number[6:]}"


def _aadhaar(rng: random.Random) -> str:
    while True:
        number = str(rng.randint(2, 9)) + _digits(rng, 11)
        if aadhaar.is_valid(number):
            return f"{number[:4]} {number[4:8]} {number[8:]}"


KINDS = {
    "card": ("payment", "Pay with card {} today", _card),
    "iban": ("payment", "Transfer it to {} please", _iban),
    "e-mail": ("contact", "Write to {} about it", _email),
    "phone": ("contact", "My phone number is {} at work", _phone),
    "ssn": ("identity", "Her SSN is {} on file", _ssn),
    "aadhaar": ("identity", "The Aadhaar number {} was given", _aadhaar),
    "nhs": ("health", "NHS number {} of the patient", _nhs),
}
"""Kinds that both sides look for → class, the sentence it stands in, and how a value is drawn."""


def _near_miss(kind: str, rng: random.Random) -> str:
    if kind == "ssn":
        return f"{rng.choice(['000', '666'])}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"
    if kind == "e-mail":
        return _email(rng).replace("@", rng.choice([" at ", "@ ", "@."]))
    if kind == "phone":
        return rng.choice(["+999 {} {}", "+210 {} {}", "(000) {}-{}"]).format(_digits(rng, 3), _digits(rng, 4))
    return _off_by_one(rng, KINDS[kind][2](rng))


def corpus(seed: int, each: int, *, size: int = 1024) -> list[Text]:
    """`each` values and as many near misses of every kind, in texts of `size` characters, in an order of their own."""
    rng, texts = random.Random(seed), []
    for kind, (data_class, sentence, draw) in KINDS.items():
        for number in range(2 * each):
            real = number < each
            value = draw(rng) if real else _near_miss(kind, rng)
            before, after = sentence.split("{}")
            at = rng.randrange(len(FILLER))
            lead = (FILLER * 3)[at : at + rng.randint(100, size - 300)] + ". " + before
            text = f"{lead}{value}{after}. {FILLER * 3}"[:size]
            texts.append(Text(kind, text, len(lead), len(lead) + len(value), data_class if real else None))
    rng.shuffle(texts)
    return texts


def everyday(seed: int, count: int, *, size: int = 1024) -> list[str]:
    """Texts with nothing to mask."""
    rng = random.Random(seed)
    return [(FILLER * 4)[at : at + size] for at in (rng.randrange(len(FILLER)) for _ in range(count))]
