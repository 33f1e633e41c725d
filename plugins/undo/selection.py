"""Reads a body: which changes are meant, and whose they are."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from kernel.public import App, BadRequest, ChangeSelection, nearest

from .models import UndoBody


def read_selection(app: App, body: UndoBody) -> ChangeSelection:
    """Return the changes that a body means, without those of children. Raises BadRequest."""
    _check_form(body)
    entities = _check_entities(app, body.entities)
    if body.record is not None:
        entity = body.record.entity
        _check_entities(app, [entity])
        if entities is not None and entity not in entities:
            raise BadRequest("entities leaves out the record's own entity")
        return ChangeSelection(
            app_id=app.id,
            record_id=body.record.id,
            entities=[entity],
            after=_read_time("to", body.to),
        )
    actor_id = None
    if body.actor is not None:
        actor_id = _read_user(body.actor)
    request_ids: tuple[str, ...] = ()
    if body.request is not None:
        request_ids = (body.request,)
    return ChangeSelection(
        app_id=app.id,
        request_ids=request_ids,
        actor_id=actor_id,
        entities=entities,
        since=_read_time("since", body.since),
        until=_read_time("until", body.until),
    )


def _check_form(body: UndoBody) -> None:
    if body.record is not None:
        others = (body.request, body.actor, body.since, body.until)
        if any(value is not None for value in others):
            raise BadRequest("record goes with to, and not with request, actor, since or until")
        if body.to is None:
            raise BadRequest("record needs to: the time to go back to")
    elif body.to is not None:
        raise BadRequest("to goes with record")
    elif body.request is None and body.actor is None:
        raise BadRequest("request, actor with since, or record with to is needed")
    elif body.request is None and body.since is None:
        raise BadRequest("actor needs since: the time of the first change")
    if body.children and body.request is None:
        raise BadRequest("children goes with request")


def _check_entities(app: App, names: list[str] | None) -> list[str] | None:
    if names is None:
        return None
    if not names:
        raise BadRequest("entities must name at least one entity")
    for name in names:
        if name not in app.entities:
            hint = nearest(name, app.entities)
            raise BadRequest(f"entities: {app.id} has no entity {name[:80]!r}; {hint}")
    return names


def _read_user(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise BadRequest("actor must be the id of a user") from None


def _read_time(name: str, text: str | None) -> str | None:
    """Return a time as PostgreSQL reads it; without an offset it is in UTC."""
    if text is None:
        return None
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    except (msgspec.ValidationError, OverflowError):
        raise BadRequest(f"{name}: an RFC 3339 time is wanted, not {text[:40]!r}") from None
