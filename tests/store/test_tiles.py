"""The published log: its files against RFC 6962 written out, every crash, every fork, and every bit that is flipped."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiducial.core.clock import ManualClock
from fiducial.core.event import MAX_ENVELOPE, Entry, MessageObserved
from fiducial.core.ids import EventId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.errors import Corrupt, RolledBack, StoreError, WrongKey
from fiducial.store.checkpoint import Signer, Verifier
from fiducial.store.ledger import Ledger
from fiducial.store.memory import MemoryStore
from fiducial.store.published.audit import audit
from fiducial.store.published.objects import Folder, TileHashes, read_hashes
from fiducial.store.published.publish import Publication, publish
from fiducial.store.published.tiles import MAX_ENTRY, Tile, decode_entries, encode_entries, tiles_of
from fiducial.store.sqlite import SqliteStore

# The oracle: RFC 6962 section 2.1 and C2SP tlog-tiles, word for word and as slow as that is.


def mth(entries: list[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def oracle_path(n: int) -> str:
    digits = str(n).zfill((len(str(n)) + 2) // 3 * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join(["x" + part for part in parts[:-1]] + [parts[-1]])


def oracle_files(entries: list[bytes]) -> dict[str, bytes]:
    """Every file of the tree of exactly these entries."""
    files = {}
    level = 0
    while 256**level <= len(entries):
        span = 256**level
        hashes = [mth(entries[i * span : (i + 1) * span]) for i in range(len(entries) // span)]
        for n in range((len(hashes) + 255) // 256):
            part = hashes[n * 256 : (n + 1) * 256]
            tail = oracle_path(n) + ("" if len(part) == 256 else f".p/{len(part)}")
            files[f"tile/{level}/{tail}"] = b"".join(part)
            if level == 0:
                data = b"".join(len(each).to_bytes(2, "big") + each for each in entries[n * 256 : (n + 1) * 256])
                files[f"tile/entries/{tail}"] = data
        level += 1
    return files


def files_in(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def entries_of(ledger: Ledger) -> list[bytes]:
    return [record.data for record in ledger.entries()]


@pytest.fixture
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    with closing(MemoryStore(clock=clock)) as made:
        yield made


def entry(text: str = "text") -> Entry:
    payload = seal("text", text.encode())
    return Entry(
        MessageObserved(
            id=EventId(mint("evt", 0)),
            session=SessionId("ses_1"),
            at_us=0,
            payloads=(payload.ref,),
            source=SourceId("src_1"),
            authority="user",
            integrity=Integrity.TRUSTED,
        ),
        (payload,),
    )


def grow(store: MemoryStore | SqliteStore, count: int) -> Ledger:
    store.commit(Commit(entries=tuple(entry() for _ in range(count)))).result()
    return store.ledger()


# Coordinates and contents


def test_paths_are_those_of_the_specification() -> None:
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(0, 1234067, 8).entries_path == "tile/entries/x001/x234/067.p/8"
    assert Tile(5, 0, 1).path == "tile/5/000.p/1"
    assert [Tile(1, n, 256).path for n in (999, 1000, 999_999, 1_000_000)] == [
        "tile/1/999",
        "tile/1/x001/000",
        "tile/1/x999/999",
        "tile/1/x001/x000/000",
    ]


def test_the_example_trees_of_the_specification_have_their_tiles() -> None:
    tiles = list(tiles_of(70_000))
    assert [tile for tile in tiles if tile.level == 0] == [
        *(Tile(0, n, 256) for n in range(273)),
        Tile(0, 273, 112),
    ]
    assert [tile for tile in tiles if tile.level] == [Tile(1, 0, 256), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 10**14))
def test_a_path_is_the_number_in_groups_of_three(n: int) -> None:
    assert Tile(0, n, 256).path == f"tile/0/{oracle_path(n)}"


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_what_a_larger_tree_adds_is_what_a_smaller_one_lacks(one: int, other: int) -> None:
    old, new = sorted((one, other))
    assert set(tiles_of(new, old)) == set(tiles_of(new)) - set(tiles_of(old))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_entries_come_back_as_they_were(entries: list[bytes]) -> None:
    tile = Tile(0, 3, len(entries))
    data = encode_entries(entries, tile.first)
    assert decode_entries(data, tile) == entries
    for wrong in (data[:-1], data + b"\x00", data + b"\x00\x00", data + b"\x00\x01"):
        with pytest.raises(Corrupt):
            decode_entries(wrong, tile)


def test_an_entry_bundle_is_length_and_bytes() -> None:
    assert encode_entries([b"", b"ab", bytes(300)], 0) == b"\x00\x00" + b"\x00\x02ab" + b"\x01\x2c" + bytes(300)
    assert decode_entries(b"\xff\xff" + bytes(MAX_ENTRY), Tile(0, 0, 1)) == [bytes(MAX_ENTRY)]


def test_every_event_that_can_be_recorded_can_be_published() -> None:
    assert MAX_ENVELOPE <= MAX_ENTRY
    with pytest.raises(StoreError, match="entry 12 has 65536 bytes"):
        encode_entries([b"", bytes(MAX_ENTRY), bytes(MAX_ENTRY + 1)], 10)


# Publishing


def test_every_file_is_the_one_that_the_definitions_give(store: MemoryStore, tmp_path: Path) -> None:
    ledger = grow(store, 256 * 3 + 30)
    publish(ledger, Folder(tmp_path))
    found = files_in(tmp_path)
    head = found.pop("checkpoint").decode()
    assert found == oracle_files(entries_of(ledger))
    assert ledger.keys()[-1].open(head).root == mth(entries_of(ledger))


@pytest.mark.parametrize("size", [255, 256, 257, pytest.param(65_536 + 300, marks=pytest.mark.long)])
def test_the_edges_of_tiles(size: int, store: MemoryStore, tmp_path: Path) -> None:
    ledger = grow(store, size - 1)
    publish(ledger, Folder(tmp_path))
    wanted = oracle_files(entries_of(ledger)) if size < 1000 else {tile.path: b"" for tile in tiles_of(size)}
    found = files_in(tmp_path)
    assert {path for path in found if not path.startswith(("checkpoint", "tile/entries"))} == {
        path for path in wanted if not path.startswith("tile/entries")
    }
    assert audit(Folder(tmp_path)).checkpoint == ledger.head()


@settings(max_examples=settings().max_examples // 8)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_publishing_in_steps_comes_to_the_same(sizes: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("steps")
    partial: set[str] = set()
    with closing(MemoryStore()) as store:
        for size in sizes:
            publish(grow(store, size), Folder(root))
            partial |= {path for tile in tiles_of(store.ledger().size) for path in (tile.path, tile.entries_path)}
            assert audit(Folder(root)).checkpoint.size == store.ledger().size
        found = files_in(root)
        wanted = oracle_files(entries_of(store.ledger()))
    assert {path: found[path] for path in wanted} == wanted
    # Beside them only what trees that were published needed, and nothing whose full tile is there.
    for path in found.keys() - wanted.keys() - {"checkpoint"}:
        assert path in partial
        assert path.partition(".p/")[0] not in found
    shutil.rmtree(root)


def test_nothing_to_do_changes_nothing(store: MemoryStore, tmp_path: Path) -> None:
    ledger = grow(store, 300)
    first = publish(ledger, Folder(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = publish(ledger, Folder(tmp_path))
    assert (first.added, second.added) == (301, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_full_tile_takes_the_place_of_its_partial_ones(store: MemoryStore, tmp_path: Path) -> None:
    publish(grow(store, 100), Folder(tmp_path))
    publish(grow(store, 50), Folder(tmp_path))
    assert {"tile/0/000.p/101", "tile/0/000.p/151", "tile/entries/000.p/101"} <= files_in(tmp_path).keys()
    publish(grow(store, 105), Folder(tmp_path))
    assert files_in(tmp_path).keys() == {"checkpoint", "tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
    # A reader who still holds an older checkpoint finds its partial tile in the full one.
    assert read_hashes(Folder(tmp_path), Tile(0, 0, 101)) == TileHashes(Folder(tmp_path))(0, 0, 256)[:101]


class Crashing(Folder):
    """Dies at the `left`-th change: before it, or after it."""

    def __init__(self, root: Path, left: int, *, after: bool) -> None:
        super().__init__(root)
        self.left = left
        self.after = after

    def _step(self, change: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        change()
        if self.left == 0:
            raise KeyboardInterrupt

    def put(self, path: str, data: bytes) -> None:
        self._step(lambda: Folder.put(self, path, data))

    def discard(self, prefix: str) -> None:
        self._step(lambda: Folder.discard(self, prefix))


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_point_leaves_the_older_or_the_newer(after: bool, store: MemoryStore, tmp_path: Path) -> None:
    old = grow(store, 599).head()
    publish(store.ledger(), Folder(tmp_path / "old"))
    new = grow(store, 500).head()
    publish(store.ledger(), Folder(tmp_path / "whole"))
    outcomes = []
    for point in range(1, 100):
        root = tmp_path / f"crash{point}"
        shutil.copytree(tmp_path / "old", root)
        try:
            publish(store.ledger(), Crashing(root, point, after=after))
        except KeyboardInterrupt:
            outcomes.append(audit(Folder(root)).checkpoint)
        else:
            break
        assert publish(store.ledger(), Folder(root)).checkpoint == new
        assert audit(Folder(root)).checkpoint == new
        # Whatever is left over is only partial tiles, which nobody is told about.
        whole = files_in(tmp_path / "whole")
        assert {path: data for path, data in files_in(root).items() if path in whole} == whole
    else:
        pytest.fail("it never ends")
    assert len(outcomes) > 10
    assert outcomes == sorted(outcomes)
    assert {outcomes[0], outcomes[-1]} == {old, new}


def test_two_publishers_do_not_take_the_checkpoint_back(store: MemoryStore, tmp_path: Path) -> None:
    class Slow(Folder):
        """Somebody else publishes between its reading and its writing of the checkpoint."""

        def swap(self, path: str, old: bytes | None, new: bytes) -> None:
            publish(grow(store, 10), Folder(tmp_path))
            super().swap(path, old, new)

    with pytest.raises(StoreError, match="another process replaced"):
        publish(grow(store, 5), Slow(tmp_path))
    assert audit(Folder(tmp_path)).checkpoint.size == 16


# Logs that are not what was published


@pytest.fixture
def forked(tmp_path: Path) -> tuple[Path, Path]:
    """Two databases of one log, with one key, that part after entry 300."""
    with SqliteStore(tmp_path / "a.db") as store:
        grow(store, 300)
    for name in (".db", ".db.key", ".db.checkpoint"):
        shutil.copy(tmp_path / f"a{name}", tmp_path / f"b{name}")
    for name in ("a", "b"):
        with SqliteStore(tmp_path / f"{name}.db") as store:
            grow(store, 100 if name == "a" else 200)
    return tmp_path / "a.db", tmp_path / "b.db"


def published(database: Path, root: Path) -> Publication:
    with Ledger.open(database) as ledger:
        return publish(ledger, Folder(root))


def test_a_fork_is_refused_and_where_it_parts_is_said(forked: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "published"
    published(forked[0], root)
    before = files_in(root)
    with pytest.raises(RolledBack, match="entry 301 of the ledger is not the one that was published"):
        published(forked[1], root)
    assert files_in(root) == before
    shutil.rmtree(root)
    published(forked[1], root)
    with pytest.raises(RolledBack, match="entry 301"):
        published(forked[0], root)


def test_an_older_copy_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "published"
    with SqliteStore(tmp_path / "a.db") as store:
        grow(store, 10)
    shutil.copy(tmp_path / "a.db", tmp_path / "old.db")
    with SqliteStore(tmp_path / "a.db") as store:
        grow(store, 300)
    published(tmp_path / "a.db", root)
    before = files_in(root)
    with pytest.raises(RolledBack, match="has 11 entries, of which each is published, and 311 are published"):
        published(tmp_path / "old.db", root)
    assert files_in(root) == before


def test_another_log_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    publish(grow(store, 3), Folder(tmp_path))
    with closing(MemoryStore()) as other, pytest.raises(WrongKey, match="belongs to another log"):
        publish(grow(other, 10), Folder(tmp_path))


def test_a_store_whose_entries_do_not_lead_to_its_head_publishes_nothing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "a.db") as store:
        grow(store, 20)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE bundle SET events = CAST(replace(events, 'src_1', 'src_2') AS BLOB)")
    connection.close()
    with pytest.raises(Corrupt, match="do not lead to its head"):
        published(tmp_path / "a.db", tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_damaged_tiles_are_not_built_upon(store: MemoryStore, tmp_path: Path) -> None:
    publish(grow(store, 300), Folder(tmp_path))
    target = tmp_path / "tile/0/001.p/45"
    target.write_bytes(bytes(32) + target.read_bytes()[32:])
    with pytest.raises(Corrupt, match="do not lead to their checkpoint"):
        publish(grow(store, 1), Folder(tmp_path))


def test_a_rotated_key_signs_on(tmp_path: Path) -> None:
    root = tmp_path / "published"
    with SqliteStore(tmp_path / "a.db") as store:
        grow(store, 5)
        publish(store.ledger(), Folder(root))
        (old,) = store.ledger().keys()
        kept = (root / "checkpoint").read_text()
        store.rotate_key(by="emma")
        publish(grow(store, 5), Folder(root))
        new = store.ledger().keys()[-1]
    assert audit(Folder(root), key=new, kept=[("kept", kept)]).kept == 1
    assert audit(Folder(root)).key == new.text
    with pytest.raises(WrongKey):
        audit(Folder(root), key=old)


# Verifying by an outsider


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Verifier]:
    root = tmp_path_factory.mktemp("sample")
    with closing(MemoryStore()) as store:
        publish(grow(store, 599), Folder(root))
        return root, store.ledger().keys()[-1]


def test_every_flipped_bit_is_found(sample: tuple[Path, Verifier], tmp_path: Path) -> None:
    root, key = sample
    shutil.copytree(root, tmp_path / "copy")
    draw = random.Random(7)
    for path, data in files_in(root).items():
        for at in {0, len(data) - 1, *draw.sample(range(len(data)), 8)}:
            changed = bytearray(data)
            changed[at] ^= 1 << draw.randrange(8)
            (tmp_path / "copy" / path).write_bytes(changed)
            with pytest.raises((Corrupt, WrongKey)) as caught:
                audit(Folder(tmp_path / "copy"), key=key)
            if path.startswith("tile"):
                assert path in str(caught.value)
        (tmp_path / "copy" / path).write_bytes(data)
    assert audit(Folder(tmp_path / "copy"), key=key).pinned


def test_every_missing_file_is_found(sample: tuple[Path, Verifier], tmp_path: Path) -> None:
    root, key = sample
    shutil.copytree(root, tmp_path / "copy")
    for path in files_in(root):
        (tmp_path / "copy" / path).rename(tmp_path / "away")
        with pytest.raises(Corrupt, match=path):
            audit(Folder(tmp_path / "copy"), key=key)
        (tmp_path / "away").rename(tmp_path / "copy" / path)


def test_the_first_bad_entry_is_named(sample: tuple[Path, Verifier], tmp_path: Path) -> None:
    root, key = sample
    shutil.copytree(root, tmp_path / "copy")
    tile = Tile(0, 1, 256)
    entries = decode_entries((root / tile.entries_path).read_bytes(), tile)
    swapped = [*entries[:44], entries[45], entries[44], *entries[46:]]
    (tmp_path / "copy" / tile.entries_path).write_bytes(encode_entries(swapped, 256))
    with pytest.raises(Corrupt, match="entry 300: what `tile/entries/001` holds") as caught:
        audit(Folder(tmp_path / "copy"), key=key)
    assert caught.value.index == 300
    # With its tile changed to fit, the tile above does not.
    hashes = b"".join(hashlib.sha256(b"\x00" + each).digest() for each in swapped)
    (tmp_path / "copy" / tile.path).write_bytes(hashes)
    with pytest.raises(Corrupt, match=r"`tile/1/000\.p/2`: its hash 1 is not the root of `tile/0/001`"):
        audit(Folder(tmp_path / "copy"), key=key)


def test_tiles_that_agree_still_have_to_lead_to_the_checkpoint(sample: tuple[Path, Verifier], tmp_path: Path) -> None:
    root, key = sample
    shutil.copytree(root, tmp_path / "copy")
    # The last tile is partial, so no other tile is above it.
    tile = Tile(0, 2, 88)
    swapped = decode_entries((root / tile.entries_path).read_bytes(), tile)[::-1]
    (tmp_path / "copy" / tile.entries_path).write_bytes(encode_entries(swapped, 512))
    hashes = b"".join(hashlib.sha256(b"\x00" + each).digest() for each in swapped)
    (tmp_path / "copy" / tile.path).write_bytes(hashes)
    with pytest.raises(Corrupt, match="lead to another root"):
        audit(Folder(tmp_path / "copy"), key=key)


def test_whoever_rewrites_everything_needs_the_key(sample: tuple[Path, Verifier], tmp_path: Path) -> None:
    root, key = sample
    with closing(MemoryStore()) as other:
        publish(grow(other, 599), Folder(tmp_path))
    assert not audit(Folder(tmp_path)).pinned
    with pytest.raises(WrongKey):
        audit(Folder(tmp_path), key=key)
    # Under the log's own name, with a key that the log states: only a key from elsewhere tells.
    forged = Signer(key.name, bytes(range(32))).verifier
    with pytest.raises(WrongKey):
        audit(Folder(root), key=forged)


def test_a_kept_checkpoint_holds_the_log_to_it(forked: tuple[Path, Path], tmp_path: Path) -> None:
    for name, database in zip("ab", forked, strict=True):
        published(database, tmp_path / name)
    kept = {name: [(name, (tmp_path / name / "checkpoint").read_text())] for name in "ab"}
    assert audit(Folder(tmp_path / "a"), kept=kept["a"]).kept == 1
    with pytest.raises(RolledBack, match="the log was rewritten"):
        audit(Folder(tmp_path / "b"), kept=kept["a"])
    with pytest.raises(RolledBack, match="an older copy was put in its place"):
        audit(Folder(tmp_path / "a"), kept=kept["b"])


def test_erased_payloads_do_not_matter(store: MemoryStore, tmp_path: Path) -> None:
    secret = entry("the secret that was erased")
    store.commit(Commit(entries=(secret,))).result()
    publish(store.ledger(), Folder(tmp_path))
    store.erase(secret.payloads[0].ref.digest, by="emma", why="request 17")
    publish(store.ledger(), Folder(tmp_path))
    assert audit(Folder(tmp_path)).checkpoint.size == 3
    assert b"secret" not in b"".join(files_in(tmp_path).values())
