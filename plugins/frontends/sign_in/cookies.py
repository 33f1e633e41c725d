"""The two cookies of an app's host: of a sign-in that is under way, and of a session.

A browser sends cookies to every port of a host, so on http their names have the port. On https
they have the prefix `__Host-`: no other host can set them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from kernel.public import Forbidden, Request, Unopenable, open_value, seal_value
from plugins.frontends.hosts import Hosts

ATTEMPT: Final = "caudex_sign_in"
SESSION: Final = "caudex_session"
ATTEMPT_SECONDS: Final = 900
"""How long a user may take to enter a password."""
SESSION_SECONDS: Final = 30 * 86_400
MAX_RETURN: Final = 2000
"""Characters of the path to return to."""


class Attempt(NamedTuple):
    """A sign-in under way, which only the browser knows that began it."""

    state: str
    verifier: str
    return_to: str

    @property
    def challenge(self) -> str:
        """What the server's sign-in page gets in place of the verifier (RFC 7636, S256)."""
        return make_challenge(self.verifier)


def new_attempt(return_to: str) -> Attempt:
    """Begin a sign-in that returns to a path of this host; to `/` for anything else."""
    return Attempt(secrets.token_urlsafe(24), secrets.token_urlsafe(32), clean_path(return_to))


def make_challenge(verifier: str) -> str:
    """Hash a verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def clean_path(text: str) -> str:
    """Return a path of this host with its query and fragment; `/` for anything else.

    A browser reads `//host` and `/\\host` as another host, and leaves out tabs and line breaks.
    """
    is_path = text.startswith("/") and not text.startswith(("//", "/\\"))
    is_plain = text.isascii() and text.isprintable() and "\\" not in text and " " not in text
    is_of_auth = text.startswith("/_auth")
    if not is_path or not is_plain or is_of_auth or len(text) > MAX_RETURN:
        return "/"
    return text


def check_same_origin(request: Request) -> None:
    """Refuse a request that no page of this host sent. Raises Forbidden.

    A browser names the site of a page on https and on loopback only. Elsewhere it names the page's
    origin, where the request is no GET.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        origin = request.headers.get("origin", "")
        host = request.headers.get("host", "")
        is_same = host != "" and origin in (f"http://{host}", f"https://{host}")
    else:
        is_same = site == "same-origin"
    if not is_same:
        raise Forbidden("only pages of this host may use this route")


def write_attempt(attempt: Attempt) -> str:
    """Return the value of the cookie of an attempt."""
    path = base64.urlsafe_b64encode(attempt.return_to.encode()).decode("ascii")
    return f"{attempt.state}.{attempt.verifier}.{path}"


def read_attempt(value: str) -> Attempt | None:
    """Read the value of the cookie of an attempt; None for another text."""
    parts = value.split(".")
    if len(parts) != 3:
        return None
    state, verifier, path = parts
    try:
        return_to = base64.urlsafe_b64decode(path).decode()
    except (binascii.Error, ValueError):
        return None
    return Attempt(state, verifier, clean_path(return_to))


def seal_token(key: bytes, token: str, app_id: str) -> str:
    """Encrypt a refresh token for the cookie of an app's host: by itself it is no token."""
    sealed = seal_value(key, token.encode(), _place(app_id))
    return base64.urlsafe_b64encode(sealed).decode("ascii")


def open_token(key: bytes, value: str, app_id: str) -> str | None:
    """Return the refresh token in a cookie; None for another text."""
    try:
        return open_value(key, base64.urlsafe_b64decode(value), _place(app_id)).decode()
    except (Unopenable, binascii.Error, ValueError):
        return None


def read_cookie(header: str, name: str) -> str:
    """Return the value of a cookie, or an empty text; of several the last is not looked at.

    `http.cookies` is not used: it unquotes values, which takes long for a malicious header.
    """
    for pair in header.split(";"):
        cookie, _, value = pair.partition("=")
        if cookie.strip() == name:
            return value.strip()
    return ""


class HostCookies:
    """Reads and writes cookies that belong to the host of a request, and to no other."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def read(self, headers: Mapping[bytes, bytes], name: str) -> str:
        """Return the value of a cookie, or an empty text."""
        cookies = headers.get(b"cookie", b"").decode("latin-1")
        return read_cookie(cookies, self._make_name(headers, name))

    def make_header(
        self, headers: Mapping[bytes, bytes], name: str, value: str, seconds: int
    ) -> str:
        """Return the header `Set-Cookie`; an empty value removes the cookie.

        Not Strict: a browser that comes from the sign-in page, or from a link in a mail, would not
        send it. The routes look at where a request comes from instead.
        """
        max_age = 0
        if value:
            max_age = seconds
        flags = f"Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax"
        if self._is_secure(headers):
            flags += "; Secure"
        return f"{self._make_name(headers, name)}={value}; {flags}"

    def _make_name(self, headers: Mapping[bytes, bytes], name: str) -> str:
        if self._is_secure(headers):
            return f"__Host-{name}"
        port = _host(headers).rpartition(":")[2]
        return f"{name}_{port}" if port.isdigit() else name

    def _is_secure(self, headers: Mapping[bytes, bytes]) -> bool:
        name = _host(headers).partition(":")[0].lower().removesuffix(".")
        return self._hosts.is_secure(name)


def _host(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"host", b"").decode("latin-1")


def _place(app_id: str) -> list[bytes]:
    return [b"caudex session", app_id.encode()]
