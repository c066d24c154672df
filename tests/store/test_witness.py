"""The witness: the bytes it signs, every answer, what it must never sign, over real HTTP and killed at any moment."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fiducial.core.clock import ManualClock
from fiducial.errors import Corrupt, RolledBack, StoreClosed, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, note, signature_line
from fiducial.store.merkle import EMPTY_ROOT, Subtrees, consistency_proof, leaf_hash
from fiducial.store.published import witness as witness_module
from fiducial.store.published.client import ask
from fiducial.store.published.cosign import Cosigner, WitnessKey, cosignatures, demand, distinct
from fiducial.store.published.service import application
from fiducial.store.published.submission import SIZE_TYPE, Submission, parse
from fiducial.store.published.witness import Answer, Witness

LOG = Signer("example.com/behind-the-sofa", bytes(range(32)))
OTHER = Signer("example.com/other", bytes(range(1, 33)))


class Tree:
    """Leaves, and what a log says about the first of them."""

    def __init__(self, leaves: list[str], signer: Signer = LOG) -> None:
        self.hashes = [leaf_hash(leaf.encode()) for leaf in leaves]
        self.signer = signer

    def subtrees(self) -> Subtrees:
        def stored(level: int, start: int, stop: int) -> list[bytes]:
            assert level == 0
            return self.hashes[start:stop]

        return Subtrees(stored, len(self.hashes))

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(self.signer.verifier.name, size, self.subtrees().span(0, size))

    def note(self, size: int) -> str:
        head = self.head(size)
        return note(head, self.signer.verifier, self.signer.sign(head.body()))

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(consistency_proof(self.subtrees(), old, size)) if 0 < old < size else ()

    def request(self, old: int, size: int) -> bytes:
        return Submission(old, self.proof(old, size), self.note(size)).encode()


TREE = Tree([f"leaf {n}" for n in range(200)])
FORK = Tree([f"leaf {n}" for n in range(50)] + [f"other {n}" for n in range(150)])


@pytest.fixture
def witness(tmp_path: Path, clock: ManualClock) -> Iterator[Witness]:
    with Witness(tmp_path / "witness.db", [LOG.verifier], name="witness.example/w1", clock=clock) as made:
        yield made


# What is signed


def test_a_cosignature_is_the_one_that_the_specification_defines() -> None:
    # Written out by hand from C2SP tlog-cosignature and signed-note, for anybody to compare.
    signer = Signer("witness.example/w1", bytes(range(32)))
    public = base64.b64decode("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
    key = Cosigner(signer).key
    identity = hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    encoded = base64.b64encode(b"\x04" + public).decode()
    assert key.text == f"witness.example/w1+{identity.hex()}+{encoded}"
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = Cosigner(signer).cosign(body, 1679315147)
    dash, name, data = line.removesuffix("\n").split(" ")
    raw = base64.b64decode(data)
    assert (dash, name, raw[:4], raw[4:12]) == ("\u2014", "witness.example/w1", identity, (1679315147).to_bytes(8))
    signed = b"cosignature/v1\ntime 1679315147\n" + body.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], signed)


def test_the_example_of_the_specification_is_read() -> None:
    # Its keys are not published, so only its shape can be checked: name, key id, time.
    text = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo"
        "+zyWE+xeMcTOAYQ8=\n"
        "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5"
        "nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    assert cosignatures(text, [Cosigner(Signer.generate("witness.example.com/w1")).key]) == []
    request = (
        "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
        "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n" + text
    )
    submission = parse(request.encode())
    assert (submission.old, len(submission.proof), submission.note) == (20852014, 4, text)
    assert submission.encode() == request.encode()


def test_a_log_and_a_witness_cannot_be_taken_for_each_other() -> None:
    cosigner = Cosigner(LOG)
    with pytest.raises(WrongKey, match="that is the key of a witness"):
        Verifier(cosigner.key.text)
    with pytest.raises(WrongKey, match="that is the key of a log"):
        WitnessKey(LOG.verifier.text)


def test_a_quorum_counts_witnesses_and_not_names() -> None:
    one, two = (Cosigner(Signer(f"witness.example/{n}", bytes([n]) * 32)) for n in (1, 2))
    alias = Cosigner(Signer("witness.example/alias", bytes([1]) * 32))
    text = TREE.note(7)
    body = TREE.head(7).body()
    text += one.cosign(body, 10) + one.cosign(body, 20) + alias.cosign(body, 30)
    (found,) = cosignatures(text, [one.key, two.key])
    assert (found.witness, found.at_s) == (one.key, 20)
    assert demand(text, [one.key, two.key], 1) == [found]
    with pytest.raises(WrongKey, match=r"by 1 of 2 witnesses, and 2 are asked for; missing: `witness\.example/2`"):
        demand(text, [one.key, two.key], 2)
    with pytest.raises(WrongKey, match="are one key"):
        demand(text, [one.key, alias.key], 2)
    with pytest.raises(WrongKey, match="are one key"):
        distinct([one.key, one.key])


def test_a_false_cosignature_is_refused_and_an_unknown_one_is_not() -> None:
    one, two = (Cosigner(Signer(f"witness.example/{n}", bytes([n]) * 32)) for n in (1, 2))
    line = one.cosign(TREE.head(7).body(), 10)
    assert cosignatures(TREE.note(7) + line, [two.key]) == []
    with pytest.raises(Corrupt, match="does not fit"):
        cosignatures(TREE.note(8) + line, [one.key])
    with pytest.raises(Corrupt, match="malformed"):
        cosignatures(TREE.note(7) + signature_line(one.key.name, one.key.key_id, bytes(71)), [one.key])
    late = signature_line(one.key.name, one.key.key_id, (2**63).to_bytes(8) + bytes(64))
    with pytest.raises(Corrupt, match="malformed"):
        cosignatures(TREE.note(7) + late, [one.key])


# What is sent


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.text(st.characters(codec="utf-8"), max_size=50),
)
def test_a_submission_comes_back_as_it_was(old: int, proof: list[bytes], text: str) -> None:
    submission = Submission(old, tuple(proof), text)
    assert parse(submission.encode()) == submission


@given(st.binary(max_size=200))
def test_garbage_is_no_submission(data: bytes) -> None:
    for part in (data, b"old " + data, b"old 1\n" + data):
        try:
            submission = parse(part)
        except Corrupt:
            continue
        assert submission.encode() == part


@pytest.mark.parametrize("head", ["old 01", "old -1", "old +1", "old  1", "old 1 ", "old", "Old 1", "old 1\r", "old ١"])
def test_an_old_size_has_one_form(head: str) -> None:
    with pytest.raises(Corrupt):
        parse(f"{head}\n\n{TREE.note(7)}".encode())


# What is answered: C2SP tlog-witness section "add-checkpoint", in its order


def test_the_answers_are_those_of_the_specification(witness: Witness, clock: ManualClock) -> None:
    add = witness.add_checkpoint
    assert add(b"old 0\n").status == 400
    assert add(b"old 0\n\nno checkpoint").status == 400
    assert add(Submission(0, (bytes(32),) * 64, TREE.note(7)).encode()).status == 400
    assert add(Tree(["a"], OTHER).request(0, 1)).status == 404
    forged = Tree(["a"], Signer(LOG.verifier.name, bytes(32)))
    assert add(forged.request(0, 1)).status == 403
    assert add(Submission(8, (), TREE.note(7)).encode()).status == 400
    assert add(TREE.request(5, 7)) == Answer(409, "0\n", SIZE_TYPE)
    assert add(Submission(0, (bytes(32),), TREE.note(7)).encode()).status == 422

    answer = add(TREE.request(0, 7))
    assert answer.status == 200
    (found,) = cosignatures(TREE.note(7) + answer.text, [witness.key])
    assert found.at_s == clock.unix_us() // 1_000_000
    assert answer.text == found.line

    assert add(TREE.request(0, 20)) == Answer(409, "7\n", SIZE_TYPE)
    assert add(TREE.request(6, 20)) == Answer(409, "7\n", SIZE_TYPE)
    assert add(Submission(7, TREE.proof(6, 20), TREE.note(20)).encode()).status == 422
    assert add(Submission(7, (), TREE.note(20)).encode()).status == 422
    assert add(Submission(7, (bytes(32),), TREE.note(7)).encode()).status == 422
    # The same tree again gets a cosignature of a later time; another of that size gets neither that nor a size.
    clock.advance(timedelta(seconds=5))
    (later,) = cosignatures(TREE.note(7) + add(TREE.request(7, 7)).text, [witness.key])
    assert later.at_s == found.at_s + 5
    other = add(Tree([f"other {n}" for n in range(7)]).request(7, 7))
    assert (other.status, other.content_type) == (409, "text/plain; charset=utf-8")
    assert add(TREE.request(7, 120)).status == 200
    assert add(FORK.request(120, 150)).status == 422
    assert add(TREE.request(120, 150)).status == 200


def test_a_signature_that_is_false_spoils_one_that_is_not(tmp_path: Path) -> None:
    rotated = Signer(LOG.verifier.name, bytes(range(2, 34)))
    with Witness(tmp_path / "w.db", [LOG.verifier, rotated.verifier]) as witness:
        body = TREE.head(7).body()
        both = TREE.note(7) + signature_line(LOG.verifier.name, rotated.verifier.key_id, rotated.sign(body))
        false = TREE.note(7) + signature_line(LOG.verifier.name, rotated.verifier.key_id, bytes(64))
        unknown = TREE.note(7) + signature_line(LOG.verifier.name, b"\0\0\0\0", bytes(64))
        assert witness.add_checkpoint(Submission(0, (), false).encode()).status == 403
        assert witness.add_checkpoint(Submission(0, (), unknown).encode()).status == 200
        assert witness.add_checkpoint(Submission(7, (), both).encode()).status == 200


def test_a_checkpoint_with_extension_lines_is_cosigned_whole(witness: Witness) -> None:
    body = TREE.head(7).body() + "an extension\n"
    text = f"{body}\n{signature_line(LOG.verifier.name, LOG.verifier.key_id, LOG.sign(body))}"
    answer = witness.add_checkpoint(Submission(0, (), text).encode())
    assert len(cosignatures(text + answer.text, [witness.key])) == 1


def test_the_empty_tree_has_one_root(witness: Witness) -> None:
    for root, status in ((bytes(32), 409), (EMPTY_ROOT, 200)):
        head = Checkpoint(LOG.verifier.name, 0, root)
        text = note(head, LOG.verifier, LOG.sign(head.body()))
        assert witness.add_checkpoint(Submission(0, (), text).encode()).status == status
    assert witness.add_checkpoint(TREE.request(0, 7)).status == 200


def test_logs_do_not_disturb_each_other(tmp_path: Path) -> None:
    with Witness(tmp_path / "w.db", [LOG.verifier, OTHER.verifier]) as witness:
        assert witness.add_checkpoint(TREE.request(0, 7)).status == 200
        assert witness.add_checkpoint(Tree(["a", "b"], OTHER).request(0, 1)).status == 200
        assert witness.add_checkpoint(TREE.request(7, 9)).status == 200


# What must never be forgotten


class WitnessMachine(RuleBasedStateMachine):
    """Two histories of one log, any request, any restart: what was cosigned is always one history."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.signed: list[tuple[int, bytes]] = []

    @initialize(part=st.integers(0, 40))
    def start(self, part: int) -> None:
        shared = [f"leaf {n}" for n in range(part)]
        self.trees = [Tree(shared + [f"{name} {n}" for n in range(60 - part)]) for name in "ab"]
        self.witness = Witness(self.directory / "w.db", [LOG.verifier])
        self.key = self.witness.key

    @rule(which=st.integers(0, 1), old=st.integers(0, 60), size=st.integers(0, 60))
    def submit(self, which: int, old: int, size: int) -> None:
        self._submit(which, old, size, self.trees[which].proof(old, size))

    @rule(which=st.integers(0, 1))
    def submit_what_it_has_seen(self, which: int) -> None:
        last = self.signed[-1][0] if self.signed else 0
        self._submit(which, last, last, ())

    @rule(which=st.integers(0, 1), size=st.integers(0, 60), steps=st.integers(0, 1))
    def submit_from_what_it_has_seen(self, which: int, size: int, steps: int) -> None:
        last = self.signed[-1][0] if self.signed else 0
        self._submit(which, last, size, self.trees[(which + steps) % 2].proof(last, size))

    @rule(
        which=st.integers(0, 1),
        size=st.integers(0, 60),
        proof=st.lists(st.sampled_from(["random", "leaf"]), max_size=7),
    )
    def submit_garbage(self, which: int, size: int, proof: list[str]) -> None:
        last = self.signed[-1][0] if self.signed else 0
        hashes = [os.urandom(32) if kind == "random" else self.trees[which].hashes[0] for kind in proof]
        self._submit(which, last, size, tuple(hashes))

    @rule()
    def restart(self) -> None:
        self.witness.close()
        self.witness = Witness(self.directory / "w.db", [LOG.verifier])
        assert self.witness.key.text == self.key.text

    def _submit(self, which: int, old: int, size: int, proof: tuple[bytes, ...]) -> None:
        tree = self.trees[which]
        answer = self.witness.add_checkpoint(Submission(old, proof, tree.note(size)).encode())
        last = self.signed[-1][0] if self.signed else 0
        assert answer.status in (200, 400, 409, 422)
        assert (answer.status == 400) == (old > size)
        if answer.content_type == SIZE_TYPE:
            assert answer.text == f"{last}\n"
            assert old != last
        if answer.status == 200:
            assert len(cosignatures(tree.note(size) + answer.text, [self.key])) == 1
            self.signed.append((size, tree.head(size).root))
        elif old == last <= size and proof == tree.proof(old, size):
            # Refused though the proof is the right one: then what was signed is of the other history.
            assert tree.head(last).root != (self.signed[-1][1] if self.signed else EMPTY_ROOT)

    @invariant()
    def what_was_signed_is_one_history(self) -> None:
        sizes = [size for size, _ in self.signed]
        assert sizes == sorted(sizes)
        assert not self.signed or any(
            all(tree.head(size).root == root for size, root in self.signed) for tree in self.trees
        )

    def teardown(self) -> None:
        if hasattr(self, "witness"):
            self.witness.close()
        for path in self.directory.iterdir():
            path.unlink()
        self.directory.rmdir()


