"""The trees of RFC 6962, and proofs of several leaves."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.audit.evidence.merkle import hash_leaf, hash_node, root_from, root_of, sparse_path

INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
          "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the tests of Certificate Transparency: the roots over the first inputs."""
LEAVES = [hash_leaf(bytes.fromhex(text)) for text in INPUTS]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root_of([]) == sha256(b"").digest()


def split_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962: split at the largest power of two below the size."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hash_node(split_root(leaves[:half]), split_root(leaves[half:]))


@given(st.integers(1, 300))
def test_the_root_follows_the_definition(size: int) -> None:
    leaves = [hash_leaf(b"%d" % number) for number in range(size)]
    assert root_of(leaves) == split_root(leaves)


def test_the_path_of_one_leaf_is_the_audit_path() -> None:
    path = [node.hex() for node in sparse_path(LEAVES[:7], [4])]
    fifth_and_sixth = LEAVES[5].hex()
    assert path == [fifth_and_sixth, LEAVES[6].hex(), ROOTS[3]]


@given(st.integers(1, 200).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1))
))  # fmt: skip
def test_any_leaves_prove_the_root(case: tuple[int, set[int]]) -> None:
    size, shown = case
    leaves = [hash_leaf(b"%d" % number) for number in range(size)]
    path = sparse_path(leaves, shown)
    assert root_from(size, {place: leaves[place] for place in shown}, path) == root_of(leaves)
    forged = {place: leaves[place] for place in shown}
    forged[min(shown)] = hash_leaf(b"forged")
    assert root_from(size, forged, path) != root_of(leaves)
    with pytest.raises(ValueError, match="does not fit"):
        root_from(size, forged, [*path, leaves[0]])
    if path:
        with pytest.raises(ValueError, match="too short"):
            root_from(size, forged, path[:-1])


def test_a_leaf_outside_of_the_tree_proves_nothing() -> None:
    with pytest.raises(ValueError, match="not within the tree"):
        root_from(2, {2: LEAVES[0]}, [])
    with pytest.raises(ValueError, match="does not fit"):
        root_from(2, {}, [])
