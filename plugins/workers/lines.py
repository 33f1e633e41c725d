"""From pieces of a pipe to lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

from .protocol import EDGE, MAX_FRAME, MAX_LINE


class LineSplitter:
    """Hands on whole lines, without their end, and what is left of those that are too long.

    A line that begins like a message may have MAX_FRAME bytes, any other MAX_LINE. Of a longer
    one, `cut` gets the beginning, then the edges (both ends); the rest is skipped.
    """

    def __init__(
        self,
        line: Callable[[bytes], None],
        cut: Callable[[bytes, bytes], None],
        *,
        messages: bool,
    ) -> None:
        self._line = line
        self._cut = cut
        self._messages = messages
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None
        """The beginning of a line that is too long, while it goes on."""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        *lines, rest = data.split(b"\n")
        for piece in lines:
            if self._size or self._head is not None or len(piece) > MAX_LINE:
                self._add(piece)
                self._end()
            else:
                self._line(piece.removesuffix(b"\r"))
        self._add(rest)

    def close(self) -> None:
        """There is no more: the last line may lack its end."""
        if self._size or self._head is not None:
            self._end()

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        if self._head is not None:
            self._tail = (self._tail + piece[-EDGE:])[-EDGE:]
            return
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self._limit():
            whole = b"".join(self._parts)
            self._head, self._tail = whole[:MAX_LINE], whole[-EDGE:]
            self._parts, self._size = [], 0

    def _limit(self) -> int:
        return MAX_FRAME if self._messages and self._parts[0].startswith(b"{") else MAX_LINE

    def _end(self) -> None:
        if self._head is not None:
            head, edges = self._head, self._head[:EDGE] + b"\n" + self._tail
            self._head, self._tail = None, b""
            self._cut(head, edges)
            return
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        self._line(line.removesuffix(b"\r"))
