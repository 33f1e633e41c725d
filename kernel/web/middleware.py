"""The edge of the application, pure ASGI: request id, peer address, limits, CORS, errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from random import getrandbits
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from kernel.config.settings import Config
from kernel.contracts.workers import HandlerFailed
from kernel.errors import BadRequest, KernelError, Unavailable, plugin_at_fault
from kernel.toolkit.limiter import AdmissionControl, Networks
from kernel.web.http import JSONReply
from kernel.web.protocol import Cycle

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
LOCAL_ORIGIN = re.compile(r"http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?|tauri://localhost")
LOOPBACK = re.compile(rb"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
PORT = re.compile(rb":[0-9]*$")
NAME = re.compile(rb"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")
EXPOSED = b"X-Request-Id, Retry-After, Link"
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-Request-Id, Last-Event-ID"),
    (b"access-control-max-age", b"600"),
]
CACHING, LENGTH = b"cache-control", b"content-length"
SAFE = [(CACHING, b"no-store"), (b"x-content-type-options", b"nosniff")]

PROBES = frozenset({"/health", "/health/ready"})
"""Take no place and read no body: who asks restarts a server that is full, if it does not answer.
"""
SINGLE = (b"host", b"content-type")
"""Headers that a request has once; a second `authorization` is the business of who reads them."""
MAX_MET = 100
"""Host headers that are remembered as allowed."""
MAX_MESSAGE = 50_000
"""Characters of an error that a caller reads; many rules name the value that breaks them."""
MAX_LOGGED = 1000
"""Characters of a path or a reason in the log: masking costs more than their length."""

log = structlog.get_logger("caudex.http")


class StreamAborted(Exception):
    """A reply broke off in the middle: the server closes the connection, unterminated."""


class Edge:
    """Outermost: nothing leaves without a request id, and no error but as the envelope."""

    def __init__(self, app: ASGIApp, config: Config, homes: Mapping[str, str]) -> None:
        """`homes` is for `kernel.errors.plugin_at_fault`."""
        self.app = app
        self._homes = homes
        self._origins = config.server.cors_origins
        self._local = config.loopback and config.server.cors_origins is None
        self._hosts = _hosts(config)
        self._met = set[bytes]()
        self._trusted = [ip_network(network) for network in config.server.trusted_proxies]
        self._places = AdmissionControl(config.server.max_requests, self._trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["caudex.headers"] = headers = dict[bytes, bytes](scope["headers"])
        scope["caudex.request_id"] = request_id = _request_id(headers)
        scope["caudex.address"] = _address(scope, self._trusted)
        bind_contextvars(request_id=request_id)
        sender = _Sender(send, self._reply_headers(headers, request_id))
        place: str | None = None
        try:
            if scope["path"] not in PROBES:
                place = self._places.take(scope["caudex.address"])
            if len(headers) < len(scope["headers"]):
                _check_single(scope["headers"])
            if self._hosts is not None and (host := headers.get(b"host", b"")) not in self._met:
                _check_host(host, self._hosts)
                if len(self._met) < MAX_MET:
                    self._met.add(host)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _preflight(sender)
                return
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            log.debug("the client went away", path=scope["path"])
        except asyncio.CancelledError:  # it outlasted the end of the server
            if sender.started:
                raise
            await self._fail(_stopping(scope["method"]), scope, receive, sender)
        except Exception as error:
            await self._fail(error, scope, receive, sender)
        finally:
            if place is not None:
                self._places.leave(place)

    async def _fail(self, error: Exception, scope: Scope, receive: Receive, send: _Sender) -> None:
        """Answer with the envelope, or cut a reply that has begun."""
        if isinstance(error, HTTPException):
            error = _Starlettes(error)
        self._log(error, scope)
        if send.started:
            raise StreamAborted from error
        await _envelope(error)(scope, receive, send)

    def _log(self, error: Exception, scope: Scope) -> None:
        path, peer = scope["path"][:MAX_LOGGED], scope["caudex.address"]
        detail: dict[str, Any] = {"method": scope["method"], "path": path, "peer": peer}
        if (known := _known(error)) is not None:
            log.info("refused", status=known.status, reason=known.message[:MAX_LOGGED], **detail)
            return
        plugin: str | None = scope.get("caudex.plugin")
        detail |= {"plugin": plugin} | plugin_at_fault(error, self._homes, plugin)
        if notes := getattr(error, "__notes__", None):
            detail["where"] = "; ".join(notes)[:MAX_LOGGED]
        log.error("a request failed", error=type(error).__name__, exc_info=error, **detail)

    def _reply_headers(self, headers: dict[bytes, bytes], request_id: str) -> list[Any]:
        more = [(b"x-request-id", request_id.encode()), *SAFE]
        if (origin := headers.get(b"origin")) and self._allows(origin):
            more += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            more.append((b"access-control-expose-headers", EXPOSED))
        return more

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        if self._local:
            return LOCAL_ORIGIN.fullmatch(text) is not None
        return text != "null" and text in (self._origins or ())


class _Sender:
    """Adds the headers that every reply has, and knows whether it has begun.

    The head of a reply whose length is known waits for the body, so that both leave in one piece
    where the protocol can do that (`kernel.web.protocol.Cycle.reply`).
    """

    __slots__ = ("_cycle", "_held", "_send", "headers", "started")

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        cycle = getattr(send, "__self__", None)
        self._cycle = cycle if isinstance(cycle, Cycle) else None
        self._send = send
        self._held: Message | None = None
        self.headers = headers
        self.started = False

    def send_whole(self, status: int, own: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a reply whose length `own` tells; False, and nothing sent, if messages have to."""
        cycle = self._cycle
        sent = cycle is not None and cycle.reply(status, [*own, *self._more(own)], body)
        self.started |= sent
        return sent

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message.get("headers", ())
            message["headers"] = [*own, *self._more(own)]
            if self._cycle is not None and any(name == LENGTH for name, _ in own):
                self._held = message
                return
        elif self._held is not None and self._cycle is not None:
            (head, self._held), self.started = (self._held, None), True
            body, goes_on = message.get("body", b""), message.get("more_body", False)
            if not goes_on and self._cycle.reply(head["status"], head["headers"], body):
                return
            await self._send(head)
        self.started = True
        await self._send(message)

    def _more(self, own: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
        """What is added to a reply's own headers; one that says how it is cached is believed."""
        for name, _ in own:  # no generator: every reply comes this way
            if name == CACHING:
                return [header for header in self.headers if header[0] != CACHING]
        return self.headers


def _hosts(config: Config) -> frozenset[bytes] | None:
    """Names that requests may be addressed to beside the machine's own; None for any."""
    allowed = config.server.allowed_hosts
    if "*" in allowed or not (allowed or config.loopback):
        return None
    return frozenset(name.lower().encode() for name in allowed)


def _check_single(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse two of what a proxy may read otherwise than we do (RFC 9112, 3.2)."""
    names = [name for name, _ in headers if name in SINGLE]
    if len(names) > len(set(names)):
        raise BadRequest("the header host or content-type is given twice")


def _check_host(given: bytes, allowed: frozenset[bytes]) -> None:
    """Refuse a name that is not ours: a page of a stranger can have it resolve to this machine, and
    is of one origin with us then (DNS rebinding). No browser leaves it out. Raises BadRequest."""
    bare = PORT.sub(b"", given)
    name = bare.lower()
    if not given or name in allowed or LOOPBACK.fullmatch(name):
        return
    if not NAME.fullmatch(bare):
        raise BadRequest("the Host header names no host")
    said = name.decode()
    raise BadRequest(
        f'no host {said!r} is served here; allow it: [server] allowed_hosts = ["{said}"]'
    )


async def _preflight(send: _Sender) -> None:
    if any(name == b"access-control-allow-origin" for name, _ in send.headers):
        send.headers += PREFLIGHT
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class _Starlettes(KernelError):
    """What Starlette's own parts refuse with, a broken form for one."""

    def __init__(self, error: HTTPException) -> None:
        super().__init__(error.detail, headers=error.headers)
        self.status = error.status_code  # type: ignore[misc]


def _known(error: Exception) -> KernelError | None:
    """What was raised on purpose, be it an app's own words; None is a fault of ours."""
    spoken = isinstance(error, HandlerFailed)
    return error if isinstance(error, KernelError) and (spoken or error.status != 500) else None


def _envelope(error: Exception) -> JSONReply:
    if (known := _known(error)) is None:
        return JSONReply({"error": "an unexpected error happened; the request id tells which"}, 500)
    said = known.message if isinstance(known, HandlerFailed) else _cut(known.message)
    return JSONReply({"error": said}, known.status, known.headers)


def _stopping(method: str) -> Unavailable:
    """Nobody knows how far a request came that outlasted the end of the server."""
    if method in ("GET", "HEAD"):
        return Unavailable("the server is stopping")
    said = "the server is stopping: the change may have been made; look before you repeat it"
    return Unavailable(said, retry_after=None)


def _cut(message: str) -> str:
    """Repeat only so much of what the caller sent."""
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{getrandbits(128):032x}"


def _address(scope: Scope, trusted: Networks) -> str:
    """The peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy."""
    client = scope.get("client")
    peer: str = client[0] if client else ""
    if not trusted or not _within(peer, trusted):
        return peer
    told = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(told).decode("latin-1").split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        if not _within(hop, trusted):
            return hop if _is_address(hop) else peer
    return peer


def _within(text: str, networks: Networks) -> bool:
    if not _is_address(text):
        return False
    address = ip_address(text)
    plain = getattr(address, "ipv4_mapped", None) or address  # ::ffff:10.0.0.1 is 10.0.0.1
    return any(plain in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
