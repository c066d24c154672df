"""Publishing: the ledger's entries as tiles, its head as the checkpoint, in an order in which nothing can go wrong.

1. What is published is signed by a key of this ledger, and its tiles lead to its checkpoint.
2. The ledger's entries from the last full tile on, added to that tree, lead to the ledger's signed head: so the head
   extends what is published, and nothing is written before this is known.
3. Tiles and entries are written, lowest level first; what is there already and the same is left alone.
4. Witnesses cosign the head; without as many as are asked for, it stops here.
5. The checkpoint is replaced, if it is still the one of step 1.
6. Partial tiles whose full tile is there are removed.

Whoever reads at any moment, or after a crash at any point, finds a checkpoint with all of its tiles. Files beyond the
checkpoint are promised to nobody. A run that has nothing to do changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fiducial.errors import Corrupt, RolledBack, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint
from fiducial.store.ledger import Ledger
from fiducial.store.merkle import (
    EMPTY_ROOT,
    TILE_HEIGHT,
    TILE_WIDTH,
    Run,
    Subtrees,
    Tree,
    consistency_proof,
    leaf_hash,
)
from fiducial.store.published.client import ask
from fiducial.store.published.cosign import Cosignature, WitnessKey, cosignatures, demand, distinct
from fiducial.store.published.objects import Objects, TileHashes, read_hashes
from fiducial.store.published.tiles import CHECKPOINT, Tile, encode_entries, tiles_of
from fiducial.store.retained import open_note


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who has to have seen a tree head before it is published."""

    urls: tuple[str, ...] = ()
    """Submission prefixes."""
    keys: tuple[WitnessKey, ...] = ()
    """Whose cosignatures count; those of others are left out."""
    quorum: int = 0
    """How many of `keys` have to have cosigned."""

    def __post_init__(self) -> None:
        """Raises `WrongKey` when a key is there twice, `StoreError` when the quorum cannot be reached."""
        distinct(self.keys)
        if not 0 <= self.quorum <= len(self.keys):
            raise StoreError(f"a quorum of {self.quorum} cannot be reached with {len(self.keys)} witness keys")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published now."""

    checkpoint: Checkpoint
    added: int
    """Entries that were not published before."""
    cosignatures: tuple[Cosignature, ...]
    missing: tuple[str, ...]
    """Why each witness that did not cosign has not; the quorum was reached without them."""


def publish(ledger: Ledger, objects: Objects, witnesses: Witnesses | None = None) -> Publication:
    """Bring what is published in `objects` up to the ledger's head.

    Raises `RolledBack` when the ledger, or what a witness has seen of it, is not an extension of what is published;
    `WrongKey` when another log is; `Corrupt` when either is damaged; `StoreError` when a place cannot be reached or too
    few witnesses cosign. What was published before then still is.
    """
    witnesses = witnesses or Witnesses()
    text, head, _ = ledger.signed_head()
    before = objects.get(CHECKPOINT)
    old = _published(objects, before, ledger)
    start = old.size - old.size % TILE_WIDTH
    base = Subtrees(TileHashes(objects), start).tree() if start else Tree()
    if not _extends(ledger, base.copy(), old, head):
        raise _parting(ledger, objects, old, head)
    _write(ledger, objects, base, old.size, head)
    if before is not None and old.size == head.size:
        # Cosignatures on this very head are kept: a witness that is away now has seen it all the same.
        text = _merged(text, cosignatures(before.decode(), witnesses.keys))
    text, missing = _cosigned(objects, text, head, old.size, witnesses)
    if before != text.encode():
        objects.swap(CHECKPOINT, before, text.encode())
    for tile in tiles_of(head.size, old.size):
        if tile.width == TILE_WIDTH:
            for path in [tile.path, tile.entries_path] if tile.level == 0 else [tile.path]:
                objects.discard(f"{path}.p")
    return Publication(head, head.size - old.size, tuple(cosignatures(text, witnesses.keys)), missing)


def _published(objects: Objects, note: bytes | None, ledger: Ledger) -> Checkpoint:
    """What the published checkpoint says; the empty tree when there is none."""
    if note is None:
        return Checkpoint(ledger.origin, 0, EMPTY_ROOT)
    try:
        old = open_note(note.decode(), ledger.keys(), CHECKPOINT)
    except UnicodeDecodeError as error:
        raise Corrupt("the published checkpoint is not text") from error
    if Subtrees(TileHashes(objects), old.size).span(0, old.size) != old.root:
        raise Corrupt("the published tiles do not lead to their checkpoint; `fiducial log verify --tiles` says where")
    return old


def _batches(ledger: Ledger, start: int, stop: int) -> Iterator[list[bytes]]:
    """The entries, in batches that begin where tiles do."""
    entries = (record.data for record in ledger.entries(start, stop, payloads=False))
    while batch := list(islice(entries, TILE_WIDTH)):
        yield batch


def _extends(ledger: Ledger, tree: Tree, old: Checkpoint, head: Checkpoint) -> bool:
    """Whether the ledger's entries after `tree`, the last full tile of what is published, lead to both heads."""
    for point in (old, head):
        for batch in _batches(ledger, tree.size, point.size):
            tree.extend([leaf_hash(entry) for entry in batch])
        if (tree.size, tree.root()) != point[1:]:
            return False
    return True


