"""Who performs an operation, and what narrows its rights."""

from __future__ import annotations

import math
import time
from typing import Final

import msgspec

__all__ = [
    "MAX_DELEGATION",
    "NOTHING",
    "REVOKED_DELEGATIONS",
    "Actor",
    "Delegation",
    "Limits",
    "new_delegation",
    "server_actor",
]

MAX_DELEGATION: Final = 8 * 86_400.0
"""Seconds for which workers may act on behalf of a user after the user's own call or job: the
longest job (7 days), and one day in which it starts."""

REVOKED_DELEGATIONS: Final = "delegations"
"""Topic of NOTIFICATIONS: the id of a user whose delegations were revoked. A plugin that caches
tokens of `issue_delegated_token` drops those of this user."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """Lets a worker act on behalf of a user (RFC 8693, 1.1). Times are in seconds since 1970.

    `app_id` is the app of the worker. Only routes with `Route.workers` accept its token, for this
    app and, with grants of a core admin, for others. `expires` is the end of this token; `ends` is
    the end of every token that is derived from it, those of jobs included. `epoch` is the
    provider's own text: it changes when the user's delegations are revoked. It is empty in a new
    delegation.
    """

    app_id: str
    expires: float
    ends: float
    epoch: str = ""


def new_delegation(app_id: str, seconds: float) -> Delegation:
    """Make a delegation that begins now, for a worker of an app, with a token for `seconds`.

    It ends at a full hour, so that all requests within an hour share one delegation.
    """
    now = time.time()
    expires = math.floor(now) + math.ceil(seconds)
    ends = max(expires, (now + MAX_DELEGATION) // 3600 * 3600)
    return Delegation(app_id=app_id, expires=expires, ends=ends)


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True):
    """Narrows what an actor may do to a part of its user's rights. Authenticators set it.

    `key` is the id of the API key that the request came with, empty for other credentials. `apps`
    are the ids of the apps that may be used; `core` is for routes without an app. `permissions` are
    `<app>:<key>`, where `*` is any entity or action, and `<app>:rpc`, `<app>:jobs` and
    `<app>:*`. None narrows nothing. Where both are given, both must allow.
    """

    key: str = ""
    apps: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None

    @property
    def narrow(self) -> bool:
        """Whether some right of the user may be missing."""
        return self.apps is not None or self.permissions is not None


NOTHING: Final = Limits(apps=())
"""The limits of an actor that may do nothing on behalf of its user, and of a stranger."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The party that performs an operation; `user_id` is None for the server itself (`is_server`).

    It is None for a caller of a public route as well, whose `limits` are `NOTHING`.
    `delegation` is set for a worker that sends a token of `issue_delegated_token`. It is None for a
    user that sends a token of a session. `door` is the app through whose host the credentials may
    be used, and only there; None for the server's own host. `limits` are those of what the request
    came with; a plugin passes them to ACCESS with `user_id`. `via` names what the operation came
    through, if not REST itself, and after a space its client: `mcp some-agent`. The trail has it.
    """

    user_id: str | None
    username: str = ""
    session_id: str | None = None
    request_id: str = ""
    address: str = ""
    delegation: Delegation | None = None
    limits: Limits | None = None
    door: str | None = None
    via: str = ""

    @property
    def is_server(self) -> bool:
        """Whether the server itself acts, or a worker for no user: it may do everything.

        A stranger without an account is not the server.
        """
        return self.user_id is None and self.limits is None


def server_actor(request_id: str = "") -> Actor:
    """Make the actor of the server itself."""
    return Actor(user_id=None, username="server", request_id=request_id)
