"""Logging: structlog, pretty on a terminal and JSON elsewhere, redacted, never blocking."""

from __future__ import annotations

import logging
import os
import queue
import re
import select
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

from kernel.config.settings import LogConfig

HIDDEN = re.compile(
    r"passw|secret|token|authorization|cookie|dsn|database_url|api_?key", re.IGNORECASE
)
MASKED = re.compile(
    # JSON web tokens, with the word that one begins in: each word is looked at once.
    r"(?<![\w-])(?=[\w-]*?eyJ[\w-]{8})[\w-]+\.[\w-]+\.[\w-]+"
    r"|(?<=://)[^/@\s:]*:[^@\s]{1,500}(?=@)"  # the password part of a connection string
    r"|(?<=password=)('[^']*'|[^\s&]+)"
)
QUEUE = 5_000
"""Lines that wait for a reader; what comes on top is dropped and counted."""
LINE = 20_000
"""Characters of a line that are kept."""


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
    """Drop values under telling names, mask tokens and passwords within texts."""
    for key, value in event.items():
        event[key] = masked(value) if key == "event" else _told(key, value)
    return event


def _told(key: str, value: Any) -> Any:
    return "[hidden]" if HIDDEN.search(key) else masked(value)


def masked(value: Any) -> Any:
    """Hide what looks like a token or a password in a value, however deep."""
    match value:
        case None | int() | float():
            return value
        case str():
            return MASKED.sub("[hidden]", value[:LINE])
        case {**members}:
            return {str(key): _told(str(key), member) for key, member in members.items()}
        case [*items]:
            return [masked(item) for item in items]
        case _:
            return MASKED.sub("[hidden]", str(value)[:LINE])


class NonBlockingWriter:
    """Writes lines on a thread of its own; what a stalled reader leaves no room for is counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[str] = queue.Queue(QUEUE)
        self.dropped = 0
        threading.Thread(target=self._drain, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Queue a line, or count it as dropped."""
        try:
            self._queue.put_nowait(text if len(text) < LINE else f"{text[:LINE]}...\n")
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the thread flushes."""

    def close(self, seconds: float = 1.0) -> None:
        """Wait for the queued lines, for a bounded time."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)

    def _drain(self) -> None:
        while True:
            text = self._queue.get()
            if dropped := self.dropped:
                self.dropped -= dropped
                text += f"{dropped} log lines were dropped: the reader was too slow\n"
            try:
                self._put(text)
            except (OSError, ValueError):
                self.dropped += 1
            finally:
                self._queue.task_done()

    def _put(self, text: str) -> None:
        """Write past the stream's buffer: its lock, held by a thread that a stalled reader blocks,
        would abort the interpreter at its end."""
        try:
            handle = self._stream.fileno()
        except (OSError, ValueError):
            self._stream.write(text)
            return
        data = text.encode("utf-8", "backslashreplace")
        while data:
            try:
                data = data[os.write(handle, data) :]
            except BlockingIOError:
                select.select([], [handle], [])


class _ToStructlog(logging.Handler):
    """Takes what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, without the tracebacks that a library logs for our own aborts."""
        logger = structlog.get_logger(record.name)
        tell = logger.error if record.levelno >= logging.ERROR else logger.warning
        error = record.exc_info[1] if record.exc_info else None
        detail = {"error": f"{type(error).__name__}: {error}"} if error else {}
        tell(record.getMessage().strip(), **detail)


def configure(config: LogConfig, stream: TextIO | None = None) -> NonBlockingWriter:
    """Set logging up for the process and return the writer, to be closed last."""
    target = stream or sys.stderr
    writer = NonBlockingWriter(target)
    pretty = config.format == "pretty" or (config.format == "auto" and target.isatty())
    level = logging.getLevelNamesMapping()[config.level.upper()]
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            _bounded(_pretty(target.isatty()) if pretty else structlog.processors.JSONRenderer()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each cancelled statement
    return writer


def _bounded(render: Processor) -> Processor:
    """Shorten the values of a line that is too long: cut as a whole it would be no JSON."""

    def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        line: Any = render(logger, method, dict(event))
        for most in (LINE // 10, 200):
            if len(line) < LINE:
                break
            short = {key: _shortened(value, most) for key, value in event.items()}
            line = render(logger, method, short)
        return line

    return rendered


def _shortened(value: Any, most: int) -> Any:
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _pretty(colors: bool) -> Processor:
    """Values as Python literals, so that no control character reaches the terminal."""
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        repr_native_str=True,
        exception_formatter=structlog.dev.plain_traceback,
    )
