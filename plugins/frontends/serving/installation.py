"""The cookie by which a browser notices that a host has another app now.

It is no secret: it names this deployment and the installation of the app. Files and storage that a
former app of the same host left in the browser, a service worker above all, must not meet the pages
of the present one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from kernel.public import Response, headers_of

CLEAR: Final = {"clear-site-data": '"cache", "storage"'}
MAX_AGE: Final = 400 * 86_400
"""Seconds; browsers keep no cookie for longer."""


END_WORKER: Final = b"""\
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil((async () => {
    for (const name of await caches.keys()) await caches.delete(name);
    await self.registration.unregister();
    for (const page of await self.clients.matchAll({ type: "window" })) page.navigate(page.url);
})()));
"""
"""A service worker that ends itself. One of a former app would answer all pages of the present one,
so that no request for a page ever arrived; the browser asks for its script all the same."""


class InstallationCookie:
    """Writes and compares the cookie."""

    def __init__(self) -> None:
        self.deployment = ""
        """The id of this deployment, known once the server has started."""

    def make_headers(self, scope: Scope, key: int, *, secure: bool) -> list[tuple[bytes, bytes]]:
        """Return the headers of a page: none where the browser has this very cookie.

        A browser that has another one forgets what it keeps of the host. `key` is that of the
        installed app.
        """
        name, present = _read(scope, secure=secure)
        value = self._make_value(key)
        if present == value:
            return []
        flags = f"Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax"
        if secure:
            flags += "; Secure"
        answer = [(b"set-cookie", f"{name}={value}; {flags}".encode())]
        if present:
            answer += [(name.encode(), text.encode()) for name, text in CLEAR.items()]
        return answer

    def end_former_worker(self, scope: Scope, key: int, *, secure: bool) -> Response | None:
        """Return what ends the service worker of a former app; None for other requests.

        The cookie stays as it is until the browser asks for a page.
        """
        if headers_of(scope).get(b"service-worker") != b"script":
            return None
        _, present = _read(scope, secure=secure)
        if present in ("", self._make_value(key)):
            return None
        return Response(END_WORKER, media_type="text/javascript", headers=CLEAR)

    def _make_value(self, key: int) -> str:
        return f"{self.deployment}.{key}"


def _make_name(headers: Mapping[bytes, bytes], *, secure: bool) -> str:
    """Return the name of the cookie. On http it has the port: a browser sends it to every port."""
    if secure:
        return "__Host-caudex_app"
    port = headers.get(b"host", b"").rpartition(b":")[2].decode("latin-1")
    return f"caudex_app_{port}" if port.isdigit() else "caudex_app"


def _read(scope: Scope, *, secure: bool) -> tuple[str, str]:
    """Return the name and the value of the cookie; the value is empty where it is missing.

    `http.cookies` is not used: it unquotes values, which takes long for a malicious header.
    """
    headers = headers_of(scope)
    name = _make_name(headers, secure=secure)
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        cookie, _, value = pair.partition("=")
        if cookie.strip() == name:
            return name, value.strip()
    return name, ""
