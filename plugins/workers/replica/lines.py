"""From pieces of a pipe to lines, in bounded memory."""

from __future__ import annotations

from collections import deque
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
        self._pieces: deque[bytes] = deque()
        self._at = 0
        """Where the first piece goes on."""
        self._closed = False
        self._begun = bytearray()
        """What there is of a line that goes on; one buffer, or small pieces would cost more than
        they hold."""
        self._head: bytes | None = None
        """The beginning of a line that is too long, while it goes on."""
        self._tail = b""

    @property
    def waits(self) -> bool:
        """Whether `hand_on` has something to do."""
        return bool(self._pieces) or (self._closed and self._goes_on)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if data:
            self._pieces.append(data)

    def close(self) -> None:
        """There is no more: the last line may lack its end."""
        self._closed = True

    def hand_on(self) -> None:
        """Hand on the next line, if it is whole; it is done with, even if who gets it raises."""
        while self._pieces:
            data, at = self._pieces[0], self._at
            end = data.find(b"\n", at)
            if end >= 0:
                self._at = end + 1
                self._end(data[at:end])
                return
            self._add(data[at:])
            self._pieces.popleft()
            self._at = 0
        if self._closed and self._goes_on:
            self._end(b"")

    @property
    def _goes_on(self) -> bool:
        return bool(self._begun) or self._head is not None

    def _add(self, piece: bytes) -> None:
        if self._head is not None:
            self._tail = (self._tail + piece[-EDGE:])[-EDGE:]
            return
        self._begun += piece
        if len(self._begun) > self._limit():
            self._head, self._tail = bytes(self._begun[:MAX_LINE]), bytes(self._begun[-EDGE:])
            self._begun = bytearray()

    def _limit(self) -> int:
        return MAX_FRAME if self._messages and self._begun.startswith(b"{") else MAX_LINE

    def _end(self, piece: bytes) -> None:
        if self._goes_on or len(piece) > MAX_LINE:
            self._add(piece)
            piece, self._begun = bytes(self._begun), bytearray()
        if self._head is None:
            self._line(piece.removesuffix(b"\r"))
            return
        head, edges = self._head, self._head[:EDGE] + b"\n" + self._tail
        self._head, self._tail = None, b""
        self._cut(head, edges)
