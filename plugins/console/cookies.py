"""The cookie of a session, so that a reload does not sign the user out.

A browser sends a cookie to every port of a host, so a program on another port of this machine can
read it. Therefore the cookie is one half of what continues a session: a refresh token, encrypted
with a key. The key is the other half. It is in the storage of the console's origin, which pages
of other ports cannot read, and the server stores neither half. See docs/adr/0019-*.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from kernel.public import Forbidden, Request

PATH = "/api/v1/console/session"
MAX_AGE = 30 * 86_400


def check_same_origin(request: Request) -> None:
    """Refuse a request that no page of this server sent. Raises Forbidden.

    A browser names the site of a page on https and on loopback only. Elsewhere it names the page's
    origin.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        origin = request.headers.get("origin", "")
        is_same = origin == f"http://{request.headers.get('host')}"
    else:
        is_same = site == "same-origin"
    if not is_same:
        raise Forbidden("only the console itself may use this route")


def new_key() -> str:
    """Make the key of a session's cookie, 128 random bits."""
    return secrets.token_hex(16)


def seal(token: str, key: str) -> str:
    """Encrypt a refresh token for the cookie."""
    return base64.urlsafe_b64encode(_box(key).encrypt(token.encode())).decode("ascii")


def unseal(value: str, key: str) -> str | None:
    """Return the refresh token of a cookie; None where the key is another one."""
    try:
        return _box(key).decrypt(base64.urlsafe_b64decode(value)).decode()
    except (CryptoError, ValueError, TypeError, binascii.Error):
        return None


def read(request: Request, instance: str) -> str:
    """Return the value of the cookie, or an empty text.

    `http.cookies` is not used: it unquotes values, which takes long for a malicious header.
    """
    for pair in request.headers.get("cookie", "").split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == _name(instance):
            return value.strip()
    return ""


def write(request: Request, instance: str, value: str) -> str:
    """Return the header `Set-Cookie` that keeps a value; an empty one clears the cookie.

    A browser names the scheme of its page in `Origin`, also behind a proxy that ends TLS.
    """
    max_age = 0
    if value:
        max_age = MAX_AGE
    path = request.public_path(PATH)
    flags = f"Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict"
    if request.headers.get("origin", "").startswith("https:"):
        flags += "; Secure"
    return f"{_name(instance)}={value}; {flags}"


def _box(key: str) -> SecretBox:
    digest = hashlib.blake2b(key.encode(), digest_size=32, person=b"caudex-console")
    return SecretBox(digest.digest())


def _name(instance: str) -> str:
    return f"caudex_{instance}"
