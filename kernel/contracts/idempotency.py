"""Replies that are kept, so that a request which is sent again acts once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.statements import Work

__all__ = ["IDEMPOTENCY", "Answer", "Idempotency", "KeyedRequest"]


class Answer(msgspec.Struct, frozen=True):
    """A successful reply that can be repeated: `status` is that of HTTP, `body` its bytes."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class KeyedRequest(msgspec.Struct, frozen=True):
    """A request that acts once: its route, the key that its client chose, and its body."""

    route: str
    key: str
    body: bytes


class Idempotency(Protocol):
    """Keeps the replies of requests by the key that the client chose."""

    async def run_once(
        self,
        actor: Actor,
        request: KeyedRequest,
        rights: str,
        work: Work[Answer],
        *,
        subject: str = "",
    ) -> Answer:
        """Run `work` in a transaction with the key, or return the answer of the first run.

        `subject` is that of `Statements.run`. The route of the request names the installation of
        the app, the method, path and parameters. A key belongs to the user of the actor, without
        one to the server, and to the API key of its limits. `rights` describes in any form what
        the caller may see of the reply: if that has changed, the reply is not repeated. Check the
        permission first.

        Raises BadRequest for another body under the key, and if the answer was not kept;
        Unavailable if the first run takes too long.
        """
        ...


IDEMPOTENCY = ServiceKey[Idempotency]("idempotency")
