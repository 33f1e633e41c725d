"""Logging: structlog, pretty on a terminal and JSON elsewhere, redacted, never blocking."""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

from kernel.config import LogConfig

HIDDEN = re.compile(
    r"passw|secret|token|authorization|cookie|dsn|database_url|api_?key", re.IGNORECASE
)
MASKED = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"  # JSON web tokens
    r"|(?<=://)[^/@\s:]*:[^@\s]+(?=@)"  # the password part of a connection string
)
QUEUE = 10_000


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
    """Drop values under telling names, mask tokens and passwords within texts."""
    for key, value in event.items():
        if key != "event" and HIDDEN.search(key):
            event[key] = "[hidden]"
        elif isinstance(value, str):
            event[key] = MASKED.sub("[hidden]", value)
    return event


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
            self._queue.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the thread flushes."""

    def close(self, seconds: float = 1.0) -> None:
        """Wait for the queued lines, for a bounded time."""
        done = threading.Event()
        threading.Thread(target=lambda: (self._queue.join(), done.set()), daemon=True).start()
        done.wait(seconds)

    def _drain(self) -> None:
        while True:
            text = self._queue.get()
            if self.dropped:
                text = f"{text}{self.dropped} log lines were dropped: the reader was too slow\n"
                self.dropped = 0
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += 1
            finally:
                self._queue.task_done()


class _ToStructlog(logging.Handler):
    """Takes what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, without the tracebacks that a library logs for our own aborts."""
        logger = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        detail = {"error": f"{type(error).__name__}: {error}"} if error else {}
        logger.log(record.levelno, record.getMessage().strip(), **detail)


def configure(config: LogConfig, stream: TextIO | None = None) -> NonBlockingWriter:
    """Set logging up for the process and return the writer, to be closed last."""
    target = stream or sys.stderr
    writer = NonBlockingWriter(target)
    pretty = config.format == "pretty" or (config.format == "auto" and target.isatty())
    level = logging.getLevelNamesMapping()[config.level.upper()]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=target.isatty())
        if pretty
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(level, logging.WARNING))
    return writer
