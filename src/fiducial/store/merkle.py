"""Merkle trees as RFC 9162 (and RFC 6962 before it) defines them: the arithmetic that makes the log tamper-evident.

    leaf hash     SHA-256(0x00 ‖ entry)
    node hash     SHA-256(0x01 ‖ left ‖ right)
    empty tree    SHA-256 of nothing

A tree of n leaves splits at the largest power of two smaller than n. An *inclusion proof* shows that an entry stands
at an index of the tree with a given root; a *consistency proof* shows that a smaller tree is a prefix of a larger
one. Checking either refuses, with `Corrupt`, everything that is not exactly the proof the definition gives: an index
outside the tree, a hash of another length, a hash too few, a hash too many, a proof from or of an empty tree.

`Tree` appends. It keeps only its frontier, the roots of the perfect subtrees that make up the tree, one at most for
each level, and reports the subtree hashes completed at every eighth level, which are the ones that storage keeps
(the tile height of C2SP `tlog-tiles`). `inclusion_proof` and `consistency_proof` read those through `Hashes`.

Sources: RFC 9162 section 2.1 (https://www.rfc-editor.org/rfc/rfc9162#section-2.1), C2SP tlog-tiles
(https://c2sp.org/tlog-tiles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from fiducial.errors import Corrupt

HASH_BYTES = 32
"""SHA-256."""
TILE_HEIGHT = 8
"""Levels between stored hashes: C2SP tlog-tiles fixes it at 8."""
TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes a full tile holds."""
MAX_LEVELS = 63
"""Trees hold fewer than 2⁶³ entries: C2SP tlog-checkpoint section "Format"."""

_sha256 = hashlib.sha256
EMPTY_ROOT = _sha256(b"").digest()
"""Root of the tree with no entries."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf that holds `entry`."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over two subtree hashes."""
    return _sha256(b"\x01" + left + right).digest()


class Run(NamedTuple):
    """Neighbouring subtree hashes that an append completed."""

    level: int
    """Each covers 2^level leaves; a positive multiple of `TILE_HEIGHT`."""
    start: int
    """Index, within the level, of the first."""
    hashes: tuple[bytes, ...]


