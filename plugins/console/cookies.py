"""The cookie that holds the refresh token, so that a reload does not sign the user out.

Scripts cannot read it, and one route reads it: that route answers only requests of the console's
own pages (`Sec-Fetch-Site`), so another site can neither send it nor see the reply.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from kernel.public import Forbidden, Request

PATH = "/api/v1/console/session"
MAX_AGE = 30 * 86_400


def check_same_origin(request: Request) -> None:
    """Refuse what no page of this server sent. Every current browser sends the header."""
    if request.headers.get("sec-fetch-site") != "same-origin":
        raise Forbidden("only the console itself may use this route")


def read(request: Request, instance: str) -> str:
    """Return the refresh token of the cookie, or an empty text."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    morsel = jar.get(_name(instance))
    return morsel.value if morsel else ""


def write(request: Request, instance: str, token: str) -> str:
    """Return the header `Set-Cookie` that keeps a token; an empty token clears the cookie.

    A browser names the scheme of its page in `Origin`, also behind a proxy that ends TLS.
    """
    secure = "; Secure" if request.headers.get("origin", "").startswith("https:") else ""
    age = MAX_AGE if token else 0
    flags = f"Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
    return f"{_name(instance)}={token}; {flags}"


def _name(instance: str) -> str:
    return f"caudex_{instance}"
