"""uvicorn's HTTP protocol with deadlines and limits for clients.

uvicorn has no public way to bound the head and the rate of a request, so its protocol is
subclassed.
"""

from __future__ import annotations

import asyncio
import re
from random import getrandbits
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kernel.public import request_id_of

from .connections import CONNECTIONS
from .cycle import Cycle, MessageEvent
from .heads import KNOWN_HEADS, KnownRequest
from .memory import MEMORY
from .slow_clients import (
    BODY_FLOOR,
    FEW_WAITING,
    UNTAKEN,
    BodyArrival,
    BoundedFlow,
    IdlePause,
    ReplyTaking,
)

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

GRACE_SECONDS = 10.0
"""Time for a head, and for the beginning of a body."""
HEAD_BYTES = 64 * 1024
"""Maximum size of a head, and of the framing around the chunks of a body."""
MAX_UNREAD = 64_000_000
"""Bytes of a body that are discarded after the reply, so that the client can read the reply."""

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_SLASH = ord("/")


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections with a slow or endless head (slowloris), a slow body, a refused body that
    does not end, or a reply that is not read.

    A request in one piece with a reply in one piece sets no timer.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False
    _in_body = False
    _is_between = False
    """Whether the parser expects the first byte of a request, and nothing of it has arrived."""
    _body: BodyArrival
    _idling: IdlePause
    _taking: ReplyTaking
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer: a silent connection is closed too."""
        super().connection_made(transport)
        self.flow = BoundedFlow(transport, self.pipeline)
        self._body = BodyArrival()
        self._idling = IdlePause(self)
        self._taking = ReplyTaking(transport, self.loop)
        self._in_head = True
        self._is_between = True
        self._time_head()
        CONNECTIONS.add(self, self.client[0] if self.client else "")

    @property
    def is_silent(self) -> bool:
        """Whether no request is under way: none has arrived whole, or all are answered."""
        return not self._in_body and self._is_answered()

    @property
    def is_idle(self) -> bool:
        """Whether all requests are answered, and nothing of another one has arrived."""
        return not self._in_head and self._is_answered() and not self.transport.is_closing()

    def end(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        CONNECTIONS.remove(self)
        UNTAKEN.remove(self)
        self._stop_clock()
        self._taking.end()
        self._idling.end()
        super().connection_lost(exc)
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True  # uvicorn sets it for the last cycle only
            running.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Read a request with a known head, or let the parser read."""
        if not self._is_between:
            self._parse(data)
            return
        request = KNOWN_HEADS.read(data)
        if request is not None:
            self._begin_known(request)
            return
        self._parse(data)
        if self._is_between:
            KNOWN_HEADS.remember(data, self.scope["headers"])  # type: ignore[arg-type]

    def _parse(self, data: bytes) -> None:
        """Let the parser read. Count the bytes of an incomplete head, and of a body."""
        self._is_between = False
        # `in` takes what is sought for a number first, and catches the error that this raises.
        if not self._in_body and (data.find(b"pgrade:") >= 0 or data.find(b"PGRADE:") >= 0):
            data = _without_upgrade(data)
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head:
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, "the head of the request is too large")
            elif self._timer is None:
                self._time_head()
        elif self._in_body:
            self._count_body(len(data))
        elif self._head_bytes == 0:
            cycle: Any = self.cycle
            self._is_between = cycle is not None and cycle.keep_alive

    def _begin_known(self, request: KnownRequest) -> None:
        """Begin a whole request as the callbacks of the parser do."""
        self.expect_100_continue = False
        self.scope = {  # type: ignore[typeddict-item]
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": self.root_path,
            "headers": list(request.head.headers),
            "state": self.app_state.copy(),
            "method": request.method,
            "raw_path": request.path,
            "path": _decode_path(request.path),
            "query_string": request.query,
        }
        if not self._begin_cycle(is_kept_alive=True):
            return
        cycle: Any = self.cycle
        cycle.body = request.body
        cycle.more_body = False
        cycle.message_event.set()
        self._stop_clock()

    def pause_writing(self) -> None:
        """Too much of a reply waits: check whether the client reads it."""
        super().pause_writing()
        UNTAKEN.add(self, self.transport.get_write_buffer_size())
        self._taking.begin()

    def resume_writing(self) -> None:
        """The client has read it."""
        UNTAKEN.remove(self)
        self._taking.end()
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Handle a complete head, or queue it behind earlier requests."""
        self._stop_clock()
        head_bytes = self._head_bytes
        self._head_bytes = 0
        if head_bytes > HEAD_BYTES and self._head_size() > HEAD_BYTES:
            self._refuse(431, "the head of the request is too large")
            raise httptools.HttpParserError("its body is not that of the request before it")
        parser: Any = self.parser
        version = parser.get_http_version()
        raw_path, query = _split_target(self.url)
        self._complete_scope(version, parser.get_method().decode("ascii"), raw_path, query)
        self.headers = []  # trailers are no part of the head (RFC 9110, 6.5.1)
        if not self._begin_cycle(is_kept_alive=version != "1.0" and parser.should_keep_alive()):
            raise httptools.HttpParserError("too many requests wait")

    def _begin_cycle(self, *, is_kept_alive: bool) -> bool:
        """Start the request that the scope describes, or queue it behind earlier ones.

        Return False where too many wait: the connection closes.
        """
        app: ASGI3Application = self.app  # type: ignore[assignment]
        previous: Cycle | None = self.cycle  # type: ignore[assignment]
        event: Any = MessageEvent()
        cycle = Cycle(
            scope=self.scope, transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=self.access_log,
            default_headers=self.server_state.default_headers, message_event=event,
            expect_100_continue=self.expect_100_continue, keep_alive=is_kept_alive,
            on_response=self.on_response_complete,
        )  # fmt: skip
        self.cycle = cycle
        self._in_body = True
        self._body.begin()
        if previous is None or previous.response_complete:
            self._start_asgi_task(cycle, app)
        elif len(self.pipeline) < 20 * FEW_WAITING:
            self.pipeline.appendleft((cycle, app))
            if len(self.pipeline) >= FEW_WAITING:
                self.flow.pause_reading()
        else:
            self.transport.close()
            return False
        return True

    def on_body(self, body: bytes) -> None:
        self._body.is_fed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request."""
        self.server_state.total_requests += 1
        if self._body.arrived:
            MEMORY.give_back(self._body.arrived)
            self._body.arrived = 0
        if self.transport.is_closing():
            return
        waiting = self.pipeline.pop() if self.pipeline else None
        if self.flow.read_paused:
            self.flow.resume_reading()
        if waiting is not None:
            self._start_asgi_task(*waiting)
            return
        self._idling.begin()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is not a valid HTTP request")

    def _complete_scope(self, version: str, method: str, raw_path: bytes, query: bytes) -> None:
        scope = self.scope
        scope["method"] = method
        scope["http_version"] = version
        scope["path"] = _decode_path(raw_path)
        scope["raw_path"] = raw_path
        scope["query_string"] = query

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        cycle.start(app, self.loop, self.tasks)  # type: ignore[attr-defined]  # all are ours

    def _head_size(self) -> int:
        """Return the size of the head within a piece that can hold other requests."""
        return sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)

    def _time_head(self) -> None:
        self._timer = self.loop.call_later(GRACE_SECONDS, self._check_head)

    def _check_head(self) -> None:
        if self.flow.read_paused:  # the rest may be unread
            self._time_head()
        else:
            self._refuse(408, "the head of the request came too slowly")

    def _stop_clock(self) -> None:
        self._in_head = False
        self._in_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count_body(self, size: int) -> None:
        """Time a body that comes in pieces, and bound what is read of a refused one."""
        body = self._body
        body.count(size)
        if body.framing > HEAD_BYTES:
            self._refuse(400, "the framing of the request body is too large")
        else:
            self._time_body(size)
        if self._is_answered():
            self._idling.begin()
            body.unread += size
            if body.unread > MAX_UNREAD:
                self.transport.close()

    def _time_body(self, size: int) -> None:
        """Give the next piece more time, as this one has arrived."""
        body = self._body
        now = self.loop.time()
        is_first = self._timer is None
        due = now + GRACE_SECONDS if is_first else body.due
        body.due = min(due + size / BODY_FLOOR, now + 3 * GRACE_SECONDS)
        if is_first:
            self._timer = self.loop.call_at(body.due, self._check_body)

    def _check_body(self) -> None:
        body = self._body
        now = self.loop.time()
        # The server, not the client, is slow, or has not yet asked for the body.
        if self.flow.read_paused or getattr(self.cycle, "waiting_for_100_continue", False):
            body.due = now + 3 * GRACE_SECONDS
        if body.due > now:
            self._timer = self.loop.call_at(body.due, self._check_body)
        else:
            self._refuse(400, "the request body comes too slowly")

    def _refuse(self, status: int, message: str) -> None:
        """Close the connection, with a reply where no earlier one is due."""
        if self._in_body:
            is_next = not (self.cycle.response_started or self.pipeline)
            scope: Any = self.scope
            request_id = request_id_of(scope)
        else:
            is_next = self._is_answered()
            request_id = ""
        self._stop_clock()
        if self.transport.is_closing():
            return
        if is_next:
            self._answer(status, message, request_id or f"{getrandbits(128):032x}")
        self.transport.close()

    def _is_answered(self) -> bool:
        """Whether no earlier request waits for its reply."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _answer(self, status: int, message: str, request_id: str) -> None:
        body = b'{"error": "%s"}' % message.encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\nx-request-id: %s\r\n"
            b"cache-control: no-store\r\nx-content-type-options: nosniff\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, request_id.encode(), len(body), body)
        )


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request's target."""
    if target[0] == _SLASH and target.find(b"#") < 0:  # a quarter of the time of `parse_url`
        path, _, query = target.partition(b"?")
        return path, query
    parsed = httptools.parse_url(target)
    return parsed.path, parsed.query or b""


def _decode_path(raw_path: bytes) -> str:
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path


def _without_upgrade(data: bytes) -> bytes:
    """Hide the header `upgrade`, which a server may ignore (RFC 9110, 7.8).

    Otherwise the parser takes the body for the other protocol, and clients that ask for h2c with
    every request (Java's) would lose their bodies.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-grade:", head) + end + rest
