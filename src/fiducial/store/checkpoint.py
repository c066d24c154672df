"""Checkpoints: signed statements of how large the log is and what its root is.

A checkpoint is the text of C2SP `tlog-checkpoint`, three lines, signed as C2SP `signed-note` with Ed25519:

    example.org/log                                    origin: the log's name
    1027                                               size: entries in the tree
    qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=       root hash, base64
                                                       (an empty line)
    — example.org/log Az3grl…                          base64 of key id (4 bytes) ‖ signature (64 bytes)

The body that is signed is the three lines with their newlines. Whoever keeps a checkpoint can hold the log to it: a
later log has to contain it as a prefix. Signatures of other names or keys (witnesses) may follow and are passed over;
at least one line has to be by the key that is asked for. Public keys are written `name+id+base64`, private ones
`PRIVATE+KEY+name+id+base64`, as every tool for signed notes reads and writes them.

Sources: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fiducial.errors import Corrupt, WrongKey
from fiducial.store.merkle import HASH_BYTES, MAX_LEVELS

ED25519 = b"\x01"
"""Ed25519 over the note's text: C2SP signed-note section "Signature types"."""
COSIGNATURE_V1 = b"\x04"
"""Ed25519 with a time, by a witness: C2SP signed-note section "Signature types"."""
_MEANT = {ED25519: "log", COSIGNATURE_V1: "witness"}
ID_BYTES = 4
"""Of a key's id."""
_KEY_BYTES = 32
SIGNATURE_BYTES = 64
"""Ed25519: RFC 8032 section 5.1.6."""
_DASH = "\u2014"
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]*")
_PRIVATE = "PRIVATE+KEY+"
_MAX_NOTE = 1_000_000
"""Characters. C2SP signed-note lets a parser bound its input; a checkpoint with hundreds of witnesses is 100 times
smaller."""


