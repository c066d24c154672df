"""Checkpoints and keys: the text formats, and everything that is not quite one."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.errors import Corrupt, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, note, peek
from fiducial.store.files import replacing, write_atomically
from fiducial.store.keyfile import next_path, read_key, signer_for, write_key

SIGNER = Signer("example.org/log", bytes(range(32)))
CHECKPOINT = Checkpoint("example.org/log", 1027, bytes(range(32)))


def signed(checkpoint: Checkpoint = CHECKPOINT, signer: Signer = SIGNER) -> str:
    return note(checkpoint, signer.verifier, signer.sign(checkpoint.body()))


def test_the_text_is_the_one_that_the_format_defines() -> None:
    # Written out by hand from C2SP tlog-checkpoint and signed-note, for anybody to compare.
    public = base64.b64decode("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
    assert SIGNER.verifier.text.endswith(base64.b64encode(b"\x01" + public).decode())
    key_id = hashlib.sha256(b"example.org/log\n\x01" + public).digest()[:4]
    assert SIGNER.verifier.key_id == key_id
    lines = signed().split("\n")
    assert lines[:4] == ["example.org/log", "1027", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert lines[4].startswith("\u2014 example.org/log ")
    assert base64.b64decode(lines[4].split(" ")[2])[:4] == key_id
    assert lines[5:] == [""]


def test_what_was_signed_opens() -> None:
    assert SIGNER.verifier.open(signed()) == CHECKPOINT == peek(signed())


def test_the_reference_key_of_the_signed_note_format_is_read() -> None:
    # The example key of Go's golang.org/x/mod/sumdb/note, the origin of the format.
    key = Verifier("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert key.name == "PeterNeumann"
    assert key.key_id.hex() == "c74f20a3"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert signature[:4] == key.key_id
    key.verify(text, signature[4:])


def test_every_bit_of_a_note_counts() -> None:
    text = signed()
    data = text.encode()
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises((Corrupt, WrongKey, UnicodeDecodeError)):
                SIGNER.verifier.open(changed.decode())


def test_every_cut_of_a_note_is_refused() -> None:
    text = signed()
    for end in range(len(text)):
        with pytest.raises((Corrupt, WrongKey)):
            SIGNER.verifier.open(text[:end])


@given(st.text(max_size=80))
def test_garbage_is_no_note(text: str) -> None:
    for part in (text, f"{text}\n\n\u2014 a b\n", f"a\n1\n{text}\n\n\u2014 a AAAAAAAA\n"):
        with pytest.raises((Corrupt, WrongKey)):
            SIGNER.verifier.open(part)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "example.org/log\n",
        "example.org/log\n1\n",
        f"example.org/log\n01\n{base64.b64encode(bytes(32)).decode()}\n",
        f"example.org/log\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"example.org/log\n9223372036854775808\n{base64.b64encode(bytes(32)).decode()}\n",
        f"example.org/log\n٣\n{base64.b64encode(bytes(32)).decode()}\n",
        f"example.org/log\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"example.org/log\n1\n{base64.b64encode(bytes(32)).decode().rstrip('=')}\n",
        f"\n1\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_a_malformed_body_is_refused_even_when_it_is_signed(body: str) -> None:
    line = base64.b64encode(SIGNER.verifier.key_id + SIGNER.sign(body)).decode()
    with pytest.raises(Corrupt):
        SIGNER.verifier.open(f"{body}\n\u2014 example.org/log {line}\n")


def test_witnesses_may_sign_too_but_not_instead() -> None:
    other = Signer("witness.example", bytes(32))
    cosignature = base64.b64encode(other.verifier.key_id + other.sign(CHECKPOINT.body())).decode()
    both = signed() + f"\u2014 witness.example {cosignature}\n"
    assert SIGNER.verifier.open(both) == CHECKPOINT
    alone = f"{CHECKPOINT.body()}\n\u2014 witness.example {cosignature}\n"
    with pytest.raises(WrongKey, match="carries no signature"):
        SIGNER.verifier.open(alone)


def test_extension_lines_are_signed_with_the_rest() -> None:
    body = CHECKPOINT.body() + "more to say\n"
    line = base64.b64encode(SIGNER.verifier.key_id + SIGNER.sign(body)).decode()
    assert SIGNER.verifier.open(f"{body}\n\u2014 example.org/log {line}\n") == CHECKPOINT


def test_another_key_or_name_is_the_wrong_key() -> None:
    for other in (Signer("example.org/log", bytes(32)), Signer("example.org/other", bytes(range(32)))):
        with pytest.raises(WrongKey):
            other.verifier.open(signed())
    # The right key under a note about another log.
    renamed = Checkpoint("example.org/other", 1, bytes(32))
    with pytest.raises(WrongKey):
        SIGNER.verifier.open(note(renamed, SIGNER.verifier, SIGNER.sign(renamed.body())))


def test_a_signature_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(Corrupt, match="bytes long"):
        SIGNER.verifier.verify("x", b"short")
    short = base64.b64encode(SIGNER.verifier.key_id + b"short").decode()
    with pytest.raises(Corrupt, match="bytes long"):
        SIGNER.verifier.open(f"{CHECKPOINT.body()}\n\u2014 example.org/log {short}\n")


def test_keys_come_back_from_their_text() -> None:
    assert Verifier(f" {SIGNER.verifier.text}\n").text == SIGNER.verifier.text
    assert Signer.parse(SIGNER.secret() + "\n").verifier.text == SIGNER.verifier.text


def test_what_is_no_key_is_refused_and_never_repeated() -> None:
    text, secret = SIGNER.verifier.text, SIGNER.secret()
    name, _, data = text.split("+", 2)
    for wrong in (
        "", "x", "a+b+c", secret, text[:-4], text[:-1] + "A", text.replace("example", "exampel"),
        f"{name}+00000000+{data}", "a b+" + text.split("+", 1)[1],
    ):  # fmt: skip
        with pytest.raises(WrongKey):
            Verifier(wrong)
    for wrong in ("", text, secret[:-4], secret.replace("example", "exampel"), secret[:-2] + "A="):
        with pytest.raises(WrongKey) as caught:
            Signer.parse(wrong)
        assert secret[-20:] not in str(caught.value)
    assert secret[-20:] not in repr(SIGNER)
    for name in ("", "a b", "a+b", "a\nb", "a\x7f"):
        with pytest.raises(ValueError, match="cannot name a log"):
            Signer(name, bytes(32))


def test_only_the_owner_reads_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    old = os.umask(0)
    try:
        write_key(path, SIGNER)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path).verifier.text == SIGNER.verifier.text
    path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        read_key(path)
    path.unlink()
    with pytest.raises(WrongKey, match="is missing"):
        read_key(path)
    path.write_bytes(b"\xff")
    with pytest.raises(WrongKey, match="cannot be read"):
        read_key(path)


def test_an_interrupted_rotation_is_finished(tmp_path: Path) -> None:
    path, following = tmp_path / "log.key", Signer.generate("example.org/log")
    write_key(path, SIGNER)
    write_key(next_path(path), following)
    # Not yet recorded in the log: the old key still holds, and the next one stays where it is.
    assert signer_for(path, SIGNER.verifier.text).verifier.text == SIGNER.verifier.text
    assert next_path(path).exists()
    assert signer_for(path, following.verifier.text).verifier.text == following.verifier.text
    assert not next_path(path).exists()
    assert read_key(path).verifier.text == following.verifier.text


def test_files_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old", mode=0o644)

    def fail() -> None:
        with replacing(path, mode=0o644) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
