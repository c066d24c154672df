"""Values of every class that can be told from text, in the words that they come with."""

from __future__ import annotations

from typing import NamedTuple

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----"
SIGNED = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP"


class Sample(NamedTuple):
    """One value in a text."""

    data_class: str
    text: str
    value: str


SAMPLES = (
    Sample("payment", "card 4111 1111 1111 1111", "4111 1111 1111 1111"),
    Sample("payment", "5500-0000-0000-0004", "5500-0000-0000-0004"),
    Sample("payment", "amex 378282246310005", "378282246310005"),
    Sample("payment", "IBAN GB29 NWBK 6016 1331 9268 19", "GB29 NWBK 6016 1331 9268 19"),
    Sample("payment", "DE89370400440532013000", "DE89370400440532013000"),
    Sample("payment", "cvv: 123", "123"),
    Sample("payment", "routing number 021000021", "021000021"),
    Sample("payment", "account number: 12345678", "12345678"),
    Sample("payment", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    Sample("contact", "ann.fox+x@mail.example.org", "ann.fox+x@mail.example.org"),
    Sample("contact", "andré@müller.example", "andré@müller.example"),
    Sample("contact", "+41 44 668 18 00", "+41 44 668 18 00"),
    Sample("contact", "+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
    Sample("contact", "(415) 555-0134", "(415) 555-0134"),
    Sample("contact", "020 7946 0958", "020 7946 0958"),
    Sample("contact", "0041 44 668 18 00", "0041 44 668 18 00"),
    Sample("contact", "phone 4155550134", "4155550134"),
    Sample("identity", "SSN 536-90-4399", "536-90-4399"),
    Sample("identity", "aadhaar 2341 2341 2346", "2341 2341 2346"),
    Sample("identity", "CPF 390.533.447-05", "390.533.447-05"),
    Sample("identity", "PESEL 44051401359", "44051401359"),
    Sample("identity", "AB 12 34 56 C", "AB 12 34 56 C"),
    Sample("identity", "RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    Sample("identity", "12345678Z", "12345678Z"),
    Sample("identity", "X-2482300-W", "X-2482300-W"),
    Sample("identity", "S1234567D", "S1234567D"),
    Sample("identity", "131052-308T", "131052-308T"),
    Sample("identity", "born on 3 February 1980", "3 February 1980"),
    Sample("identity", "passport number X1234567", "X1234567"),
    Sample("identity", "driver's license D123-4567", "D123-4567"),
    Sample("health", "NHS number 943 476 5919", "943 476 5919"),
    Sample("health", "1EG4-TE5-MK73", "1EG4-TE5-MK73"),
    Sample("health", "KVNR A123456780", "A123456780"),
    Sample("health", "MRN: 00482913", "00482913"),
    Sample("health", "diagnosis: E11.9", "E11.9"),
    Sample("credentials", "password: hunter2!x", "hunter2!x"),
    Sample("credentials", "your one-time code is 482913", "482913"),
    Sample("credentials", f"session {SIGNED}", SIGNED),
    Sample("secrets", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    Sample("secrets", "ghp_" + "a1B2" * 9, "ghp_" + "a1B2" * 9),
    Sample("secrets", "postgres://app:hunter2@db.local/x", "postgres://app:hunter2@db.local/x"),
    Sample("secrets", "api_key = 'abc123def456'", "abc123def456"),
    Sample("secrets", KEY, KEY),
)  # fmt: skip
