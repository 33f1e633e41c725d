"""Sends replies: with the headers of every reply, in one piece where the server can do that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from starlette.types import Message, Send

Headers = Sequence[tuple[bytes, bytes]]
SendWhole = Callable[[int, Headers, bytes], bool]

CACHING: Final = b"cache-control"
LENGTH: Final = b"content-length"
OPENER: Final = b"cross-origin-opener-policy"
RESOURCE: Final = b"cross-origin-resource-policy"
SAFE: Final = [
    (CACHING, b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (OPENER, b"same-origin"),
    (RESOURCE, b"same-origin"),
]
REPLACEABLE: Final = frozenset({CACHING, OPENER, RESOURCE})
"""Headers of every reply that a reply may have in its own way."""
ALLOWED: Final = (
    b"Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Prefer, X-Request-Id,"
    b" X-Setup-Token, Last-Event-ID, Caudex-Position"
)
PREFLIGHT: Final = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", ALLOWED),
    (b"access-control-max-age", b"600"),
]


class Sender:
    """Adds the headers of every reply, and knows whether the reply has begun.

    The head of a reply of known length waits for the body, so that both are sent in one piece where
    the server can do that (`kernel.contracts.server.HttpServer`).
    """

    __slots__ = (
        "_head", "_send", "_send_whole", "answered_at", "headers", "started", "status",
    )  # fmt: skip

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._send_whole: SendWhole | None = getattr(send, "send_whole", None)
        self._head: Message | None = None
        """The head that waits for its body."""
        self.headers = headers
        self.started = False
        self.status = 0
        """Of the reply, once it has begun."""
        self.answered_at = 0.0
        """When a reply in pieces began: it may last as long as its reader likes."""

    def send_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a reply with its own `headers`; return False where ASGI messages are needed."""
        if self._send_whole is None:
            return False
        is_sent = self._send_whole(status, [*headers, *self._find_common(headers)], body)
        if is_sent:
            self.started = True
            self.status = status
        return is_sent

    async def send_preflight(self) -> None:
        """Answer the question of a browser whether it may send a request of another origin."""
        if any(name == b"access-control-allow-origin" for name, _ in self.headers):
            self.headers += PREFLIGHT
        await self({"type": "http.response.start", "status": 204, "headers": []})
        await self({"type": "http.response.body", "body": b""})

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_at = perf_counter()
            headers = message.get("headers", ())
            message["headers"] = [*headers, *self._find_common(headers)]
            if self._send_whole is not None and any(name == LENGTH for name, _ in headers):
                self._head = message
                return
        elif self._head is not None and self._send_whole is not None:
            head = self._head
            self._head = None
            self.started = True
            is_last = not message.get("more_body", False)
            body = message.get("body", b"")
            if is_last and self._send_whole(head["status"], head["headers"], body):
                return
            await self._send(head)
        self.started = True
        await self._send(message)

    def _find_common(self, headers: Headers) -> Headers:
        """Return what to add to a reply's own `headers`, which have precedence."""
        replaced = REPLACEABLE.intersection([name for name, _ in headers])
        if not replaced:
            return self.headers
        return [(name, text) for name, text in self.headers if name not in replaced]
