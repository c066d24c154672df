"""Verifying a published log, by somebody who has its files and public keys and nothing else.

1. The checkpoint is signed by the log's key, and cosigned by as many witnesses as are asked for.
2. Every entry hashes to what its tile of level 0 says.
3. Every hash of a higher tile is the root of the tile below it.
4. All of them lead to the root in the checkpoint.
5. Every checkpoint that was kept from earlier is a prefix of this one.

The first thing that is wrong is named: an entry by its index, a tile by its path. Payloads are not published, so it
does not matter whether they were erased. Without a key, the log is held to the one it states itself, and that proves
nothing about who wrote it: get the key from whoever runs the log, by another way than its files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from fiducial.errors import Corrupt, RolledBack, WrongKey
from fiducial.store.checkpoint import Checkpoint, Verifier, peek
from fiducial.store.merkle import TILE_HEIGHT, TILE_WIDTH, Subtrees, Tree, leaf_hash
from fiducial.store.published.cosign import Cosignature, WitnessKey, demand
from fiducial.store.published.objects import Objects, TileHashes, read_entries, read_hashes
from fiducial.store.published.tiles import CHECKPOINT, Tile, tiles_of
from fiducial.store.retained import open_note


@dataclass(frozen=True, slots=True)
class Audited:
    """A published log that verifies."""

    checkpoint: Checkpoint
    key: str
    """The public key that signed the checkpoint."""
    pinned: bool
    """Whether that key was given, and not taken from the log."""
    cosignatures: tuple[Cosignature, ...]
    """Of the witnesses that were given."""
    kept: int
    """Checkpoints from earlier that it was held to."""


class _Stated(msgspec.Struct):
    """What an entry has to be, at least, and the key that some state."""

    kind: str
    key: str = ""


_DECODER = msgspec.json.Decoder(_Stated)
_KEYS = {"log.opened", "log.key-rotated"}


def audit(
    objects: Objects,
    *,
    key: Verifier | None = None,
    witnesses: Sequence[WitnessKey] = (),
    quorum: int = 0,
    kept: Sequence[tuple[str, str]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Audited:
    """Verify what is published in `objects`; see the head of this module.

    `kept` are checkpoints from earlier: where each came from, and its text. `progress` is told how many entries of how
    many are done. Raises `Corrupt` on the first thing that is wrong, `WrongKey` when a signature is missing,
    `RolledBack` when a kept checkpoint is not a prefix, `StoreError` when the files cannot be read.
    """
    text = _checkpoint(objects)
    head = peek(text) if key is None else key.open(text)
    cosigned = demand(text, witnesses, quorum)
    root, stated = _tree(objects, head.size, progress)
    if root != head.root:
        raise Corrupt("the tiles lead to another root than the checkpoint's")
    signed_by = _signed_by(text, stated) if key is None else key
    for where, note in kept:
        _contains(objects, head, open_note(note, [signed_by, *stated], where), where)
    return Audited(head, signed_by.text, key is not None, tuple(cosigned), len(kept))


def _checkpoint(objects: Objects) -> str:
    data = objects.get(CHECKPOINT)
    if data is None:
        raise Corrupt(f"there is no `{CHECKPOINT}`: nothing is published here")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Corrupt("the published checkpoint is not text") from error


def _tree(objects: Objects, size: int, progress: Callable[[int, int], None] | None) -> tuple[bytes, list[Verifier]]:
    """The root over all entries, every tile checked on the way, and the keys that they state, oldest first."""
    tree = Tree()
    keys: list[Verifier] = []
    computed: dict[int, list[bytes]] = {}
    for tile in tiles_of(size):
        if tile.level:
            break
        hashes = read_hashes(objects, tile)
        for index, (entry, stated) in enumerate(zip(read_entries(objects, tile), hashes, strict=True), tile.first):
            if leaf_hash(entry) != stated:
                raise Corrupt(
                    f"entry {index}: what `{tile.entries_path}` holds does not hash to what `{tile.path}` says",
                    index=index,
                )
            keys += _key(entry, index)
        for run in tree.extend(hashes):
            computed.setdefault(run.level, []).extend(run.hashes)
        if progress is not None:
            progress(tree.size, size)
    _upper(objects, size, computed)
    return tree.root(), keys


def _key(entry: bytes, index: int) -> list[Verifier]:
    try:
        stated = _DECODER.decode(entry)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"entry {index} is not an event", index=index) from error
    if (stated.kind == "log.opened") != (index == 0):
        raise Corrupt(f"entry {index}: a log is opened by its first entry and no other", index=index)
    try:
        return [Verifier(stated.key)] if stated.kind in _KEYS else []
    except WrongKey as error:
        raise Corrupt(f"entry {index} states a key that is none: {error}", index=index) from error


def _upper(objects: Objects, size: int, computed: dict[int, list[bytes]]) -> None:
    """Check the tiles above level 0 against the hashes that were computed from the entries."""
    for tile in tiles_of(size):
        if tile.level == 0:
            continue
        start = tile.index * TILE_WIDTH
        made = computed[TILE_HEIGHT * tile.level][start : start + tile.width]
        for index, (stated, root) in enumerate(zip(read_hashes(objects, tile), made, strict=True), start):
            if stated != root:
                below = Tile(tile.level - 1, index, TILE_WIDTH)
                raise Corrupt(
                    f"`{tile.path}`: its hash {index - start} is not the root of `{below.path}`", index=below.first
                )


def _signed_by(text: str, keys: list[Verifier]) -> Verifier:
    """The newest of `keys` that signed the checkpoint: the last one, or the one before when it records the rotation."""
    for key in keys[:-3:-1]:
        try:
            key.open(text)
        except WrongKey:
            continue
        return key
    raise WrongKey("the checkpoint is not signed by the key that the log states")


def _contains(objects: Objects, head: Checkpoint, kept: Checkpoint, where: str) -> None:
    if kept.size > head.size:
        raise RolledBack(
            f"{head.size} entries are published, and the checkpoint `{where}` has seen {kept.size}: an older copy was "
            "put in its place"
        )
    if Subtrees(TileHashes(objects), head.size).span(0, kept.size) != kept.root:
        raise RolledBack(
            f"the first {kept.size} entries are not those that the checkpoint `{where}` has seen: the log was rewritten"
        )
