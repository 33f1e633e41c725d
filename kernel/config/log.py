"""Logging: structlog, pretty on a terminal and JSON elsewhere, redacted, never blocking."""

from __future__ import annotations

import logging
import os
import queue
import re
import select
import sys
import warnings
from collections.abc import MutableMapping
from functools import lru_cache
from logging.handlers import QueueListener
from pathlib import Path
from typing import Any, ClassVar, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

from kernel import BUNDLES
from kernel.config.settings import LogConfig

HIDDEN = re.compile(
    r"passw|secret|token|authorization|cookie|dsn|database_url|api_?key", re.IGNORECASE
)
MASKED = re.compile(
    # JSON web tokens, with the word that one begins in: each word is looked at once.
    r"(?<![\w-])(?=[\w-]*?eyJ[\w-]{8})[\w-]+\.[\w-]+\.[\w-]+"
    r"|\bcdx_[0-9A-Za-z]{20,200}"  # API keys
    r"|(?<=://)[^/@\s:]*:[^@\s]{1,500}(?=@)"  # the password part of a connection string
    r"|(?<=password=)('[^']*'|[^\s&]+)"
)
QUEUE = 5_000
"""Lines that wait for the reader; further ones are dropped and counted."""
LINE = 20_000
"""Characters of a line that are kept."""


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
    """Hide values under names such as `token`; mask tokens and passwords within texts."""
    for key, value in event.items():
        event[key] = mask(value) if key == "event" else _hide(key, value)
    return event


def _hide(key: str, value: Any) -> Any:
    return "[hidden]" if HIDDEN.search(key) else mask(value)


def mask(value: Any) -> Any:
    """Hide what looks like a token or a password in a value, however deep."""
    match value:
        case None | int() | float():
            return value
        case str():
            return MASKED.sub("[hidden]", value[:LINE])
        case {**members}:
            return {str(key): _hide(str(key), member) for key, member in members.items()}
        case [*items]:
            return [mask(item) for item in items]
        case _:
            return MASKED.sub("[hidden]", str(value)[:LINE])


class NonBlockingWriter(QueueListener):
    """Writes lines on the listener's thread; counts lines dropped while its queue is full."""

    latest: ClassVar[NonBlockingWriter | None] = None
    """The one that the process logs to."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = queue.Queue[str](QUEUE)
        super().__init__(self._lines)
        self._stream = stream
        self.dropped = 0
        NonBlockingWriter.latest = self
        self.start()

    def write(self, text: str) -> None:
        """Queue a line, or count it as dropped."""
        try:
            self._lines.put_nowait(text if len(text) < LINE else f"{text[:LINE]}...\n")
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Do nothing: the thread does not buffer."""

    def close(self, seconds: float = 1.0) -> None:
        """Wait for the queued lines, for a bounded time; `stop` would wait for a stalled reader."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def handle(self, record: Any) -> None:
        """Write one line, called by the thread."""
        dropped = self.dropped
        if dropped:
            self.dropped -= dropped
            record += f"{dropped} log lines were dropped: the reader was too slow\n"
        try:
            self._put(record)
        except (OSError, ValueError):
            self.dropped += 1

    def _put(self, text: str) -> None:
        """Write past the stream's buffer: a stalled reader would block the thread with the buffer's
        lock, and the interpreter aborts at its end when it cannot take that."""
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


def write_out() -> None:
    """Wait for the lines that are queued, for a bounded time."""
    if NonBlockingWriter.latest is not None:
        NonBlockingWriter.latest.close()


class _ToStructlog(logging.Handler):
    """Passes records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, without the tracebacks that libraries log when Caudex aborts."""
        logger = structlog.get_logger(record.name)
        write = logger.error if record.levelno >= logging.ERROR else logger.warning
        message = record.getMessage().strip()
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            write(message)
        else:
            write(message, error=f"{type(error).__name__}: {error}")


def configure(config: LogConfig, stream: TextIO | None = None) -> NonBlockingWriter:
    """Set up logging for the process and return the writer, to be closed last."""
    target = stream or sys.stderr
    writer = NonBlockingWriter(target)
    is_terminal = target.isatty()
    is_pretty = config.format == "pretty" or (config.format == "auto" and is_terminal)
    renderer = _make_renderer(is_terminal) if is_pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            _bounded(renderer),
        ],
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    logging.getLogger().handlers = [_ToStructlog()]
    warnings.showwarning = _on_warning
    set_level(config.level)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each cancelled statement
    return writer


def _on_warning(message: object, _kind: object, file: str, line: int, *_: object) -> None:
    _warn_once(str(message), Path(file), line)


@lru_cache(1000)
def _warn_once(message: str, path: Path, line: int) -> None:
    """Log a warning of Python, with the plugin whose code it is."""
    root = next(folder for folder in path.parents if not (folder / "__init__.py").is_file())
    names = [name for name in path.relative_to(root).parts if name not in BUNDLES]
    plugin = names[0].removesuffix(".py").removeprefix("caudex_")
    fields = {"plugin": plugin, "at": f"{path}:{line}"}
    if message.endswith("was never awaited"):
        fields["remedy"] = "await it"
    structlog.get_logger("caudex.plugins").warning(message, **fields)


def set_level(name: str) -> None:
    """Write lines of this level and above: `debug`, `info`, `warning` or `error`."""
    level = logging.getLevelNamesMapping()[name.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    logging.getLogger().setLevel(max(level, logging.WARNING))


def _bounded(render: Processor) -> Processor:
    """Shorten the values of a line that is too long: cutting the line would break its JSON."""

    def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        line: Any = render(logger, method, dict(event))
        for limit in (LINE // 10, 200):
            if len(line) < LINE:
                break
            short = {key: _shorten(value, limit) for key, value in event.items()}
            line = render(logger, method, short)
        return line

    return rendered


def _shorten(value: Any, limit: int) -> Any:
    text = str(value)
    if len(text) <= limit:
        return value
    half = limit // 2
    return f"{text[:half]} ... {text[-half:]}"


def _make_renderer(colors: bool) -> Processor:
    """Show values as Python literals, so that no control character reaches the terminal."""
    return structlog.dev.ConsoleRenderer(
        colors=colors, repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
    )
