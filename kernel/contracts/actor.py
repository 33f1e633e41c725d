"""Who acts: a user, a worker on behalf of one, or the server itself."""

from __future__ import annotations

import math
import time
from typing import Final

import msgspec

MAX_DELEGATION: Final = 8 * 86_400.0
"""Seconds after something that users do themselves, a call or a job, in which workers may act for
them: the longest job, and a day in which it begins."""

REVOKED: Final = "delegations"
"""Topic of NOTIFICATIONS: the id of a user whose tokens for workers no longer hold, so that nobody
who remembers one hands it out."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a worker act for a user. Times are in seconds since 1970.

    `expires` ends the token at hand; `ends` all that is got by it, tokens of jobs too. `mark` is
    the provider's own, by which it knows whether the delegation was withdrawn; empty for a new one.
    """

    expires: float
    ends: float
    mark: str = ""


def new_delegation(seconds: float) -> Delegation:
    """One that begins now, with a token for `seconds`.

    It ends at a full hour, so that what a user does within one has the same end.
    """
    now = time.time()
    expires = math.floor(now) + math.ceil(seconds)
    return Delegation(expires=expires, ends=max(expires, (now + MAX_DELEGATION) // 3600 * 3600))


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf something happens; `user_id` is None for the server itself.

    `delegation` is None where it is who acts that asks, and not a worker with a token of `token` or
    `issue_delegated_token`.
    """

    user_id: str | None
    username: str = ""
    session_id: str | None = None
    request_id: str = ""
    address: str = ""
    delegation: Delegation | None = None


def server_actor(request_id: str = "") -> Actor:
    """The server acting for itself."""
    return Actor(user_id=None, username="server", request_id=request_id)
