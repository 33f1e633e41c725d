"""Links that work without a token: as long as who made one has the right to what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kernel.contracts.base import Actor, new_delegation
from kernel.contracts.identity import Identity

LINK_HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "private, no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "cross-origin",
}
"""Headers of what a link shows: its address is a secret."""

CHECK_SECONDS: Final = 60.0


async def check_link_maker(identity: Identity, maker: Actor, app_id: str) -> None:
    """Require that the account and the key of who made a link are good. Raises NotFound.

    The rights are another question: ask ACCESS with the same actor.
    """
    # Such a token is refused for accounts that are closed and keys that have ended. It is made for
    # this question alone, and thrown away.
    delegation = new_delegation(app_id, CHECK_SECONDS)
    await identity.issue_delegated_token(maker.user_id or "", delegation, maker.limits)
