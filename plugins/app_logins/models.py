"""A login, and what the sessions of logins hold."""

from __future__ import annotations

from typing import Final

import msgspec


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A database login of an app, and where the database server answers."""

    role: str
    password: str
    database: str
    address: str | None
    port: int
    listens: str
    socket_folder: str


SHUT: Final = "shut by the server: "
"""The comment of a login that is shut begins with this; the reason follows."""


class HeldLogin(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of an app's login hold, and the age of their oldest transaction in seconds.

    `reached` says whether the server may end them.
    """

    role: str
    number: int
    reached: bool
    comment: str | None
    locks: int
    age: float

    @property
    def shut(self) -> str | None:
        """The reason why it is shut, or None."""
        comment = self.comment or ""
        return comment.removeprefix(SHUT) if comment.startswith(SHUT) else None


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What logins of apps hold of shared resources.

    `room` is how many locks fit into the lock table, `queue` the share of the notification queue
    that is in use, whichever sessions fill it.
    """

    room: int
    queue: float
    logins: list[HeldLogin]
