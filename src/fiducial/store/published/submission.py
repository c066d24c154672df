"""What a log sends to a witness: a checkpoint, and the proof that it extends the one that the witness has seen.

    old 20852014                                    size of the tree that the witness cosigned last
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=    consistency proof, a hash a line; none from size 0
                                                    (an empty line)
    example.com/behind-the-sofa                     the checkpoint, a signed note
    …

Source: https://c2sp.org/tlog-witness section "add-checkpoint".
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from fiducial.errors import Corrupt
from fiducial.store.merkle import HASH_BYTES, MAX_LEVELS

PATH = "/add-checkpoint"
"""Under a witness's prefix."""
SIZE_TYPE = "text/x.tlog.size"
"""Content type of an answer that says which size the witness has seen."""
MAX_BYTES = 128 * 1024
"""Of a submission or an answer: a proof is under 3 KB, and this leaves room for hundreds of signatures."""
_MAX_PROOF = 63
"""Hashes: C2SP tlog-witness section "add-checkpoint"."""
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Submission(NamedTuple):
    """The body of an `add-checkpoint` request."""

    old: int
    """Entries of the tree that the witness cosigned last, as far as the log knows."""
    proof: tuple[bytes, ...]
    """That this tree is a prefix of the checkpoint's: RFC 6962 section 2.1.2."""
    note: str
    """The checkpoint."""

    def encode(self) -> bytes:
        """As it is sent."""
        lines = [f"old {self.old}\n", *(base64.b64encode(each).decode() + "\n" for each in self.proof), "\n", self.note]
        return "".join(lines).encode()


def parse(data: bytes) -> Submission:
    """What `encode` wrote. Raises `Corrupt` for anything else; the note is left as it is."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Corrupt("the request is not UTF-8") from error
    head, gap, note = text.partition("\n\n")
    first, *proof = head.split("\n")
    word, _, old = first.partition(" ")
    if not gap or word != "old":
        raise Corrupt("the request does not begin with an `old` line and end with a checkpoint")
    if len(proof) > _MAX_PROOF:
        raise Corrupt(f"the request has {len(proof)} proof lines, more than {_MAX_PROOF}")
    return Submission(parse_size(old), tuple(_hash(line) for line in proof), note)


def parse_size(text: str) -> int:
    """A tree's size in decimal, without leading zeros. Raises `Corrupt`."""
    if not _SIZE.fullmatch(text) or int(text).bit_length() > MAX_LEVELS:
        raise Corrupt("a size is not a number of entries")
    return int(text)


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Corrupt("a proof line is not base64") from error
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode() != line:
        raise Corrupt("a proof line is not a hash")
    return raw