TestWitnessMachine = WitnessMachine.TestCase
TestWitnessMachine.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=25, deadline=None)


def test_of_many_at_once_only_one_history_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes' worth of witnesses on one state, both histories at once, from the same size."""
    judge = witness_module._judge

    def slowly(*arguments: Any) -> Answer | None:
        time.sleep(0.002)
        return judge(*arguments)

    monkeypatch.setattr(witness_module, "_judge", slowly)
    witnesses = [Witness(tmp_path / "w.db", [LOG.verifier]) for _ in range(2)]
    assert witnesses[0].key.text == witnesses[1].key.text
    assert witnesses[0].add_checkpoint(TREE.request(0, 50)).status == 200
    draw = random.Random(3)
    tries = [(witnesses[n % 2], tree, size) for n in range(8) for tree in (TREE, FORK) for size in range(51, 55)]
    draw.shuffle(tries)

    def one(each: tuple[Witness, Tree, int]) -> tuple[Tree, int, int]:
        witness, tree, size = each
        return tree, size, witness.add_checkpoint(tree.request(50, size)).status

    with ThreadPoolExecutor(8) as pool:
        done = [(tree, size) for tree, size, status in pool.map(one, tries) if status == 200]
    assert len(done) == 1
    for witness in witnesses:
        witness.close()


