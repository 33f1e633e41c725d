"""Merkle trees as RFC 6962 has them (section 2.1): leaves and nodes are hashed apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

LEAF: Final = b"\x00"
NODE: Final = b"\x01"


def hash_leaf(content: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(LEAF + content).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two others."""
    return sha256(NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over hashes of leaves; of none it is the hash of nothing.

    To pair neighbours and hand on an odd last one gives the tree of RFC 6962, which splits at the
    largest power of two.
    """
    if not leaves:
        return sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def sparse_path(leaves: Sequence[bytes], shown: Collection[int]) -> list[bytes]:
    """Return the hashes that the root needs beside those of the shown leaves, level by level.

    For one leaf this is the audit path of RFC 6962.
    """
    path = list[bytes]()
    level = list(leaves)
    known_places = set(shown)
    while len(level) > 1:
        for left in sorted({place & ~1 for place in known_places}):
            right = left + 1
            if right == len(level):
                continue
            if left not in known_places:
                path.append(level[left])
            elif right not in known_places:
                path.append(level[right])
        level = _next_level(level)
        known_places = {place // 2 for place in known_places}
    return path


def root_from(size: int, shown: Mapping[int, bytes], path: Sequence[bytes]) -> bytes:
    """Return the root of a tree of `size` leaves from those that are shown, and their path.

    Raises ValueError where the path has too few or too many hashes.
    """
    if any(place not in range(size) for place in shown):
        raise ValueError("a leaf is not within the tree")
    hashes = iter(path)
    level = dict(shown)
    while size > 1:
        level = dict(_join(level, size, hashes))
        size = (size + 1) // 2
    if next(hashes, None) is not None or level.keys() != {0}:
        raise ValueError("the path does not fit the tree")
    return level[0]


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    nodes = [
        sha256(NODE + left + right).digest()
        for left, right in zip(level[::2], level[1::2], strict=False)
    ]
    if len(level) % 2:
        nodes.append(level[-1])
    return nodes


def _join(
    level: Mapping[int, bytes], size: int, hashes: Iterator[bytes]
) -> Iterator[tuple[int, bytes]]:
    """Yield the known nodes above a level that has `size` nodes."""
    for left in sorted({place & ~1 for place in level}):
        right = left + 1
        if right == size:
            yield left // 2, level[left]
            continue
        try:
            node = hash_node(
                level[left] if left in level else next(hashes),
                level[right] if right in level else next(hashes),
            )
        except StopIteration:
            raise ValueError("the path is too short") from None
        yield left // 2, node
