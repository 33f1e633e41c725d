"""The edge of the application, pure ASGI: request id, peer address, limits, CORS, errors."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from ipaddress import ip_network
from random import getrandbits
from time import perf_counter
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
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
from kernel.errors.source_lines import source_line
from kernel.hooks.fault_finder import FaultFinder, PluginStep
from kernel.web.arrivals.admission import AdmissionControl, Place, client_address
from kernel.web.arrivals.doors import NAME, PORT, Doors
from kernel.web.arrivals.traffic import TrafficCounter
from kernel.web.replies import JSONReply
from kernel.web.scope import PASSED, Arrival, arrival_of, begin_request, call_of, route_of
from kernel.web.sender import SAFE, Sender

REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
LOCAL_ORIGIN: Final = re.compile(
    r"http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?|tauri://localhost|http://tauri\.localhost"
)
LOOPBACK: Final = re.compile(rb"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
EXPOSED: Final = (
    b"X-Request-Id, Retry-After, Link, ETag, Caudex-Position, Caudex-Event, Content-Range,"
    b" X-Total-Count"
)
MAX_HOSTS: Final = 100
"""Values of `Host` that were checked and are remembered."""
MAX_LOGGED: Final = 1000
"""Characters of a text in a line of the log: masking takes time."""
MAX_MESSAGE: Final = 50_000
"""Characters of an error in a reply: many rules quote the value that breaks them."""

PROBES: Final = frozenset({"/health", "/health/ready"})
"""Not counted as concurrent requests: a probe that fails would restart a server that is only busy.
"""

RAISED: Final = (Exception, SystemExit, KeyboardInterrupt)
"""What fails a request, unless it comes from a signal."""
CHECK_VALUE: Final = "check the value before the statement, or correct the cast"
CATCH_VIOLATION: Final = "check the value before the statement, or catch ConstraintViolation"
"""Remedies for a statement that a value of a client fails."""

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


def note_passing(app: ASGIApp, plugin: str) -> ASGIApp:
    """Note that the middleware of a plugin has passed a request on."""

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope[PASSED] = plugin
        return app(scope, receive, send)

    return call


class Edge:
    """The outermost middleware: every reply has a request id, every error is the JSON envelope."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        fault_finder: FaultFinder,
        wrappers: Mapping[str, str],
        doors: Doors,
        traffic: TrafficCounter,
    ) -> None:
        """`wrappers` maps the plugins that add middleware, outermost first, to where they do."""
        self.app = app
        self._doors = doors
        self._traffic = traffic
        self._fault_finder = fault_finder
        self._wrappers = wrappers
        self._admission = AdmissionControl(0, ())
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over the limits and origins of a configuration, also while requests are served."""
        self._root_path = config.server.root_path
        self._origins = config.server.cors_origins
        self._allows_local = config.loopback and config.server.cors_origins is None
        self._hosts = _hosts_of(config)
        self._doors.forget()
        self._checked_hosts = set[bytes]()
        self._proxies = [ip_network(network) for network in config.server.trusted_proxies]
        self._admission.set_limit(config.server.max_requests, self._proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = perf_counter()
        if scope["type"] != "http":
            raise NotImplementedError(f"the protocol {scope['type']}")
        scope["app"] = self  # where it is set, Starlette raises HTTPException for a broken form
        if self._root_path:
            _strip_root(scope, self._root_path)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _choose_request_id(headers)
        address = client_address(scope, self._proxies)
        arrival = begin_request(scope, request_id, address, headers)
        bind_contextvars(request_id=request_id)
        sender = Sender(send, self._make_reply_headers(headers, request_id))
        is_probe = scope["path"] in PROBES
        try:
            if not is_probe:
                arrival.place = Place(self._admission, self._admission.take(address))
            self._check_headers(scope, arrival)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await sender.send_preflight()
                return
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            log.debug("the client went away", path=_path_to_log(scope))
        except asyncio.CancelledError as error:
            if not is_cancelled():  # code of a plugin raised it
                await self._fail(error, scope, receive, sender)
            elif sender.started:  # the server ended first
                raise
            else:
                await self._fail(_describe_interruption(scope["method"]), scope, receive, sender)
        except RAISED as error:
            if ends_process(error):
                raise
            await self._fail(error, scope, receive, sender)
        else:
            if not sender.started:
                silent = NoAnswer(self._wrappers, scope.get(PASSED))
                await self._fail(silent, scope, receive, sender)
        finally:
            arrival.has_ended = True
            if arrival.place is not None:
                arrival.place.leave()
            if not is_probe:
                answered = sender.answered_at or perf_counter()
                self._traffic.count(route_of(scope), sender.status, began, answered)
                if sender.status >= 500:
                    self._traffic.note_failure(request_id, route_of(scope), sender.status)

    def _check_headers(self, scope: Scope, arrival: Arrival) -> None:
        """Refuse repeated headers and foreign hosts, and note the app's host. Raises BadRequest."""
        headers = arrival.headers
        if len(headers) < len(scope["headers"]):
            _check_single(scope["headers"])
        host = headers.get(b"host", b"")
        if self._doors.are_open:
            arrival.door = self._doors.find(host)
            if arrival.door is not None:
                return
        if self._hosts is None:
            return
        if host in self._checked_hosts:
            return
        _check_host(host, self._hosts)
        if len(self._checked_hosts) < MAX_HOSTS:
            self._checked_hosts.add(host)

    async def _fail(
        self, error: BaseException, scope: Scope, receive: Receive, sender: Sender
    ) -> None:
        """Answer with the envelope, or abort a reply that has begun."""
        if isinstance(error, HTTPException):  # of Starlette's own parts, such as a broken form
            status = error.status_code
            error = KernelError(error.detail, headers=error.headers)
            error.status = status  # type: ignore[misc]
        step = self._find_foreign_step(error, scope)
        if step is not None and isinstance(error, SchemaChanged):
            error = _describe_uncaught(error)
        self._log(error, scope, step)
        forget_frames(error)  # they hold the body
        if sender.started:
            raise StreamAborted from error
        envelope = _make_envelope(error, arrival_of(scope).request_id)
        await envelope(scope, receive, sender)

    def _find_foreign_step(self, error: BaseException, scope: Scope) -> PluginStep | None:
        """Return the step of another author's plugin whose statement was refused, or None."""
        if not is_of_statement(error):
            return None
        step = self._fault_finder.find_blamed_step(error, _plugin_of(scope))
        return step if step is not None and step.is_foreign else None

    def _log(self, error: BaseException, scope: Scope, step: PluginStep | None) -> None:
        """Log an error; `step` is that of a plugin whose statement was refused."""
        arrival = arrival_of(scope)
        refusal = _find_refusal(error)
        if refusal is None:
            self._log_failure(error, scope, arrival)
            return
        fields = _describe_request(scope, arrival) | _caller_of(refusal, scope)
        if step is not None and refusal.status == 400:
            is_violation = isinstance(refusal, ConstraintViolation)
            remedy = CATCH_VIOLATION if is_violation else CHECK_VALUE
            fields |= {"plugin": step.plugin, "where": step.at, "remedy": remedy}
        reason = refusal.message[:MAX_LOGGED]
        log.info("refused", status=refusal.status, reason=reason, **fields)

    def _log_failure(self, error: BaseException, scope: Scope, arrival: Arrival) -> None:
        """Log an error that no one raised on purpose."""
        fields = _describe_request(scope, arrival) | self._blame(error, scope)
        if isinstance(error, PluginFailed):  # in words of ours, or of PostgreSQL
            fields["detail"] = str(error)[:MAX_LOGGED]
        notes: Sequence[str] | None = getattr(error, "__notes__", None)
        if notes:
            fields["where"] = "; ".join(notes)[:MAX_LOGGED]
        log.error("a request failed", error=type(error).__name__, exc_info=error, **fields)

    def _blame(self, error: BaseException, scope: Scope) -> dict[str, Any]:
        """Name the plugin, the place and the remedy; the handler where no frame leads to it."""
        call = call_of(scope)
        plugin = None if call is None else call.plugin
        fields: dict[str, Any] = {**self._fault_finder.blame(error, plugin)}
        if fields:
            return fields
        if call is not None:
            where = source_line(call.route.handler)
            return {"plugin": call.plugin, "where": where, "remedy": remedy_of(error)}
        if isinstance(error, NoAnswer):
            return {"plugin": error.plugin, "where": error.place, "remedy": error.remedy}
        return {"plugin": None}

    def _make_reply_headers(
        self, headers: Mapping[bytes, bytes], request_id: str
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers of every reply to a request."""
        common = [(b"x-request-id", request_id.encode()), *SAFE]
        origin = headers.get(b"origin")
        if origin and self._allows(origin):
            common.append((b"access-control-allow-origin", origin))
            common.append((b"vary", b"Origin"))
            common.append((b"access-control-expose-headers", EXPOSED))
        return common

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        if self._allows_local:
            return LOCAL_ORIGIN.fullmatch(text) is not None
        return text != "null" and text in (self._origins or ())


def _strip_root(scope: Scope, root_path: str) -> None:
    """Take the prefix of the proxy off the path. A probe that comes past the proxy has none."""
    scope["root_path"] = root_path
    path: str = scope["path"]
    if not path.startswith(f"{root_path}/"):
        return
    scope["path"] = path.removeprefix(root_path)
    raw_path: bytes = scope.get("raw_path") or b""
    scope["raw_path"] = raw_path.removeprefix(root_path.encode())


def _plugin_of(scope: Scope) -> str | None:
    """Return the plugin whose route serves a request, or None before one is found."""
    call = call_of(scope)
    return None if call is None else call.plugin


def _describe_request(scope: Scope, arrival: Arrival) -> dict[str, Any]:
    """Return the fields of the log that describe a request."""
    path = _path_to_log(scope)[:MAX_LOGGED]
    return {"method": scope["method"], "path": path, "peer": arrival.address}


def _path_to_log(scope: Scope) -> str:
    """Return the path without a path parameter `token`, which is a secret."""
    path: str = scope["path"]
    token: str | None = scope.get("path_params", {}).get("token")
    return path.replace(token, "…") if token else path


def _caller_of(error: KernelError, scope: Scope) -> dict[str, Any]:
    """Return the user and the session of a refused request, as fields of the log."""
    user, session = error.caller
    if user is None:
        call = call_of(scope)
        actor = getattr(call, "actor", None)  # not set before the caller is known
        if actor is not None:
            user = actor.user_id
            session = actor.session_id
    return {} if user is None else {"user": user, "session": session}


def _hosts_of(config: Config) -> frozenset[bytes] | None:
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


def _check_host(host: bytes, allowed: frozenset[bytes]) -> None:
    """Refuse other names: a foreign page may let its name resolve to this machine and so share our
    origin (DNS rebinding). Every browser sends the header. Raises BadRequest."""
    bare = PORT.sub(b"", host)
    name = bare.lower()
    if not host or name in allowed or LOOPBACK.fullmatch(name):
        return
    if not NAME.fullmatch(bare):
        raise BadRequest("the Host header names no host")
    text = name.decode()
    remedy = f'allow it: [server] allowed_hosts = ["{text}"]'
    raise BadRequest(f"no host {text!r} is served here; {remedy}")


def _describe_uncaught(error: SchemaChanged) -> StatementFailed:
    """Return what the log says of a compiled statement that a plugin does not compile again."""
    cause: Any = error.__cause__
    problem = str(cause.diag.message_primary)
    state = str(cause.sqlstate)
    hint = "or where it was right before, catch SchemaChanged and compile it again"
    failed = StatementFailed(f"{problem} (SQLSTATE {state})", sqlstate=state, hint=hint)
    failed.__cause__ = error
    return failed.with_traceback(error.__traceback__)


def _find_refusal(error: BaseException) -> KernelError | None:
    """Return an error that was raised on purpose; None for an unexpected one."""
    if not isinstance(error, KernelError):
        return None
    is_of_app = isinstance(error, HandlerFailed)
    return error if is_of_app or error.status != 500 else None


def _make_envelope(error: BaseException, request_id: str) -> JSONReply:
    refusal = _find_refusal(error)
    if refusal is None:
        message = f"internal error; quote request id {request_id} to find it in the server's log"
        return JSONReply({"error": message}, 500)
    message = refusal.message
    if len(message) > MAX_MESSAGE and not isinstance(refusal, HandlerFailed):
        message = f"{message[:MAX_MESSAGE]}…"
    return JSONReply({"error": message, **refusal.members}, refusal.status, refusal.headers)


def _describe_interruption(method: str) -> Unavailable:
    """Return the error of a request that the end of the server interrupted."""
    if method in ("GET", "HEAD"):
        return Unavailable("the server is stopping")
    message = "the server is stopping: the change may have been made; look before you repeat it"
    return Unavailable(message, retry_after=None)


def _choose_request_id(headers: Mapping[bytes, bytes]) -> str:
    chosen = headers.get(b"x-request-id")
    if chosen and REQUEST_ID.fullmatch(chosen):
        return chosen.decode()
    # Ascending ones are neighbours in the index of the trail.
    milliseconds = time.time_ns() // 1_000_000
    return (milliseconds << 80 | getrandbits(80)).to_bytes(16, "big").hex()