class Checkpoint(NamedTuple):
    """What a checkpoint says."""

    origin: str
    """The log's name."""
    size: int
    """Entries in the tree."""
    root: bytes
    """Root hash of those entries."""

    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Verifier:
    """A public key under a name. Raises `WrongKey` when the text is not one."""

    __slots__ = ("_public", "key_id", "name", "raw", "text")

    def __init__(self, text: str) -> None:
        name, raw = decode_key(text.strip(), ED25519)
        self.name = name
        """The log's origin."""
        self.raw = raw
        """The key itself, 32 bytes."""
        self.text = encode_key(name, raw, ED25519)
        """`name+id+base64`."""
        self.key_id = key_id(name, raw, ED25519)
        """First four bytes of the hash of name and key."""
        self._public = Ed25519PublicKey.from_public_bytes(raw)

    def verify(self, body: str, signature: bytes) -> None:
        """Raises `Corrupt` unless `signature` (64 bytes) is this key's over `body`."""
        if len(signature) != SIGNATURE_BYTES:
            raise Corrupt(f"a signature is {len(signature)} bytes long, not {SIGNATURE_BYTES}")
        try:
            self._public.verify(signature, body.encode())
        except InvalidSignature as error:
            raise Corrupt("the signature does not fit the tree head; the log or its head was changed") from error

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in `note`.

        Raises `WrongKey` when no line of it is by this key, and `Corrupt` when it is malformed or a signature by
        this key does not fit.
        """
        body, signatures = split_note(note)
        checkpoint = _parse_body(body)
        mine = [raw[ID_BYTES:] for name, raw in signatures if name == self.name and raw[:ID_BYTES] == self.key_id]
        if checkpoint.origin != self.name or not mine:
            raise WrongKey(
                f"the checkpoint of `{checkpoint.origin}` carries no signature by `{self.text}`; "
                "give the key that the log was made with"
            )
        for signature in mine:
            self.verify(body, signature)
        return checkpoint


class Signer:
    """A private key under a name."""

    __slots__ = ("_private", "_raw", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """`seed` is 32 random bytes. Raises `ValueError` when `name` cannot stand in a signed note."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"`{name}` cannot name a log; use no spaces, no `+` and no control characters")
        self._raw = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(encode_key(name, self._private.public_key().public_bytes_raw(), ED25519))
        """The public half."""

    @classmethod
    def generate(cls, name: str) -> Signer:
        """A fresh key."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Signer:
        """The key that `secret()` wrote. Raises `WrongKey` when the text is not one; never repeats it."""
        text = text.strip()
        if not text.startswith(_PRIVATE):
            raise WrongKey("the file holds no private key; it has to begin with `PRIVATE+KEY+`")
        name, rest = _key_parts(text[len(_PRIVATE) :])
        if len(rest) != len(ED25519) + _KEY_BYTES or rest[:1] != ED25519:
            raise WrongKey("the private key is damaged; restore its file from a backup")
        signer = cls(name, rest[1:])
        if not text.startswith(f"{_PRIVATE}{name}+{signer.verifier.key_id.hex()}+"):
            raise WrongKey("the private key is damaged: its id does not fit; restore its file from a backup")
        return signer

    def secret(self) -> str:
        """`PRIVATE+KEY+name+id+base64`: for the key file and nothing else."""
        data = base64.b64encode(ED25519 + self._raw).decode()
        return f"{_PRIVATE}{self.verifier.name}+{self.verifier.key_id.hex()}+{data}"

    def sign(self, body: str) -> bytes:
        """64 bytes of signature over `body`."""
        return self._private.sign(body.encode())

    def __repr__(self) -> str:
        return f"Signer({self.verifier.text!r})"


def note(checkpoint: Checkpoint, verifier: Verifier, signature: bytes) -> str:
    """The signed note of a checkpoint whose body was signed by the key of `verifier`."""
    return f"{checkpoint.body()}\n{signature_line(verifier.name, verifier.key_id, signature)}"


def signature_line(name: str, key: bytes, signature: bytes) -> str:
    """The line of a signed note, with its newline, that holds `signature` by the key whose id is `key`."""
    return f"{_DASH} {name} {base64.b64encode(key + signature).decode()}\n"


def peek(text: str) -> Checkpoint:
    """What a signed note says, unverified: for messages and for finding the key. Raises `Corrupt` when malformed."""
    return _parse_body(split_note(text)[0])


def split_note(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text that was signed, and each signature: its name, and key id (4 bytes) with what follows it.

    Raises `Corrupt` when the note is malformed. Nothing is verified.
    """
    body, gap, tail = text.rpartition("\n\n")
    if len(text) > _MAX_NOTE or not gap or not tail.endswith("\n"):
        raise Corrupt("the checkpoint is cut short, or is not a signed note")
    if _CONTROL.search(text):
        raise Corrupt("the checkpoint has a control character in it")
    signatures = []
    for line in tail[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, data = rest.partition(" ")
        if dash != _DASH or not _NAME.fullmatch(name):
            raise Corrupt("a signature line of the checkpoint is malformed")
        raw = _base64(data)
        if raw is None or len(raw) <= ID_BYTES:
            raise Corrupt("a signature line of the checkpoint is malformed")
        signatures.append((name, raw))
    return body + "\n", signatures


def _parse_body(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise Corrupt("the checkpoint has too few lines")
    origin, size, root = lines[0], lines[1], _base64(lines[2])
    if not _SIZE.fullmatch(size) or len(size) > 19 or int(size).bit_length() > MAX_LEVELS:
        raise Corrupt("the checkpoint's size is not a number of entries")
    if root is None or len(root) != HASH_BYTES:
        raise Corrupt("the checkpoint's root hash is malformed")
    if any(not line for line in lines[3:-1]):
        raise Corrupt("the checkpoint has an empty line inside it")
    return Checkpoint(origin, int(size), root)


def _base64(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def key_id(name: str, raw: bytes, algorithm: bytes) -> bytes:
    """Four bytes that name the key `raw` (32 bytes) of `algorithm`: C2SP signed-note section "Signatures"."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + raw).digest()[:ID_BYTES]


def encode_key(name: str, raw: bytes, algorithm: bytes) -> str:
    """`name+id+base64` of the public key `raw` (32 bytes)."""
    return f"{name}+{key_id(name, raw, algorithm).hex()}+{base64.b64encode(algorithm + raw).decode()}"


def _key_parts(text: str) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    stated, _, data = rest.partition("+")
    raw = _base64(data)
    if not _NAME.fullmatch(name) or len(stated) != 2 * ID_BYTES or raw is None:
        raise WrongKey("that is not a key; it has the form `name+id+base64`")
    return name, raw


def decode_key(text: str, algorithm: bytes) -> tuple[str, bytes]:
    """Name and 32 bytes of the public key that `encode_key` wrote. Raises `WrongKey` for anything else."""
    if text.startswith(_PRIVATE):
        raise WrongKey("that is a private key; give the public one, and keep the private one to its file")
    name, raw = _key_parts(text)
    if len(raw) == 1 + _KEY_BYTES and raw[:1] in _MEANT and raw[:1] != algorithm:
        raise WrongKey(f"that is the key of a {_MEANT[raw[:1]]}; give the one of the {_MEANT[algorithm]}")
    if len(raw) != 1 + _KEY_BYTES or raw[:1] != algorithm:
        raise WrongKey("the key is not an Ed25519 one; it has the form `name+id+base64`")
    if not text.startswith(f"{name}+{key_id(name, raw[1:], algorithm).hex()}+"):
        raise WrongKey("the key's id does not fit its name and bytes; copy it again, whole")
    return name, raw[1:]
