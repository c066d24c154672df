"""Cosignatures: a witness's statement that a tree head is the largest it has seen of a log, and extends all before it.

A cosignature is one more signature line of the checkpoint, C2SP `tlog-cosignature` version 1:

    — witness.example/w1 base64(key id (4 bytes) ‖ time (8 bytes, big-endian seconds since 1970) ‖ signature (64 bytes))

What is signed, with Ed25519, is

    cosignature/v1
    time 1679315147
    example.com/behind-the-sofa        the checkpoint's text, whole
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

A witness's public key is written like a log's, with 0x04 in place of 0x01, so that one cannot be taken for the other.
Since the witness's name is not in what is signed, the same key under two names is one witness.

Source: https://c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fiducial.errors import Corrupt, WrongKey
from fiducial.store.checkpoint import (
    COSIGNATURE_V1,
    ID_BYTES,
    SIGNATURE_BYTES,
    Signer,
    decode_key,
    encode_key,
    key_id,
    signature_line,
    split_note,
)

_TIME_BYTES = 8
_MAX_TIME = 2**63 - 1
"""C2SP tlog-cosignature section "Format"."""


class Cosignature(NamedTuple):
    """A cosignature that was verified."""

    witness: WitnessKey
    """Whose it is."""
    at_s: int
    """When it was made: seconds since 1970 UTC, by the witness's clock."""
    line: str
    """As it stands in the note, with its newline."""


class WitnessKey:
    """A witness's public key under its name. Raises `WrongKey` when the text is not one."""

    __slots__ = ("_public", "key_id", "name", "raw", "text")

    def __init__(self, text: str) -> None:
        name, raw = decode_key(text.strip(), COSIGNATURE_V1)
        self.name = name
        """The witness's name."""
        self.raw = raw
        """The key itself, 32 bytes: what makes one witness another than another."""
        self.text = encode_key(name, raw, COSIGNATURE_V1)
        """`name+id+base64`."""
        self.key_id = key_id(name, raw, COSIGNATURE_V1)
        """Four bytes that stand before its signatures."""
        self._public = Ed25519PublicKey.from_public_bytes(raw)

    def find(self, note: str) -> Cosignature | None:
        """The newest cosignature of this witness on `note`; `None` when it has none.

        Raises `Corrupt` when a line by this key does not fit: such a note was tampered with.
        """
        body, signatures = split_note(note)
        found = [
            self._verified(body, raw[ID_BYTES:])
            for name, raw in signatures
            if name == self.name and raw[:ID_BYTES] == self.key_id
        ]
        return max(found, key=lambda each: each.at_s, default=None)

    def _verified(self, body: str, data: bytes) -> Cosignature:
        at_s = int.from_bytes(data[:_TIME_BYTES], "big")
        if len(data) != _TIME_BYTES + SIGNATURE_BYTES or at_s > _MAX_TIME:
            raise Corrupt(f"the cosignature of `{self.name}` is malformed")
        try:
            self._public.verify(data[_TIME_BYTES:], message(body, at_s))
        except InvalidSignature as error:
            raise Corrupt(f"the cosignature of `{self.name}` does not fit the tree head") from error
        return Cosignature(self, at_s, signature_line(self.name, self.key_id, data))


class Cosigner:
    """A witness's private key."""

    __slots__ = ("_signer", "key")

    def __init__(self, signer: Signer) -> None:
        """`signer` must sign nothing but cosignatures."""
        self._signer = signer
        name, raw = signer.verifier.name, signer.verifier.raw
        self.key = WitnessKey(encode_key(name, raw, COSIGNATURE_V1))
        """The public half."""

    def cosign(self, body: str, at_s: int) -> str:
        """The signature line over a checkpoint's text, as of `at_s` seconds since 1970."""
        signature = self._signer.sign(message(body, at_s).decode())
        return signature_line(self.key.name, self.key.key_id, at_s.to_bytes(_TIME_BYTES, "big") + signature)


def message(body: str, at_s: int) -> bytes:
    """What is signed for a checkpoint's text."""
    return f"cosignature/v1\ntime {at_s}\n{body}".encode()


def distinct(keys: Iterable[WitnessKey]) -> list[WitnessKey]:
    """`keys`, when each is another witness. Raises `WrongKey` otherwise: a quorum must not count one twice."""
    found: dict[bytes, WitnessKey] = {}
    for key in keys:
        if key.raw in found:
            raise WrongKey(f"the witness keys `{found[key.raw].text}` and `{key.text}` are one key; give it once")
        found[key.raw] = key
    return list(found.values())


def cosignatures(note: str, witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """The newest cosignature on `note` of each of `witnesses` that has one. Raises `Corrupt` when one does not fit."""
    return [found for witness in distinct(witnesses) if (found := witness.find(note)) is not None]


def demand(note: str, witnesses: Sequence[WitnessKey], quorum: int) -> list[Cosignature]:
    """The cosignatures on `note`. Raises `WrongKey` when they are fewer than `quorum`, `Corrupt` when one is false."""
    found = cosignatures(note, witnesses)
    if len(found) < quorum:
        missing = ", ".join(f"`{key.name}`" for key in witnesses if key not in [each.witness for each in found])
        raise WrongKey(
            f"the checkpoint is cosigned by {len(found)} of {len(witnesses)} witnesses, and {quorum} are asked for; "
            f"missing: {missing}"
        )
    return found
