"""Tiles: the tree and its entries cut into files of 256, as C2SP `tlog-tiles` defines them.

    tile/<L>/<N>[.p/<W>]        hashes: each the root of 256^L entries, 32 bytes each
    tile/entries/<N>[.p/<W>]    entries: each a big-endian uint16 of its length, then its bytes

A full tile is 256 wide and never changes. The rightmost tile of a level is mostly *partial*: `.p/<W>` says how wide it
is, and a tree of another size has another one. `<N>` is written in groups of three digits, all but the last with an
`x` before them: 1234067 is `x001/x234/067`. What is hashed into the tree is the entry alone, without its length.

Source: https://c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fiducial.errors import Corrupt, StoreError
from fiducial.store.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH

CHECKPOINT = "checkpoint"
"""Path of the signed tree head."""
MAX_ENTRY = 0xFFFF
"""Bytes: what a uint16 can say."""
_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile stands in the tree."""

    level: int
    """Each of its hashes covers 256^level entries."""
    index: int
    """Its place in the level; 0 is the first."""
    width: int
    """How many hashes; fewer than 256 when it is partial."""

    @property
    def path(self) -> str:
        """Where its hashes are published."""
        return f"tile/{self.level}/{_number(self.index)}{_partial(self.width)}"

    @property
    def entries_path(self) -> str:
        """Where the entries are published that a tile of level 0 has the hashes of."""
        return f"tile/entries/{_number(self.index)}{_partial(self.width)}"

    @property
    def full(self) -> Tile:
        """The full tile in its place."""
        return Tile(self.level, self.index, TILE_WIDTH)

    @property
    def first(self) -> int:
        """Index of the first entry it covers."""
        return self.index * TILE_WIDTH << TILE_HEIGHT * self.level


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """Every tile that a tree of `size` entries has and one of `since` has not, lowest level first, left to right."""
    level = 0
    while size >> TILE_HEIGHT * level:
        count = size >> TILE_HEIGHT * level
        if count != since >> TILE_HEIGHT * level:
            for index in range((since >> TILE_HEIGHT * level) // TILE_WIDTH, (count + TILE_WIDTH - 1) // TILE_WIDTH):
                yield Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))
        level += 1


def encode_entries(entries: Sequence[bytes], first: int) -> bytes:
    """An entry bundle; `first` is the index of its first entry. Raises `StoreError` on an entry that has no place."""
    for index, entry in enumerate(entries, first):
        if len(entry) > MAX_ENTRY:
            raise StoreError(
                f"entry {index} has {len(entry)} bytes, and a published one has {MAX_ENTRY} at most; "
                "this log cannot be published, start a new one beside it"
            )
    return b"".join([part for entry in entries for part in (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)])


def decode_entries(data: bytes, tile: Tile) -> list[bytes]:
    """The entries of a bundle. Raises `Corrupt` unless it holds exactly as many as `tile` is wide."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            index = tile.first + len(found)
            raise Corrupt(f"`{tile.entries_path}`: entry {index} is cut short", index=index)
        found.append(data[start:at])
    if len(found) != tile.width:
        index = tile.first + min(len(found), tile.width)
        raise Corrupt(f"`{tile.entries_path}` holds {len(found)} entries, not {tile.width}", index=index)
    return found


def decode_hashes(data: bytes, tile: Tile) -> list[bytes]:
    """The hashes of a tile. Raises `Corrupt` unless it holds exactly as many as `tile` is wide."""
    if len(data) != HASH_BYTES * tile.width:
        raise Corrupt(
            f"`{tile.path}` is {len(data)} bytes long, not {HASH_BYTES * tile.width}",
            index=tile.first if tile.level == 0 else None,
        )
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _number(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def _partial(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"
