"""Requests that act once however often they are sent."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

from kernel.public import (
    Actor,
    Answer,
    BadRequest,
    KeyedRequest,
    Statements,
    Transaction,
    Unavailable,
    Work,
)

from . import store
from .store import Place

MAX_REPLY: Final = 1_000_000
"""Bytes of a reply that is kept; of a larger one only the fact is."""

WAIT_SECONDS: Final = 10.0
BATCH: Final = 1000
DONE: Final = "already done: the reply is no longer available"
SERVER: Final = str(uuid.UUID(int=0))
"""In place of a user for what workers write in their app's name."""
STRANGER: Final = str(uuid.UUID(int=1))
"""In place of a user for callers of public routes: they get no reply of the server's."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyService:
    """Provides IDEMPOTENCY."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def run_once(
        self,
        actor: Actor,
        request: KeyedRequest,
        rights: str,
        work: Work[Answer],
        *,
        subject: str = "",
    ) -> Answer:
        """See `Idempotency.run_once`."""
        if not _KEY.fullmatch(request.key):
            raise BadRequest("Idempotency-Key must be 1 to 255 visible characters of ASCII")
        route = request.route
        if actor.limits is not None and actor.limits.key:
            route = f"key {actor.limits.key} {route}"
        if actor.door is not None:  # a reply is repeated at the door that it was made for
            route = f"host {actor.door} {route}"
        stand_in = SERVER if actor.is_server else STRANGER
        place = Place(actor.user_id or stand_in, route, request.key)
        digest = hashlib.sha256(request.body).hexdigest()

        async def attempt(tx: Transaction) -> Answer:
            if not await store.claim(tx, place, digest, rights, WAIT_SECONDS):
                return await self._repeat_answer(tx, place, digest, rights)
            answer = await work(tx)
            text = answer.body.decode() if len(answer.body) <= MAX_REPLY else None
            await store.keep(tx, place, answer, text)
            return answer

        return await self._statements.run(actor, attempt, subject=subject)

    async def _repeat_answer(
        self, tx: Transaction, place: Place, digest: str, rights: str
    ) -> Answer:
        """Return the answer to the first request, if the key belongs to the same one."""
        earlier = await store.find(tx, place)
        if earlier is None:
            raise Unavailable("the request with this Idempotency-Key has just expired")
        if earlier.body != digest:
            raise BadRequest("this Idempotency-Key was used with another body")
        if earlier.rights != rights or earlier.reply is None or earlier.status is None:
            raise BadRequest(DONE)
        return Answer(earlier.status, earlier.reply.encode(), earlier.headers or {})

    async def expire(self) -> None:
        """Delete keys that are over a day old."""
        while await store.expire(self._statements, BATCH) == BATCH:
            pass
