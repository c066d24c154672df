"""The Merkle arithmetic against a naive recursive tree, written from the definitions of RFC 9162, as oracle."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.errors import Corrupt
from fiducial.store import merkle


def oracle_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = oracle_split(len(leaves))
    return hashlib.sha256(b"\1" + oracle_root(leaves[:k]) + oracle_root(leaves[k:])).digest()


def oracle_split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def oracle_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = oracle_split(len(leaves))
    if m < k:
        return [*oracle_path(m, leaves[:k]), oracle_root(leaves[k:])]
    return [*oracle_path(m - k, leaves[k:]), oracle_root(leaves[:k])]


def oracle_proof(m: int, leaves: list[bytes]) -> list[bytes]:
    return oracle_subproof(m, leaves, True)


def oracle_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [oracle_root(leaves)]
    k = oracle_split(len(leaves))
    if m <= k:
        return [*oracle_subproof(m, leaves[:k], whole), oracle_root(leaves[k:])]
    return [*oracle_subproof(m - k, leaves[k:], False), oracle_root(leaves[:k])]


def subtrees(leaves: list[bytes]) -> merkle.Subtrees:
    """As storage has them: leaf hashes, and the runs that appending reported."""
    stored: dict[tuple[int, int], bytes] = {(0, i): merkle.leaf_hash(leaf) for i, leaf in enumerate(leaves)}
    tree = merkle.Tree()
    for leaf in leaves:
        for run in tree.extend([merkle.leaf_hash(leaf)]):
            stored.update({(run.level, run.start + i): each for i, each in enumerate(run.hashes)})
    return merkle.Subtrees(lambda level, start, stop: [stored[level, i] for i in range(start, stop)], len(leaves))


entries = st.lists(st.binary(max_size=8), max_size=70)


def numbered(count: int) -> list[bytes]:
    return [str(i).encode() for i in range(count)]


# The input, and roots, of the reference vectors of Certificate Transparency: leaves of growing length.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_match_the_reference_vectors() -> None:
    for size, expected in enumerate(CT_ROOTS):
        tree = merkle.Tree()
        tree.extend([merkle.leaf_hash(leaf) for leaf in CT_LEAVES[:size]])
        assert tree.root().hex() == expected == oracle_root(CT_LEAVES[:size]).hex()


@given(entries, st.lists(st.integers(0, 20), max_size=12))
def test_root_does_not_depend_on_how_leaves_were_batched(leaves: list[bytes], cuts: list[int]) -> None:
    tree = merkle.Tree()
    rest = [merkle.leaf_hash(leaf) for leaf in leaves]
    for cut in cuts:
        tree.extend(rest[:cut])
        rest = rest[cut:]
    tree.extend(rest)
    assert tree.root() == oracle_root(leaves)
    assert merkle.Tree(tree.size, tree.frontier).root() == tree.root()
    assert subtrees(leaves).tree().frontier == tree.frontier


def test_stored_levels_are_reported_once_each() -> None:
    tree, seen = merkle.Tree(), []
    for batch in (1, 254, 1, 300, 212, 65_000):
        seen += [
            (run.level, run.start + i) for run in tree.extend([b"\0" * 32] * batch) for i in range(len(run.hashes))
        ]
    assert tree.size == 65_768
    assert sorted(seen) == [(8, i) for i in range(256)] + [(16, 0)]


def test_large_trees_agree_with_the_oracle() -> None:
    leaves = numbered(1100)
    trees = subtrees(leaves)
    for index in (0, 255, 256, 511, 512, 1023, 1024, 1099):
        proof = merkle.inclusion_proof(trees, index, 1100)
        assert proof == oracle_path(index, leaves)
    for old in (1, 255, 256, 257, 512, 1000, 1024, 1099, 1100):
        assert merkle.consistency_proof(trees, old, 1100) == oracle_proof(old, leaves)
    assert trees.span(0, 700) == oracle_root(leaves[:700])


def test_every_proof_of_small_trees_verifies_and_every_change_to_it_is_refused() -> None:
    leaves = numbered(20)
    for size in range(1, 21):
        root, trees = oracle_root(leaves[:size]), subtrees(leaves[:size])
        for index in range(size):
            leaf, proof = merkle.leaf_hash(leaves[index]), merkle.inclusion_proof(trees, index, size)
            assert proof == oracle_path(index, leaves[:size])
            merkle.verify_inclusion(leaf, index, size, proof, root)
            wrong = [
                (leaf, index, size, [*proof, root], root),
                (leaf, index, size, [root, *proof], root),
                (leaf, index, size, [*proof, b""], root),
                (leaf, size, size, proof, root),
                (leaf, -1, size, proof, root),
                (leaf, index, 0, proof, root),
                (leaf, index + 1, size, proof, root),
                (leaf, index, size, proof, bytes(32)),
                (bytes(32), index, size, proof, root),
                (leaf[:31], index, size, proof, root),
                (leaf, index, size, proof, root[:31]),
            ]
            for at in range(len(proof)):
                wrong.append((leaf, index, size, proof[:at] + proof[at + 1 :], root))
                wrong.append((leaf, index, size, [*proof[:at], bytes(32), *proof[at + 1 :]], root))
                wrong.append((leaf, index, size, [*proof[:at], proof[at][:-1], *proof[at + 1 :]], root))
            for case in wrong:
                with pytest.raises(Corrupt):
                    merkle.verify_inclusion(*case)
            for other in range(size):
                if other != index:
                    with pytest.raises(Corrupt):
                        merkle.verify_inclusion(leaf, other, size, proof, root)


def test_every_consistency_proof_of_small_trees_verifies_and_every_change_to_it_is_refused() -> None:
    leaves = numbered(18)
    roots = [oracle_root(leaves[:size]) for size in range(19)]
    for new in range(1, 19):
        trees = subtrees(leaves[:new])
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(trees, old, new)
            assert proof == oracle_proof(old, leaves[:new])
            merkle.verify_consistency(old, roots[old], new, roots[new], proof)
            wrong = [
                (old, roots[old], new, roots[new], [*proof, roots[1]]),
                (old, roots[old], new, roots[new], [roots[1], *proof]),
                (0, roots[0], new, roots[new], []),
                (0, roots[0], new, roots[new], proof),
                (old, bytes(32), new, roots[new], proof),
                (old, roots[old], new, bytes(32), proof),
                (old, roots[old][:5], new, roots[new], proof),
            ]
            if old < new:
                wrong.append((new, roots[new], old, roots[old], proof))
                wrong.append((old + 1, roots[old + 1], new, roots[new], [*proof, roots[0]]))
            for at in range(len(proof)):
                wrong.append((old, roots[old], new, roots[new], proof[:at] + proof[at + 1 :]))
                wrong.append((old, roots[old], new, roots[new], [*proof[:at], bytes(32), *proof[at + 1 :]]))
                wrong.append((old, roots[old], new, roots[new], [*proof[:at], proof[at] + b"\0", *proof[at + 1 :]]))
            for case in wrong:
                with pytest.raises(Corrupt):
                    merkle.verify_consistency(*case)


def test_a_wrong_size_is_refused_or_leads_to_the_same_tree_head() -> None:
    # A proof does not always pin the size by itself (RFC 9162 trusts the signed size); the index it always must.
    leaves = numbered(9)
    proof, leaf = oracle_path(8, leaves), merkle.leaf_hash(leaves[8])
    with pytest.raises(Corrupt):
        merkle.verify_inclusion(leaf, 8, 8, proof, oracle_root(leaves))
    with pytest.raises(Corrupt):
        merkle.verify_inclusion(leaf, 8, 1 << 63, proof, oracle_root(leaves))


@given(entries.filter(len), st.data())
def test_random_garbage_is_never_a_proof(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    right = oracle_path(index, leaves)
    proof = data.draw(st.lists(st.binary(min_size=32, max_size=32), max_size=8))
    if proof != right:
        with pytest.raises(Corrupt):
            merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, len(leaves), proof, oracle_root(leaves))


def test_asking_for_what_is_not_in_the_tree() -> None:
    trees = subtrees(numbered(3))
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="no entry"):
            merkle.inclusion_proof(trees, index, size)
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="no consistency proof"):
            merkle.consistency_proof(trees, old, new)
    with pytest.raises(ValueError, match="not complete"):
        trees.perfect(2, 0)
    with pytest.raises(ValueError, match="perfect subtrees"):
        merkle.Tree(3, [b"\0" * 32])
    with pytest.raises(Corrupt, match="missing"):
        merkle.Subtrees(lambda level, start, stop: [], 3).perfect(0, 0)
