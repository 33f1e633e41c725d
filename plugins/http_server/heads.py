"""The heads of requests that a server process has read before.

A client that keeps its connection sends the same headers again and again. A request in one piece
whose headers were read before needs no parser: its first line is checked against a strict pattern,
and its body has the length that the headers say.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec

Headers = Sequence[tuple[bytes, bytes]]

MAX_HEADS: Final = 500
"""Heads that are remembered, those that were used last."""
MAX_BYTES: Final = 4096
"""Bytes of a head that is remembered."""

_FIRST_LINE: Final = re.compile(
    rb"(GET|POST|PATCH|PUT|DELETE) (/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)"
    rb"(?:\?([A-Za-z0-9._~%!$&'()*+,;=:@/?-]*))? HTTP/1\.1\r\n"
)
"""What the parser takes as well, and nothing that it refuses."""
_END: Final = b"\r\n\r\n"
_FRAMING: Final = frozenset({b"transfer-encoding", b"upgrade", b"expect"})
"""Headers with which a request has another end than its length says, or waits for an answer."""


class KnownHead(msgspec.Struct, frozen=True):
    """The headers of a request that the parser has taken, and the length of its body in bytes."""

    headers: Headers
    body_size: int


class KnownRequest(msgspec.Struct, frozen=True):
    """A whole request, read without the parser."""

    method: str
    path: bytes
    query: bytes
    head: KnownHead
    body: bytes


class KnownHeads:
    """Remembers the headers of requests by their bytes."""

    def __init__(self) -> None:
        self._heads = OrderedDict[bytes, KnownHead]()

    def __len__(self) -> int:
        return len(self._heads)

    def read(self, data: bytes) -> KnownRequest | None:
        """Read a piece that is one whole request with a known head; None for any other."""
        line = _FIRST_LINE.match(data)
        if line is None:
            return None
        head_end = data.find(_END) + len(_END)
        block = data[line.end() : head_end]
        head = self._heads.get(block)
        if head is None or len(data) - head_end != head.body_size:
            return None
        self._heads.move_to_end(block)
        method, path, query = line.groups(b"")
        return KnownRequest(method.decode("ascii"), path, query, head, data[head_end:])

    def remember(self, data: bytes, headers: Headers) -> None:
        """Remember the `headers` that the parser has found last, if the piece is one whole request.

        Of several requests nothing is remembered: what follows the first head is longer than the
        body of the last request.
        """
        line = _FIRST_LINE.match(data)
        if line is None:
            return
        head_end = data.find(_END) + len(_END)
        block = data[line.end() : head_end]
        if len(block) > MAX_BYTES:
            return
        body_size = _body_size(headers)
        if body_size is None or len(data) - head_end != body_size:
            return
        self._heads[block] = KnownHead(tuple(headers), body_size)
        if len(self._heads) > MAX_HEADS:
            self._heads.popitem(last=False)


def _body_size(headers: Headers) -> int | None:
    """Return the bytes of a body by its headers; None where they say it in another way."""
    sizes = list[bytes]()
    for name, value in headers:
        if name in _FRAMING:
            return None
        if name == b"connection" and value.lower() != b"keep-alive":
            return None
        if name == b"content-length":
            sizes.append(value)
    if not sizes:
        return 0
    if len(sizes) > 1 or not sizes[0].isdigit():
        return None
    return int(sizes[0])


KNOWN_HEADS: Final = KnownHeads()
