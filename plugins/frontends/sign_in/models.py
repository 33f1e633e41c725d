"""Bodies, replies and parameters of the routes, and rows."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Challenge = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
State = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{16,64}$")]


class Entry(Struct, frozen=True, kw_only=True):
    """Query of the begin of a sign-in: the path of the app's host to return to."""

    return_to: str = "/"


class Callback(Struct, frozen=True, kw_only=True):
    """Query of the end of a sign-in."""

    code: str = ""
    state: str = ""


class Continuation(Struct, frozen=True, kw_only=True):
    """Body by which the sign-in page continues its session on the host of an app.

    `challenge` and `state` are those that the app's host has sent with the browser.
    """

    app: str
    challenge: Challenge
    state: State


class Continued(Struct, frozen=True, kw_only=True):
    """The address, on the app's host, to which the browser goes next; it works for a minute."""

    url: str


class PageSession(Struct, frozen=True, kw_only=True, rename="camel"):
    """An access token for pages of the app's host, and its seconds."""

    access_token: str
    expires_in: int


class Code(Struct, frozen=True, kw_only=True):
    """A code that was used: what it was made for."""

    app_id: str
    challenge: str
    user_id: str
    session_id: str
    expired: bool
