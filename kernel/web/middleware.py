"""The edge of the application, pure ASGI: request id, peer address, limits, CORS, errors."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from random import getrandbits
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from kernel.config.settings import Config
from kernel.contracts.workers import HandlerFailed
from kernel.errors import (
    BadRequest,
    ConstraintViolation,
    KernelError,
    PluginFailed,
    SchemaChanged,
    StatementFailed,
    Unavailable,
    ends_process,
    forget_frames,
    is_cancelled,
    is_of_statement,
    remedy_of,
)
from kernel.hooks.faults import FaultFinder, PluginStep
from kernel.hooks.mistakes import place
from kernel.web.http import ENDED, JSONReply

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
LOCAL_ORIGIN = re.compile(
    r"http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?|tauri://localhost|http://tauri\.localhost"
)
LOOPBACK = re.compile(rb"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
PORT = re.compile(rb":[0-9]*$")
NAME = re.compile(rb"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")
EXPOSED = b"X-Request-Id, Retry-After, Link, ETag, Caudex-Position"
ALLOWED = (
    b"Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Prefer, X-Request-Id,"
    b" X-Setup-Token, Last-Event-ID, Caudex-Position"
)
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", ALLOWED),
    (b"access-control-max-age", b"600"),
]
CACHING, LENGTH = b"cache-control", b"content-length"
SAFE = [(CACHING, b"no-store"), (b"x-content-type-options", b"nosniff")]

PASSED = "caudex.passed"
"""Key in a scope of the plugin whose middleware was the last to pass the request on."""

PROBES = frozenset({"/health", "/health/ready"})
"""Not counted as concurrent requests: a probe that fails would restart a server that is only busy.
"""

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What fails a request, unless it comes from a signal."""
UNCHECKED = {
    False: "check the value before the statement, or correct the cast",
    True: "check the value before the statement, or catch ConstraintViolation",
}
"""Remedies for a statement that a value of a client fails; for one that breaks a constraint."""

Networks = Sequence[IPv4Network | IPv6Network]
SendWhole = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], bool]

log = structlog.get_logger("caudex.http")


class StreamAborted(Exception):
    """A reply failed after its start: the connection closes before the body ends."""


class NoAnswer(PluginFailed):
    """A middleware, or what a handler returned, sent no reply."""

    remedy = "await the application that it wraps, or send a reply"

    def __init__(self, wrappers: Mapping[str, str], passed: str | None) -> None:
        """`wrappers` are the places of middleware by plugin, outermost first; `passed` is the last
        one that passed the request on."""
        super().__init__("no reply was sent")
        silent = list(wrappers)
        if passed in silent:
            silent = silent[silent.index(passed) + 1 :]
        self.plugin = silent[0] if silent else ""
        self.place = wrappers.get(self.plugin, "")