def _write(ledger: Ledger, objects: Objects, tree: Tree, old: int, head: Checkpoint) -> None:
    """Write the tiles that `head` has and a tree of `old` entries has not; `tree` ends where the last full one does."""
    start = tree.size
    open_tiles: dict[int, list[bytes]] = {}
    for tile in _right_edge(start):
        open_tiles[tile.level] = read_hashes(objects, tile)
    for batch in _batches(ledger, start, head.size) if old < head.size else ():
        first = tree.size
        tile = Tile(0, first // TILE_WIDTH, len(batch))
        leaves = [leaf_hash(entry) for entry in batch]
        _put(objects, tile.entries_path, encode_entries(batch, first))
        _put(objects, tile.path, b"".join(leaves))
        for run in tree.extend(leaves):
            _fill(objects, open_tiles, run)
    if old < head.size and (tree.size != head.size or tree.root() != head.root):
        raise Corrupt("the ledger changed while it was read; run `fiducial log verify`")
    for level, hashes in open_tiles.items():
        count = head.size >> TILE_HEIGHT * level
        if hashes and count != old >> TILE_HEIGHT * level:
            _put(objects, Tile(level, count // TILE_WIDTH, len(hashes)).path, b"".join(hashes))


def _fill(objects: Objects, open_tiles: dict[int, list[bytes]], run: Run) -> None:
    """Add completed hashes to the tile that is open at their level; write it when it is full."""
    level = run.level // TILE_HEIGHT
    hashes = open_tiles.setdefault(level, [])
    for index, each in enumerate(run.hashes, run.start):
        hashes.append(each)
        if len(hashes) == TILE_WIDTH:
            _put(objects, Tile(level, index // TILE_WIDTH, TILE_WIDTH).path, b"".join(hashes))
            hashes.clear()


def _right_edge(size: int) -> list[Tile]:
    """The partial tiles above level 0 of a tree of `size` entries."""
    return [tile for tile in tiles_of(size) if tile.level and tile.width < TILE_WIDTH]


def _put(objects: Objects, path: str, data: bytes) -> None:
    if objects.get(path) != data:
        objects.put(path, data)


def _cosigned(
    objects: Objects, text: str, head: Checkpoint, seen: int, witnesses: Witnesses
) -> tuple[str, tuple[str, ...]]:
    """`text` with the cosignatures of the witnesses that it lacks, and why others are missing."""
    subtrees = Subtrees(TileHashes(objects), head.size)
    missing: list[str] = []
    for url in witnesses.urls:
        if len(cosignatures(text, witnesses.keys)) == len(witnesses.keys):
            break
        try:
            found = ask(url, text, lambda old: consistency_proof(subtrees, old, head.size), witnesses.keys, seen=seen)
        except (RolledBack, Corrupt):
            # Not an absence: either somebody saw another history, or somebody lies about it.
            raise
        except StoreError as error:
            missing.append(str(error))
            continue
        text = _merged(text, found)
    try:
        demand(text, witnesses.keys, witnesses.quorum)
    except WrongKey as error:
        raise StoreError("; ".join([f"nothing was published: {error}", *missing])) from error
    return text, tuple(missing)


def _merged(text: str, more: Sequence[Cosignature]) -> str:
    """The note `text` with the cosignatures that it lacks."""
    have = {each.witness.key_id for each in cosignatures(text, [each.witness for each in more])}
    return text + "".join(each.line for each in more if each.witness.key_id not in have)


def _parting(ledger: Ledger, objects: Objects, old: Checkpoint, head: Checkpoint) -> RolledBack | Corrupt:
    """Why the ledger does not extend what is published: the first entry at which they part."""
    ours = ledger.entries(0, min(old.size, head.size), payloads=False)
    for tile in tiles_of(old.size):
        if tile.level:
            break
        for index, (published, record) in enumerate(zip(read_hashes(objects, tile), ours, strict=False), tile.first):
            if leaf_hash(record.data) != published:
                return RolledBack(
                    f"entry {index} of the ledger is not the one that was published: the log was rewritten, or went on "
                    "from an older copy. Bring back the other one, or publish this one elsewhere, where its readers "
                    "can tell that it is another"
                )
    if head.size < old.size:
        return RolledBack(
            f"the ledger has {head.size} entries, of which each is published, and {old.size} are published: an older "
            "copy was put in its place; bring back the newer one"
        )
    return Corrupt("the ledger's entries do not lead to its head; run `fiducial log verify`")
