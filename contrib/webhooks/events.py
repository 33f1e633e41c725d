"""Makes deliveries of committed changes, with the rights of the role of a webhook."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    CHANGES,
    WATCHES,
    BadRequest,
    CommittedChange,
    Forbidden,
    NotFound,
    Services,
    Verdict,
    Watch,
    Watched,
    judge_part,
)

from .models import Hook, NewDelivery

READS_ALL: Final = "admin"
"""The role whose rights a webhook without `as` has: it reads everything of its app."""
_ID_BYTES: Final = 20
"""Bytes of a hash in the id of a delivery."""


class Events(msgspec.Struct, frozen=True):
    """What the changes of a page are for a webhook.

    `unknown` counts those that a value decides which nothing holds any more.
    """

    deliveries: list[NewDelivery]
    unknown: int


class EventMaker:
    """Judges changes for webhooks."""

    def __init__(self, services: Services) -> None:
        self._changes = services.get(CHANGES)
        self._watches = services.get(WATCHES)

    async def open(self, hook: Hook) -> Watch:
        """Compile what a webhook watches. Raises BadRequest where that is not possible now."""
        watched = Watched(
            app_id=hook.app_id,
            entity=hook.entity,
            where=hook.where,
            fields=hook.fields,
            former=True,
        )
        try:
            return await self._watches.open_as_role(hook.role or READS_ALL, watched)
        except (Forbidden, NotFound) as error:
            raise BadRequest(error.message) from None

    async def make(self, hook: Hook, watch: Watch, part: Sequence[CommittedChange]) -> Events:
        """Return the deliveries of a part of `cut_before_fill`, in its order. Raises Unavailable.

        The changes are of the entity.
        """
        basis = describe_basis(hook, watch)
        verdicts = await judge_part(self._changes, watch, part)
        deliveries: list[NewDelivery] = []
        unknown = 0
        for change, verdict in zip(part, verdicts, strict=True):
            if verdict is None:
                continue
            if verdict.event == "unknown":
                unknown += 1
            elif verdict.event in hook.on:
                deliveries.append(_describe(hook, change, verdict, basis))
        return Events(deliveries, unknown)


def describe_basis(hook: Hook, watch: Watch) -> str:
    """Return a text that is equal while the same changes give the same bodies."""
    parts = (hook.on, hook.entity, watch.key)
    encoded = msgspec.json.encode(parts, order="deterministic", enc_hook=repr)
    return hashlib.sha256(encoded).hexdigest()


def _describe(hook: Hook, change: CommittedChange, verdict: Verdict, basis: str) -> NewDelivery:
    data: dict[str, Any] = {"app": hook.app_id, "entity": hook.entity, "id": change.record_id}
    if verdict.record is not None:
        data["record"] = msgspec.Raw(verdict.record)
    if verdict.former is not None:
        data["old"] = msgspec.Raw(verdict.former)
    if verdict.truncated:
        data["truncated"] = verdict.truncated
    data |= {"actor": change.actor, "request": change.request, "position": change.position}
    body = {"type": f"{hook.entity}.{verdict.event}", "timestamp": change.at, "data": data}
    return NewDelivery(
        id=_make_id(hook, change),
        hook_id=hook.id,
        place=change.id,
        event=verdict.event,  # pyright: ignore[reportArgumentType] - "unknown" is left out before
        entity=hook.entity,
        record=change.record_id,
        body=msgspec.json.encode(body).decode(),
        basis=basis,
        at=change.at,
    )


def _make_id(hook: Hook, change: CommittedChange) -> str:
    """Return the `webhook-id` of a change: the same, however often it is queued.

    A restored database gives the numbers of changes that it has lost to others, of another time.
    """
    name = f"{hook.id} {change.id} {change.at}"
    digest = hashlib.sha256(name.encode()).digest()[:_ID_BYTES]
    return "msg_" + base64.b32encode(digest).decode().lower()
