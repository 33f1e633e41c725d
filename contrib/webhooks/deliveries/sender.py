"""One attempt: a POST to the address of a receiver that was checked, and its reply."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import anyio

from contrib.webhooks.library import (
    AnyIOBackend,
    AsyncConnectionPool,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    ConnectError,
    NetworkError,
    ProtocolError,
    TimeoutException,
)
from contrib.webhooks.models import SECRET_URL, Outcome
from kernel.public import VERSION, AddressRules, BadRequest, RefusedAddress

ATTEMPT_SECONDS: Final = 15.0
"""An attempt, from the lookup of the name to the end of the reply."""
MAX_REPLY: Final = 65_536
"""Bytes of a reply that are read."""
MAX_ADDRESSES: Final = 4
"""Addresses of a host that are tried, one after the other."""
CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
_PLAIN_URL: Final = re.compile(r"[!-~]+")


def is_secret(url: str) -> bool:
    """Whether a URL is the value of a secret."""
    return re.fullmatch(SECRET_URL, url) is not None


def split_url(url: str) -> SplitResult:
    """Read the URL of a receiver. Raises BadRequest, whose message does not repeat it."""
    if not _PLAIN_URL.fullmatch(url):
        raise BadRequest("url: write the characters beyond ASCII as %XX, and a host as xn--…")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadRequest("url: it is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadRequest("url: it must begin with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise BadRequest("url: it must not hold a user name or a password")
    if port == 0 or parts.fragment:
        raise BadRequest("url: it must have neither port 0 nor a fragment")
    return parts


class Sender:
    """Sends to receivers, each attempt over a connection of its own."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The certificates that are trusted; reading them takes a while."""
        return ssl.create_default_context()

    async def check(self, url: str) -> None:
        """Refuse a URL that deliveries must not go to at the moment.

        Raises BadRequest, and NoAddress where the host is unknown.
        """
        parts = split_url(url)
        try:
            await _Connector(self._rules, parts).find_addresses()
        except RefusedAddress as error:
            raise type(error)(f"url: {error.message}") from None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a body, and return how the receiver answered. It never raises for a receiver."""
        began = time.monotonic()
        try:
            with anyio.fail_after(ATTEMPT_SECONDS):
                status, text = await self._exchange(url, headers, body)
        except (TimeoutError, TimeoutException):
            return _fail(began, f"no complete reply within {ATTEMPT_SECONDS:.0f} s")
        except BadRequest as error:
            return _fail(began, error.message)
        except ConnectError as error:
            return _fail(began, f"cannot connect: {_describe(error)}")
        except (NetworkError, ProtocolError) as error:
            return _fail(began, f"the connection broke: {_describe(error)}")
        error_text = None
        if not 200 <= status < 300:
            error_text = f"the receiver answered {status}"
        return Outcome(status=status, error=error_text, ms=_count_ms(began), body=text)

    async def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        connector = _Connector(self._rules, split_url(url))
        sent: dict[str | bytes, str | bytes] = {
            "user-agent": f"Caudex/{VERSION}",
            "content-type": "application/json",
            "accept": "*/*",
            "connection": "close",
            **headers,
        }
        pool = AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=connector,
        )
        async with pool, pool.stream("POST", url, headers=sent, content=body) as response:
            received = bytearray()
            async for piece in response.aiter_stream():
                received += piece[: MAX_REPLY - len(received)]
                if len(received) >= MAX_REPLY:
                    break  # leaving closes the connection
            return response.status, received.decode(errors="replace")


class _Connector(AsyncNetworkBackend):
    """Connects to an address that it has checked: the name is not looked up again.

    TLS and the header `Host` still have the name.
    """

    def __init__(self, rules: AddressRules, parts: SplitResult) -> None:
        self._rules = rules
        self._parts = parts
        self._inner = AnyIOBackend()

    async def find_addresses(self) -> list[str]:
        """Return the addresses that may be connected to. Raises RefusedAddress."""
        scheme = self._parts.scheme
        host = self._parts.hostname or ""
        port = self._parts.port or _PORTS[scheme]
        addresses = await self._rules.resolve(host, port, only_allowed=scheme == "http")
        return addresses[:MAX_ADDRESSES]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        addresses = await self.find_addresses()
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, CONNECT_SECONDS)
            except (ConnectError, TimeoutException):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, ATTEMPT_SECONDS)


def _fail(began: float, error: str) -> Outcome:
    return Outcome(status=None, error=error, ms=_count_ms(began))


def _count_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _describe(error: Exception) -> str:
    """Say what an error of a connection is about, without the address that it may name."""
    cause = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        inner = cause.__cause__ or cause.__context__
        if not isinstance(inner, Exception):
            break
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {cause.verify_message}"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return type(cause).__name__
