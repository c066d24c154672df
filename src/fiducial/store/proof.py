"""A proof that an event stands in a log, as a document for somebody who has nothing but the log's public key.

entry       the event, its canonical bytes as text: hash them as they are
index       its place in the log
proof       hashes from its leaf to the root, hexadecimal, lowest first: RFC 9162 section 2.1.3
checkpoint  the signed note that states the root
key         the public key that signed it; compare it with the one that you were given, do not take it from here
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from fiducial.core.event import Event, decode_event
from fiducial.errors import Corrupt
from fiducial.store.bundle import Record
from fiducial.store.checkpoint import Verifier
from fiducial.store.merkle import leaf_hash, verify_inclusion


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document."""

    format: Literal["fiducial/inclusion/v1"] = "fiducial/inclusion/v1"
    entry: str
    index: int
    proof: tuple[str, ...]
    checkpoint: str
    key: str

    @classmethod
    def of(cls, record: Record, path: Sequence[bytes], checkpoint: str, key: Verifier) -> InclusionProof:
        """The document for `record`."""
        return cls(
            entry=record.data.decode(),
            index=record.index,
            proof=tuple(each.hex() for each in path),
            checkpoint=checkpoint,
            key=key.text,
        )

    @classmethod
    def parse(cls, text: str | bytes) -> InclusionProof:
        """The document in `text`, JSON. Raises `Corrupt` when it is not one."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"this is not a proof: {error}") from error

    def to_json(self) -> str:
        """The document as JSON, for people to read too."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    def verify(self, key: Verifier) -> Event:
        """The event, once it is shown to stand in the log of `key`. Raises `WrongKey`, or `Corrupt`."""
        checkpoint = key.open(self.checkpoint)
        try:
            path = [bytes.fromhex(each) for each in self.proof]
        except ValueError as error:
            raise Corrupt("a hash of the proof is not hexadecimal", index=self.index) from error
        data = self.entry.encode()
        verify_inclusion(leaf_hash(data), self.index, checkpoint.size, path, checkpoint.root)
        try:
            return decode_event(data)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt("the entry that the proof is about is not an event", index=self.index) from error