def test_nothing_is_signed_that_could_not_be_kept(tmp_path: Path) -> None:
    with Witness(tmp_path / "w.db", [LOG.verifier]) as witness:
        assert witness.add_checkpoint(TREE.request(0, 5)).status == 200
        with closing(sqlite3.connect(tmp_path / "w.db")) as other:
            other.execute("CREATE TRIGGER full BEFORE UPDATE ON seen BEGIN SELECT RAISE(FAIL, 'disk full'); END")
            other.commit()
            with pytest.raises(StoreError, match="disk full"):
                witness.add_checkpoint(TREE.request(5, 7))
            other.execute("DROP TRIGGER full")
            other.commit()
        assert witness.add_checkpoint(TREE.request(7, 9)) == Answer(409, "5\n", SIZE_TYPE)
    with pytest.raises(StoreClosed):
        witness.add_checkpoint(TREE.request(5, 7))


def test_a_state_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(b"")
    path.chmod(0o600)
    with pytest.raises(StoreError, match="cannot be used"):
        Witness(path, [LOG.verifier])
    path.write_bytes(os.urandom(5000))
    with pytest.raises(StoreError, match="cannot be used"):
        Witness(path, [LOG.verifier])
    path.unlink()
    with Witness(path, [LOG.verifier], name="witness.example/w1"):
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(WrongKey, match=r"is named `witness\.example/w1`"):
        Witness(path, [LOG.verifier], name="witness.example/w2")
    path.chmod(0o640)
    with pytest.raises(StoreError, match="may be read by others"):
        Witness(path, [LOG.verifier])
    with pytest.raises(StoreError, match="cannot be used"):
        Witness(tmp_path / "missing" / "w.db", [LOG.verifier])
    assert [each.name for each in tmp_path.iterdir()] == ["w.db"]


