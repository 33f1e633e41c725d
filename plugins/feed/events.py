"""Events of a feed as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from kernel.public import ChangeLoss, CommittedChange, Verdict, WatchEnd

EndReason = (
    Literal["session", "token expired", "key", "user disabled", "too slow", "the server stops"]
    | WatchEnd
)
ResyncReason = ChangeLoss | Literal["value too large"]

RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds until a client that lost its connection comes back."""

_encode = msgspec.json.Encoder().encode


def write_event(name: str, data: Any, position: str | None = None) -> bytes:
    """Write an event. JSON never spans two lines."""
    identity = b"" if position is None else b"id: %b\n" % position.encode()
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity, _encode(data))


def write_change(
    subscription: str | None, change: CommittedChange, verdict: Verdict, place: str
) -> bytes:
    """Write what a change is for a subscription."""
    data: dict[str, Any] = {}
    if subscription is not None:
        data["subscription"] = subscription
    data["entity"] = change.entity
    data["id"] = change.record_id
    if verdict.record is not None:
        data["record"] = msgspec.Raw(verdict.record)
    data["at"] = change.at
    data["actor"] = change.actor
    data["request"] = change.request
    if verdict.truncated:
        data["truncated"] = verdict.truncated
    return write_event(verdict.event, data, place)


def write_ready(position: str) -> bytes:
    """Say that everything up to now was sent."""
    return write_event("ready", {"position": position}, position)


def write_resync(reason: ResyncReason, position: str) -> bytes:
    """Say that the client has to read its list again, and from where the stream goes on."""
    return write_event("resync", {"reason": reason}, position) + write_ready(position)


def is_resync(events: bytes) -> bool:
    """Whether events begin with one that says to read the list again."""
    return events.startswith(b"event: resync\n")


def write_page(reply: bytes, position: str) -> bytes:
    """Write the reply of a query. Line feeds are between its records only."""
    line = reply.replace(b"\n", b"")
    return b"event: page\nid: %b\ndata: %b\n\n" % (position.encode(), line)


def write_end(reason: EndReason) -> bytes:
    """Say why the stream ends."""
    return write_event("end", {"reason": reason})


def write_heartbeat(position: str) -> bytes:
    """Send the newest position without an event."""
    return b":\nid: %b\n\n" % position.encode()