class Tree:
    """The right edge of a growing tree: enough to append to it and to give its root."""

    __slots__ = ("frontier", "size")

    def __init__(self, size: int = 0, frontier: Sequence[bytes] = ()) -> None:
        """Raises `ValueError` when `frontier` has another number of hashes than `size` has one bits."""
        if len(frontier) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(frontier)}")
        self.size = size
        """Number of leaves."""
        self.frontier: list[bytes] = list(frontier)
        """Roots of the perfect subtrees, smallest (rightmost) last."""

    def copy(self) -> Tree:
        """An independent tree in the same state."""
        return Tree(self.size, self.frontier)

    def extend(self, leaves: Sequence[bytes]) -> list[Run]:
        """Append leaf hashes, level by level; returns the stored-level hashes that this completed."""
        edge = _by_level(self.size, self.frontier)
        runs: list[Run] = []
        level, size, nodes = 0, self.size, list(leaves)
        while nodes:
            if level and level % TILE_HEIGHT == 0:
                runs.append(Run(level, size >> level, tuple(nodes)))
            left = edge.pop(level, None)
            if left is not None:
                nodes.insert(0, left)
            if len(nodes) & 1:
                edge[level] = nodes.pop()
            nodes = [_sha256(b"\x01" + a + b).digest() for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
            level += 1
        self.size += len(leaves)
        self.frontier = [edge[key] for key in sorted(edge, reverse=True)]
        return runs

    def root(self) -> bytes:
        """Root hash of the whole tree."""
        if not self.frontier:
            return EMPTY_ROOT
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = node_hash(left, root)
        return root


def _by_level(size: int, frontier: Sequence[bytes]) -> dict[int, bytes]:
    levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
    return dict(zip(levels, frontier, strict=True))


class Hashes(Protocol):
    """Where proofs read the stored hashes of a tree from."""

    def __call__(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Hashes `start` to `stop` of `level`, a multiple of `TILE_HEIGHT`, all within one tile and all complete."""
        ...


class Subtrees:
    """Roots of arbitrary subtrees, computed from stored hashes; tiles read once are kept for its lifetime."""

    __slots__ = ("_hashes", "_known", "_size")

    def __init__(self, hashes: Hashes, size: int) -> None:
        self._hashes = hashes
        self._size = size
        self._known: dict[tuple[int, int], bytes] = {}

    def perfect(self, level: int, index: int) -> bytes:
        """Root of the `index`-th perfect subtree of 2^level leaves, which must lie within the tree."""
        found = self._known.get((level, index))
        if found is not None:
            return found
        if (index + 1) << level > self._size:
            raise ValueError("the subtree is not complete")
        if level % TILE_HEIGHT == 0:
            start = index // TILE_WIDTH * TILE_WIDTH
            stop = min(start + TILE_WIDTH, self._size >> level)
            hashes = self._hashes(level, start, stop)
            if len(hashes) != stop - start:
                raise Corrupt(f"{stop - start - len(hashes)} of the tree's hashes are missing at level {level}")
            self._known.update(((level, start + offset), each) for offset, each in enumerate(hashes))
            return self._known[level, index]
        made = node_hash(self.perfect(level - 1, 2 * index), self.perfect(level - 1, 2 * index + 1))
        self._known[level, index] = made
        return made

    def span(self, start: int, stop: int) -> bytes:
        """Root over leaves `start` to `stop`, where `start` is a multiple of the power of two that covers them."""
        root: bytes | None = None
        for level, index in reversed(list(_perfect_parts(start, stop))):
            part = self.perfect(level, index)
            root = part if root is None else node_hash(part, root)
        return EMPTY_ROOT if root is None else root

    def tree(self) -> Tree:
        """The right edge of the whole tree."""
        return Tree(self._size, [self.perfect(level, index) for level, index in _perfect_parts(0, self._size)])


def _perfect_parts(start: int, stop: int) -> Iterator[tuple[int, int]]:
    while start < stop:
        level = (stop - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _split(count: int) -> int:
    """Largest power of two smaller than `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_proof(subtrees: Subtrees, index: int, size: int) -> list[bytes]:
    """Hashes that lead from leaf `index` to the root of the first `size` leaves: RFC 9162 section 2.1.3.1.

    Raises `ValueError` when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no entry {index} in a tree of {size}")
    proof: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            proof.append(subtrees.span(middle, stop))
            stop = middle
        else:
            proof.append(subtrees.span(start, middle))
            start = middle
    proof.reverse()
    return proof


def consistency_proof(subtrees: Subtrees, old: int, new: int) -> list[bytes]:
    """Hashes that show the first `old` leaves to be a prefix of the first `new`: RFC 9162 section 2.1.4.1.

    Raises `ValueError` when `old` is 0 or larger than `new`.
    """
    if not 0 < old <= new:
        raise ValueError(f"there is no consistency proof from {old} to {new} entries")
    proof: list[bytes] = []
    start, stop = 0, new
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            proof.append(subtrees.span(middle, stop))
            stop = middle
        else:
            proof.append(subtrees.span(start, middle))
            start = middle
    if start:
        proof.append(subtrees.span(start, stop))
    proof.reverse()
    return proof


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (its hash) is entry `index` of the tree with `size` and `root`: RFC 9162 section 2.1.3.2.

    Raises `Corrupt` on anything but the one right proof.
    """
    if size < 1 or size.bit_length() > MAX_LEVELS or not 0 <= index < size:
        raise Corrupt(f"there is no entry {index} in a tree of {size}; the proof is void")
    _lengths([leaf, root, *proof])
    node, last, result = index, size - 1, leaf
    for each in proof:
        if last == 0:
            raise Corrupt(f"the inclusion proof of entry {index} has hashes left over", index=index)
        if node & 1 or node == last:
            result = node_hash(each, result)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = node_hash(result, each)
        node >>= 1
        last >>= 1
    if last:
        raise Corrupt(f"the inclusion proof of entry {index} is too short", index=index)
    if result != root:
        raise Corrupt(f"entry {index} does not lead to the tree's root", index=index)


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `old` leaves is a prefix of the tree of `new`: RFC 9162 section 2.1.4.2.

    Raises `Corrupt` on anything but the one right proof, and for `old` = 0: with an empty tree every tree is
    consistent, so such a proof would show nothing.
    """
    if not 0 < old <= new or new.bit_length() > MAX_LEVELS:
        raise Corrupt(f"nothing can show a tree of {old} to be a prefix of a tree of {new}")
    _lengths([old_root, new_root, *proof])
    if old == new:
        if proof:
            raise Corrupt("the consistency proof between trees of one size has hashes left over")
        if old_root != new_root:
            raise Corrupt(f"two trees of {old} entries have different roots")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise Corrupt("the consistency proof is too short")
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first = second = path[0]
    for each in path[1:]:
        if last == 0:
            raise Corrupt("the consistency proof has hashes left over")
        if node & 1 or node == last:
            first = node_hash(each, first)
            second = node_hash(each, second)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, each)
        node >>= 1
        last >>= 1
    if last:
        raise Corrupt("the consistency proof is too short")
    if first != old_root or second != new_root:
        raise Corrupt(f"the tree of {old} entries is not a prefix of the tree of {new}")


def _lengths(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise Corrupt(f"a hash of the proof is not {HASH_BYTES} bytes long")