def passing(app: ASGIApp, plugin: str) -> ASGIApp:
    """Note that the middleware of a plugin has passed a request on."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PASSED] = plugin
        await app(scope, receive, send)

    return call


class Edge:
    """The outermost middleware: every reply has a request id, every error is the JSON envelope."""

    def __init__(
        self, app: ASGIApp, config: Config, fault_finder: FaultFinder, wrappers: Mapping[str, str]
    ) -> None:
        """`wrappers` maps the plugins that add middleware, outermost first, to where they do."""
        self.app = app
        self._fault_finder = fault_finder
        self._wrappers = wrappers
        self._places = AdmissionControl(0, ())
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over the limits and origins of a configuration, also while requests are served."""
        self._root_path = config.server.root_path
        self._origins = config.server.cors_origins
        self._local = config.loopback and config.server.cors_origins is None
        self._hosts = _hosts(config)
        self._allowed = set[bytes]()
        self._trusted = [ip_network(network) for network in config.server.trusted_proxies]
        self._places.bound(config.server.max_requests, self._trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the protocol {scope['type']}")
        scope["app"] = self  # where it is set, Starlette raises HTTPException for a broken form
        if self._root_path:
            _strip_root(scope, self._root_path)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scope["caudex.headers"] = headers
        scope["caudex.request_id"] = request_id = _request_id(headers)
        scope["caudex.address"] = _client_address(scope, self._trusted)
        bind_contextvars(request_id=request_id)
        sender = _Sender(send, self._reply_headers(headers, request_id))
        place: str | None = None
        try:
            if scope["path"] not in PROBES:
                place = self._places.take(scope["caudex.address"])
            if len(headers) < len(scope["headers"]):
                _check_single(scope["headers"])
            if self._hosts is not None and (host := headers.get(b"host", b"")) not in self._allowed:
                _check_host(host, self._hosts)
                if len(self._allowed) < 100:
                    self._allowed.add(host)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _preflight(sender)
                return
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            log.debug("the client went away", path=scope["path"])
        except asyncio.CancelledError as error:
            if not is_cancelled():  # code of a plugin raised it
                await self._fail(error, scope, receive, sender)
            elif sender.started:  # the server ended first
                raise
            else:
                await self._fail(_stopping(scope["method"]), scope, receive, sender)
        except RAISED as error:
            if ends_process(error):
                raise
            await self._fail(error, scope, receive, sender)
        else:
            if not sender.started:
                silent = NoAnswer(self._wrappers, scope.get(PASSED))
                await self._fail(silent, scope, receive, sender)
        finally:
            scope[ENDED] = True
            if place is not None:
                self._places.leave(place)

    async def _fail(
        self, error: BaseException, scope: Scope, receive: Receive, send: _Sender
    ) -> None:
        """Answer with the envelope, or abort a reply that has begun."""
        if isinstance(error, HTTPException):  # of Starlette's own parts, such as a broken form
            status, error = error.status_code, KernelError(error.detail, headers=error.headers)
            error.status = status  # type: ignore[misc]
        plugin: str | None = scope.get("caudex.plugin")
        caller = self._fault_finder.caller(error, plugin) if is_of_statement(error) else None
        blamed = caller if caller is not None and caller.is_foreign else None
        if blamed is not None and isinstance(error, SchemaChanged):
            error = _uncaught(error)
        self._log(error, scope, blamed)
        forget_frames(error)  # they hold the body
        if send.started:
            raise StreamAborted from error
        await _envelope(error, scope["caudex.request_id"])(scope, receive, send)

    def _log(self, error: BaseException, scope: Scope, blamed: PluginStep | None) -> None:
        """Log an error; `blamed` is the step of a plugin whose statement was refused."""
        most = slice(1000)  # masking takes time
        path, peer = scope["path"][most], scope["caudex.address"]
        detail: dict[str, Any] = {"method": scope["method"], "path": path, "peer": peer}
        if (known := _known(error)) is not None:
            user, session = known.caller
            if user is None and (actor := scope.get("caudex.actor")) is not None:
                user, session = actor.user_id, actor.session_id
            detail |= {} if user is None else {"user": user, "session": session}
            if blamed is not None and known.status == 400:
                remedy = UNCHECKED[isinstance(known, ConstraintViolation)]
                detail |= {"plugin": blamed.plugin, "where": blamed.at, "remedy": remedy}
            log.info("refused", status=known.status, reason=known.message[most], **detail)
            return
        detail |= self._blamed(error, scope)
        if isinstance(error, PluginFailed):  # in words of ours, or of PostgreSQL
            detail["detail"] = str(error)[most]
        if notes := getattr(error, "__notes__", None):
            detail["where"] = "; ".join(notes)[most]
        log.error("a request failed", error=type(error).__name__, exc_info=error, **detail)

    def _blamed(self, error: BaseException, scope: Scope) -> dict[str, Any]:
        """Name the plugin, the place and the remedy; the handler where no frame leads to it."""
        plugin: str | None = scope.get("caudex.plugin")
        if blamed := self._fault_finder.blame(error, plugin):
            return blamed
        if plugin is not None:
            handler = scope["caudex.route"].handler
            return {"plugin": plugin, "where": place(handler), "remedy": remedy_of(error)}
        if isinstance(error, NoAnswer):
            return {"plugin": error.plugin, "where": error.place, "remedy": error.remedy}
        return {"plugin": None}

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
    """Adds the headers of every reply, and knows whether the reply has begun.

    The head of a reply of known length waits for the body, so that both are sent in one piece where
    the server can do that (`kernel.contracts.server.HttpServer`).
    """

    __slots__ = ("_held", "_send", "_whole", "headers", "started")

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._whole: SendWhole | None = getattr(send, "send_whole", None)
        self._held: Message | None = None
        self.headers = headers
        self.started = False

    def send_whole(self, status: int, own: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a reply with the headers `own`; return False where ASGI messages are needed."""
        sent = self._whole is not None and self._whole(status, [*own, *self._more(own)], body)
        self.started |= sent
        return sent

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message.get("headers", ())
            message["headers"] = [*own, *self._more(own)]
            if self._whole is not None and any(name == LENGTH for name, _ in own):
                self._held = message
                return
        elif self._held is not None and self._whole is not None:
            (head, self._held), self.started = (self._held, None), True
            body, goes_on = message.get("body", b""), message.get("more_body", False)
            if not goes_on and self._whole(head["status"], head["headers"], body):
                return
            await self._send(head)
        self.started = True
        await self._send(message)

    def _more(self, own: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
        """Return the headers to add to a reply's own; its own `cache-control` has precedence."""
        if CACHING in dict(own):
            return [header for header in self.headers if header[0] != CACHING]
        return self.headers


class AdmissionControl:
    """The bound on concurrent requests of a process, and of each client address.

    A request is admitted while its address has fewer requests under way than there are free
    places: one busy address gets half of all places, the next one half of the rest. A proxy, which
    sends requests of many clients, may use all of them. The processes of this machine, such as
    workers, count as one address, also where it is a proxy's and the request names no client.
    """

    def __init__(self, limit: int, proxies: Networks) -> None:
        self._limit = self._free = 0
        self._held: dict[str, int] = {}
        self.bound(limit, proxies)

    def bound(self, limit: int, proxies: Networks) -> None:
        """Set the number of places, also while some are taken."""
        self._free += limit - self._limit
        self._limit = limit
        self._origin = lru_cache(1024)(partial(_origin, proxies))

    def take(self, address: str) -> str:
        """Count a request and return the key for `leave`. Raises Unavailable."""
        origin = self._origin(address)
        held = self._held.get(origin, 0)
        if self._free <= (held if origin else 0):
            where = " from this address" if self._free else ""
            raise Unavailable(f"too many requests at once{where}")
        self._free -= 1
        self._held[origin] = held + 1
        return origin

    def leave(self, origin: str) -> None:
        """Count a request that ended."""
        self._free += 1
        if (held := self._held.pop(origin) - 1) > 0:
            self._held[origin] = held


def _strip_root(scope: Scope, root_path: str) -> None:
    """Take the prefix of the proxy off the path. A probe that comes past the proxy has none."""
    scope["root_path"] = root_path
    path: str = scope["path"]
    if not path.startswith(f"{root_path}/"):
        return
    scope["path"] = path.removeprefix(root_path)
    raw_path: bytes = scope.get("raw_path") or b""
    scope["raw_path"] = raw_path.removeprefix(root_path.encode())


def _client_address(scope: Scope, trusted: Networks) -> str:
    """Return the peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy."""
    client = scope.get("client")
    peer: str = client[0] if client else ""
    if not trusted or not _within(_parsed(peer), trusted):
        return peer
    given = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(given).decode("latin-1").split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        address = _parsed(hop)
        if not _within(address, trusted):
            return hop if address else peer
    return peer


def _origin(proxies: Networks, text: str) -> str:
    """The address, or the /64 network that an IPv6 customer has; "" when there is no limit."""
    address = _parsed(text)
    if address is not None and address.is_loopback:
        return "localhost"
    if address is None or _within(address, proxies):
        return ""
    return str(ip_network((int(address), 64 if address.version == 6 else 32), strict=False))


def _within(address: IPv4Address | IPv6Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return None for what is no address, such as a socket in the file system."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address  # ::ffff:10.0.0.1 is 10.0.0.1


def _hosts(config: Config) -> frozenset[bytes] | None:
    """Return the accepted names in `Host` beside localhost; None accepts any."""
    allowed = config.server.allowed_hosts
    if "*" in allowed or not (allowed or config.loopback):
        return None
    return frozenset(name.lower().encode() for name in allowed)


def _check_single(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse repeated headers that a proxy may read differently (RFC 9112, 3.2). Authentication
    checks `authorization` itself."""
    names = [name for name, _ in headers]
    if names.count(b"host") > 1 or names.count(b"content-type") > 1:
        raise BadRequest("the header host or content-type is given twice")


def _check_host(given: bytes, allowed: frozenset[bytes]) -> None:
    """Refuse other names: a foreign page may let its name resolve to this machine and so share our
    origin (DNS rebinding). Every browser sends the header. Raises BadRequest."""
    bare = PORT.sub(b"", given)
    name = bare.lower()
    if not given or name in allowed or LOOPBACK.fullmatch(name):
        return
    if not NAME.fullmatch(bare):
        raise BadRequest("the Host header names no host")
    said = name.decode()
    remedy = f'allow it: [server] allowed_hosts = ["{said}"]'
    raise BadRequest(f"no host {said!r} is served here; {remedy}")


async def _preflight(send: _Sender) -> None:
    if any(name == b"access-control-allow-origin" for name, _ in send.headers):
        send.headers += PREFLIGHT
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _uncaught(error: SchemaChanged) -> StatementFailed:
    """Return what the log says of a compiled statement that a plugin does not compile again."""
    cause: Any = error.__cause__
    problem, state = str(cause.diag.message_primary), str(cause.sqlstate)
    hint = "or where it was right before, catch SchemaChanged and compile it again"
    failed = StatementFailed(f"{problem} (SQLSTATE {state})", sqlstate=state, hint=hint)
    failed.__cause__ = error
    return failed.with_traceback(error.__traceback__)


def _known(error: BaseException) -> KernelError | None:
    """Return an error that was raised on purpose; None for an unexpected one."""
    of_app = isinstance(error, HandlerFailed)
    return error if isinstance(error, KernelError) and (of_app or error.status != 500) else None


def _envelope(error: BaseException, request_id: str) -> JSONReply:
    if (known := _known(error)) is None:
        said = f"internal error; quote request id {request_id} to find it in the server's log"
        return JSONReply({"error": said}, 500)
    said = known.message
    if len(said) > 50_000 and not isinstance(known, HandlerFailed):
        said = f"{said[:50_000]}…"  # many rules quote the value that breaks them
    return JSONReply({"error": said, **known.members}, known.status, known.headers)


def _stopping(method: str) -> Unavailable:
    """Return the error of a request that the end of the server interrupted."""
    if method in ("GET", "HEAD"):
        return Unavailable("the server is stopping")
    said = "the server is stopping: the change may have been made; look before you repeat it"
    return Unavailable(said, retry_after=None)


def _request_id(headers: dict[bytes, bytes]) -> str:
    if (given := headers.get(b"x-request-id")) and REQUEST_ID.fullmatch(given):
        return given.decode()
    # Ascending ones are neighbours in the index of the trail.
    return (time.time_ns() // 1_000_000 << 80 | getrandbits(80)).to_bytes(16, "big").hex()
