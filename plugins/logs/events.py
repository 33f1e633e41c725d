"""Lines as server-sent events (WHATWG HTML, 9.2), encoded once for all readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from kernel.public import LogBatch, LogLine

BATCH_SIZE: Final = 64_000
"""Bytes of events that fill a batch, with its last line. A slow client has half a minute for it."""


def event(line: LogLine) -> bytes:
    """Write a line as an event. JSON never spans two lines."""
    data = msgspec.json.encode({"level": line.level, "message": line.message, "ts": line.ts})
    if line.id:
        return b"id: %d\ndata: %b\n\n" % (line.id, data)
    return b"data: %b\n\n" % data


def batches(lines: Iterable[LogLine]) -> Iterator[LogBatch]:
    """Encode lines in batches. What is taken from `lines` is not kept here."""
    batch: list[LogLine] = []
    events: list[bytes] = []
    size = 0
    for line in lines:
        encoded = event(line)
        batch.append(line)
        events.append(encoded)
        size += len(encoded)
        if size >= BATCH_SIZE:
            yield LogBatch(batch, b"".join(events))
            batch = []
            events = []
            size = 0
    if batch:
        yield LogBatch(batch, b"".join(events))


def remark(message: str) -> LogBatch:
    """A line of the server's own, without a place in the log: its id is 0."""
    line = own_line(message)
    return LogBatch([line], event(line))


def own_line(message: str) -> LogLine:
    """A line that the server adds to a stream; it is not stored, so its id is 0."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return LogLine(id=0, level="system", message=message, ts=now)