# Over HTTP


@contextmanager
def listening(witness: Witness) -> Iterator[str]:
    """A real server on a port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(witness), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def post(url: str, data: bytes, path: str = "/add-checkpoint") -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url + path, data) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers["content-type"], refused.read().decode()


def test_the_answers_go_over_the_wire_as_they_are(witness: Witness) -> None:
    with listening(witness) as url:
        assert post(url, TREE.request(3, 7)) == (409, "text/x.tlog.size", "0\n")
        status, content_type, text = post(url, TREE.request(0, 7))
        assert (status, content_type) == (200, "text/plain; charset=utf-8")
        assert len(cosignatures(TREE.note(7) + text, [witness.key])) == 1
        assert post(url, b"nonsense")[0] == 400
        assert post(url, bytes(200_000))[0] == 413
        assert post(url, b"", "/other")[0] == 404
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/add-checkpoint")
        refused.value.close()
        assert refused.value.code == 405
        witness.close()
        assert post(url, TREE.request(7, 9)) == (
            500,
            "text/plain; charset=utf-8",
            "the witness's state cannot be used; nothing was signed\n",
        )


def test_a_log_asks_from_any_guess(witness: Witness) -> None:
    with listening(witness) as url:
        for size, seen in ((5, 0), (9, 0), (40, 9), (41, 200), (41, 3)):
            (found,) = ask(f"{url}/", TREE.note(size), partial(TREE.proof, size=size), [witness.key], seen=seen)
            assert found.witness == witness.key
            demand(TREE.note(size) + found.line, [witness.key], 1)


def test_a_witness_that_has_seen_another_history_is_heard(witness: Witness) -> None:
    with listening(witness) as url:
        ask(url, TREE.note(60), partial(TREE.proof, size=60), [witness.key])
        with pytest.raises(RolledBack, match="has seen 60 entries of this log, which has 55"):
            ask(url, TREE.note(55), partial(TREE.proof, size=55), [witness.key])
        for size in (60, 70):
            with pytest.raises(RolledBack, match="a tree of 60 entries that this log does not extend"):
                ask(url, FORK.note(size), partial(FORK.proof, size=size), [witness.key])


def test_an_answer_that_proves_nothing_is_an_error(witness: Witness, tmp_path: Path) -> None:
    stranger = Cosigner(Signer.generate("witness.example/stranger")).key

    def asking(url: str, text: str = TREE.note(5)) -> None:
        ask(url, text, partial(TREE.proof, size=5), [stranger])

    with listening(witness) as url:
        with pytest.raises(StoreError, match="signs with none of the given keys"):
            asking(url)
        with pytest.raises(StoreError, match="answers 404: this witness does not know that log"):
            asking(url, Tree(["a"], OTHER).note(1))
        with pytest.raises(StoreError, match="answers 404"):
            asking(f"{url}/elsewhere")
    with pytest.raises(StoreError, match="does not answer"):
        asking(url)
    for wrong in ("ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1:80", ""):
        with pytest.raises(StoreError, match="is not the address of a witness"):
            asking(wrong)


@pytest.mark.parametrize(
    "answer",
    [
        # Followed, it would say that nobody answers there.
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 9_999_999,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot a line",
        b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n01",
        b"\x00garbage\r\n\r\n",
        b"",
    ],
)
def test_a_witness_that_talks_nonsense_is_an_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(StoreError, match="answers 302" if b"302" in answer else "the witness at"):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", TREE.note(5), lambda _: (), [Cosigner(LOG).key])
        thread.join()


SERVER = """
import functools, pathlib, sys
from fiducial.store.checkpoint import Verifier
from fiducial.store.published.service import serve
from fiducial.store.published.witness import Witness
witness = Witness(pathlib.Path(sys.argv[1]), [Verifier(sys.argv[2])])
print(witness.key.text, flush=True)
serve(witness, "127.0.0.1", 0, functools.partial(print, flush=True))
"""


def test_a_witness_that_is_killed_has_forgotten_nothing(tmp_path: Path) -> None:
    """SIGKILL while checkpoints are submitted: what was answered, and no fork of it, is what it goes on from."""
    draw = random.Random(11)
    command = [sys.executable, "-c", SERVER, str(tmp_path / "w.db"), LOG.verifier.text]
    answered = asked = 0
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            key = WitnessKey(process.stdout.readline())
            url = process.stdout.readline().strip()
            status, content_type, text = post(url, TREE.request(200, 200))
            assert (status, content_type) == (409, SIZE_TYPE)
            # The last one may have been kept and its answer lost; none that was answered is missing.
            seen = int(text)
            assert seen in (answered, asked)
            if seen > 50:
                assert post(url, FORK.request(seen, seen + 5))[0] == 422
            threading.Timer(draw.uniform(0.02, 0.25), process.send_signal, [signal.SIGKILL]).start()
            answered = seen
            try:
                while True:
                    asked = max(51, answered + 1)
                    assert asked < 195, "it was not killed in time"
                    status, _, text = post(url, TREE.request(answered, asked))
                    assert status == 200
                    assert len(cosignatures(TREE.note(asked) + text, [key])) == 1
                    answered = asked
                    time.sleep(0.003)
            except (OSError, http.client.HTTPException):
                pass
    assert answered > 51
