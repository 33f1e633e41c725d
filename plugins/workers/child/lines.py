"""Makes lines of what a child writes."""

from __future__ import annotations

from collections import deque

from .listener import Listener
from .protocol import EDGE, MAX_FRAME, MAX_LINE, find_ids, to_text


class LineSplitter:
    """Makes lines of the pieces that a pipe delivers, in bounded memory.

    A subclass says what becomes of a line, and how long one may be. Of a longer line it gets the
    beginning and the edges (both ends); the rest is skipped.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._pieces: deque[bytes] = deque()
        self._lines: deque[bytes] = deque()
        """The lines of the piece before; the first one ends what is unfinished."""
        self._rest = b""
        """What follows them."""
        self._is_closed = False
        self._begun = bytearray()
        """An unfinished line; a list of small pieces would cost more memory than they hold."""
        self._head: bytes | None = None
        """The beginning of a line that is too long, while it is unfinished."""
        self._tail = b""

    # What a subclass says

    def take_line(self, line: bytes) -> None:
        """Take a line, without its end."""
        raise NotImplementedError

    def take_cut_line(self, head: bytes, edges: bytes) -> None:
        """Take what is left of a line that is too long."""
        raise NotImplementedError

    def find_limit(self, begun: bytearray) -> int:
        """Return how many bytes a line that begins like this may have."""
        raise NotImplementedError

    # Pieces in, lines out

    @property
    def has_line(self) -> bool:
        """Whether `pass_on` has something to do."""
        return bool(self._lines or self._pieces) or (self._is_closed and self._is_unfinished)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if data:
            self._pieces.append(data)

    def close(self) -> None:
        """Take note that no piece follows: the last line may lack its end."""
        self._is_closed = True

    def pass_on(self) -> bool:
        """Pass on the next line if it is complete, and return whether there is more to do.

        It is consumed even if the receiver raises.
        """
        lines = self._lines
        pieces = self._pieces
        while not lines and pieces:
            if self._rest:
                self._add(self._rest)
            *complete, self._rest = pieces.popleft().split(b"\n")
            lines.extend(complete)

        if lines:
            line = lines.popleft()
            if self._begun or self._head is not None or len(line) > MAX_LINE:
                self._end_line(line)
            else:
                self.take_line(line.removesuffix(b"\r"))
        elif self._is_closed and self._is_unfinished:
            last = self._rest
            self._rest = b""
            self._end_line(last)
        return bool(lines or pieces) or (self._is_closed and self._is_unfinished)

    @property
    def _is_unfinished(self) -> bool:
        return bool(self._begun or self._rest) or self._head is not None

    def _add(self, piece: bytes) -> None:
        """Add a piece to the unfinished line."""
        if self._head is not None:
            self._tail = (self._tail + piece[-EDGE:])[-EDGE:]
            return
        self._begun += piece
        if len(self._begun) > self.find_limit(self._begun):
            self._head = bytes(self._begun[:MAX_LINE])
            self._tail = bytes(self._begun[-EDGE:])
            self._begun = bytearray()

    def _end_line(self, piece: bytes) -> None:
        """Pass on the unfinished line, which this piece ends."""
        if self._begun or self._head is not None or len(piece) > MAX_LINE:
            self._add(piece)
            piece = bytes(self._begun)
            self._begun = bytearray()
        if self._head is None:
            self.take_line(piece.removesuffix(b"\r"))
            return
        head = self._head
        edges = head[:EDGE] + b"\n" + self._tail
        self._head = None
        self._tail = b""
        self.take_cut_line(head, edges)


class OutputLines(LineSplitter):
    """Lines of standard output. One that begins like a message may have MAX_FRAME bytes."""

    def take_line(self, line: bytes) -> None:
        """See `LineSplitter`."""
        self._listener.on_line(line)

    def take_cut_line(self, head: bytes, edges: bytes) -> None:
        """Report a message that is too long: its id names the call that waits for it."""
        if head.startswith(b"{"):
            self._listener.on_unreadable(find_ids(edges), "the reply is over 10 MB")
            self._listener.on_noise("system", f"a message over {MAX_FRAME // 10**6} MB was dropped")
        else:
            self._listener.on_noise("stdout", f"{to_text(head)}...")

    def find_limit(self, begun: bytearray) -> int:
        """See `LineSplitter`."""
        return MAX_FRAME if begun.startswith(b"{") else MAX_LINE


class ErrorLines(LineSplitter):
    """Lines of standard error, none of which is a message."""

    def take_line(self, line: bytes) -> None:
        """See `LineSplitter`."""
        self._listener.on_noise("stderr", to_text(line))

    def take_cut_line(self, head: bytes, edges: bytes) -> None:
        """See `LineSplitter`."""
        self._listener.on_noise("stderr", f"{to_text(head)}...")

    def find_limit(self, begun: bytearray) -> int:
        """See `LineSplitter`."""
        return MAX_LINE
