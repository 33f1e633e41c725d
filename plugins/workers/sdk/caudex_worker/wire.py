"""Standard input and output, reserved for messages."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from .messages import MAX_FRAME, MAX_TEXT, encode


class Wire:
    """Standard input and output, reserved for messages."""

    def __init__(self) -> None:
        self._out = 1
        self._in = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0
        """The thread of the event loop."""
        self._take_lines: Callable[[bytes | None], None] = lambda lines: None
        self._parts: list[bytes] = []
        """The pieces of an unfinished line."""
        self._held: list[bytes] = []
        """Lines of this turn of the event loop, which are written together."""
        self._size = 0
        self._holding = False
        """Whether `release` writes what is held, so that no callback need do it."""

    def take_over(self) -> None:
        """Reserve the pipes to the server for messages; printed text goes to the log."""
        self._in = os.dup(0)
        self._out = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = PrintedLines(self)

    def listen(
        self, loop: asyncio.AbstractEventLoop, take_lines: Callable[[bytes | None], None]
    ) -> None:
        """Pass on the lines that the server sends, and None at the end."""
        self._loop = loop
        self._home = threading.get_ident()
        self._take_lines = take_lines
        try:
            loop.add_reader(self._in, self._read)
        except (NotImplementedError, OSError):  # a file, which no event loop waits for
            threading.Thread(target=self._read_file, daemon=True).start()

    def _read(self) -> None:
        data = os.read(self._in, 1 << 16)  # what a pipe holds: room for more is made for nothing
        if not data:
            self._take_lines(None)
            return
        lines, end, rest = data.rpartition(b"\n")
        if not end:
            self._parts.append(rest)
            return
        self._parts.append(lines)
        lines = b"".join(self._parts)
        self._parts = [rest]
        self._take_lines(lines)

    def _read_file(self) -> None:
        loop = self._loop
        assert loop is not None
        with os.fdopen(self._in, "rb", closefd=False) as file:
            for line in file:
                loop.call_soon_threadsafe(self._take_lines, line.rstrip())
        loop.call_soon_threadsafe(self._take_lines, None)

    def log(self, level: str, parts: tuple[object, ...], call_id: str | None = None) -> None:
        """Send a line for the log."""
        text = " ".join(map(_show, parts))
        message: dict[str, Any] = {"type": "log", "level": level, "message": text[:MAX_TEXT]}
        if call_id is not None:
            message["call"] = call_id
        self.send(message)

    def send(self, message: dict[str, Any], *, soon: bool = False) -> None:
        """Send a message in one piece: at once, or `soon`, with the others of this turn of the
        event loop."""
        line = encode(message).encode("utf-8", "replace") + b"\n"
        if len(line) > MAX_FRAME:
            raise ValueError(f"the {message['type']} is over {MAX_FRAME // 2**20} MB")
        with self._lock:
            if soon and not self._held:
                soon = threading.get_ident() == self._home
                if soon and not self._holding and self._loop:
                    self._loop.call_soon(self.flush)
            self._held.append(line)
            self._size += len(line)
            if not soon or self._size > 64 * 1024:
                self._write()

    def hold(self) -> None:
        """Announce that `release` is called before the event loop runs anything else."""
        self._holding = True

    def release(self) -> None:
        """Write what was held since `hold`, if that was called."""
        if self._holding:
            self._holding = False
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            if self._held:
                self._write()

    def _write(self) -> None:
        left = memoryview(b"".join(self._held))
        self._held = []
        self._size = 0
        while left:
            try:
                left = left[os.write(self._out, left) :]
            except BrokenPipeError:
                os._exit(0)


class PrintedLines(io.TextIOBase):
    """Standard output after `run`: whole lines become lines of the log."""

    encoding = "utf-8"

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._text = ""
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._text = (self._text + text).split("\n")
            if len(self._text) > MAX_TEXT:
                lines.append(self._text)
                self._text = ""
        for line in lines:
            self._wire.log("stdout", (line,))
        return len(text)

    def flush(self) -> None:
        with self._lock:
            text = self._text
            self._text = ""
        if text:
            self._wire.log("stdout", (text,))


def _show(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
