"""Requests that act once, however often a client sends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.contracts.base import ServiceKey

if TYPE_CHECKING:
    from kernel.contracts.base import Actor
    from kernel.contracts.statements import Transaction

__all__ = ["IDEMPOTENCY", "Answer", "Idempotency"]


class Answer(msgspec.Struct, frozen=True):
    """A reply of success, to give again."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Idempotency(Protocol):
    """Keeps the replies of requests by the key that the client chose."""

    async def once(
        self,
        actor: Actor,
        route: str,
        key: str,
        body: bytes,
        rights: str,
        work: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        """Run `work` in a transaction with the key, or return the answer of the first run.

        `route` names method, path and parameters. `rights` says in any form what the caller may see
        of the reply: where it has changed, the reply is not given again. The caller checks the
        permission before. Raises BadRequest for another body under the key, and where the answer
        was not kept; Unavailable where the first run takes too long.
        """
        ...


IDEMPOTENCY = ServiceKey[Idempotency]("idempotency")
