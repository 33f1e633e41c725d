"""The rules of shares: who makes, sees, revokes and opens one."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kernel.public import (
    UNPRINTABLE,
    Access,
    Actor,
    BadRequest,
    Event,
    Forbidden,
    Identity,
    LinkQuery,
    NotFound,
    RateLimiter,
    SavedViews,
    ServiceKey,
    Statements,
    Transaction,
    act_as_maker,
    app_permission,
    check_link_maker,
    check_link_query,
    find_link_rights,
    is_uuid,
    read_expiry,
    read_link_view,
)

from . import store
from .config import SharesConfig
from .contents import SharedRecords
from .methods import PublicMethods
from .models import NewShare, OpenedShare, PreparedShare, PublicCall, Share

PERMISSION: Final = "public.share"
"""What a role of an app holds whose users make shares."""
MAKES_SHARES: Final = app_permission(PERMISSION)
MAX_CONTEXT: Final = 4_000
"""Bytes of JSON of a context."""
MAX_TOKEN: Final = 100
MARK: Final = "shr_"
"""What tokens begin with, so that scanners find secrets by it."""
PREFIX: Final = 12
"""Characters of a token that lists show."""
STRANGERS: Final = 5
"""How many times the rate of one share a client has for all of them."""
NO_SHARE: Final = "the share does not exist, or has ended"


class ShareParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of shares ask."""

    statements: Statements
    access: Access
    identity: Identity
    records: SharedRecords
    methods: PublicMethods
    find_views: Callable[[], SavedViews | None]


class Shares:
    """Makes, lists, revokes and opens shares."""

    def __init__(self, parts: ShareParts, config: SharesConfig) -> None:
        self._parts = parts
        self._config = config
        rate = config.rate / 60
        self._openings = RateLimiter(rate, burst=60)
        self._clients = RateLimiter(rate * STRANGERS, burst=60)

    @property
    def methods(self) -> PublicMethods:
        """The public methods of apps."""
        return self._parts.methods

    async def create(self, actor: Actor, app_id: str, body: NewShare) -> tuple[Share, str]:
        """Make a share with the rights of the caller, and return it with its token.

        Raises BadRequest, Forbidden, NotFound.
        """
        if actor.user_id is None:
            raise BadRequest("a share is made by a user, whose rights it has")
        prepared = await self._prepare(actor, app_id, body)
        await self._parts.records.read(actor, prepared)
        token = f"{MARK}{secrets.token_urlsafe(32)}"
        stored_token = store.StoredToken(_hash(token), token[:PREFIX])
        max_shares = self._config.most

        async def insert(tx: Transaction) -> Share:
            share = await store.insert(tx, actor, prepared, stored_token, max_shares)
            if share is None:
                raise BadRequest(f"a user has at most {max_shares} shares: revoke one first")
            await _record(tx, "SHARE_CREATED", share)
            return share

        return await self._parts.statements.run(actor, insert), token

    async def list(self, actor: Actor, app_id: str) -> Sequence[Share]:
        """Return the caller's shares of an app; for its admins those of all users.

        A request with a key sees those that were made with the key.
        """
        rights = await find_link_rights(self._parts.access, actor, app_id)
        shares = await store.read_shares(self._parts.statements, app_id, rights.user_id)
        return [share for share in shares if rights.covers(share)]

    async def delete(self, actor: Actor, app_id: str, share_id: str) -> None:
        """Revoke a share of the caller; admins of the app revoke any. Raises NotFound."""
        rights = await find_link_rights(self._parts.access, actor, app_id)

        async def remove(tx: Transaction) -> None:
            share = await store.lock(tx, app_id, share_id) if is_uuid(share_id) else None
            if share is None or not rights.covers(share):
                raise NotFound(f"share '{share_id[:64]}' not found")
            await store.delete(tx, share.id)
            await _record(tx, "SHARE_REVOKED", share)

        await self._parts.statements.run(actor, remove)

    async def open(self, token: str, caller: Actor) -> OpenedShare:
        """Return the share of a token, and its maker. Raises NotFound, Throttled.

        Every refusal has the same sentence, whatever the reason.
        """
        self._clients.check(caller.address, "too many requests for shares")
        if len(token) > MAX_TOKEN:
            raise NotFound(NO_SHARE)
        digest = _hash(token)
        self._openings.check(digest, "too many requests for this share")
        share = await store.open_share(self._parts.statements, digest)
        if share is None or caller.door not in (None, share.app_id):
            raise NotFound(NO_SHARE)
        maker = act_as_maker(share, caller)
        try:
            await check_link_maker(self._parts.identity, maker, share.app_id)
            path = {"app_id": share.app_id}
            await self._parts.access.authorize(maker, MAKES_SHARES, path)
        except (Forbidden, NotFound):
            raise NotFound(NO_SHARE) from None
        return OpenedShare(share, maker)

    async def read(self, opened: OpenedShare) -> bytes:
        """Return the records of a share as a JSON array. Raises NotFound."""
        records = await self._parts.records.find(opened.maker, opened.share)
        if records is None:
            raise NotFound(NO_SHARE)
        return records

    async def call(self, opened: OpenedShare, body: PublicCall) -> bytes:
        """Call a public method of the app. Raises Forbidden, NotFound, and what it raises."""
        return await self._parts.methods.call(opened, body)

    async def _prepare(self, actor: Actor, app_id: str, body: NewShare) -> PreparedShare:
        """Return what a share shows. Raises BadRequest, NotFound."""
        source = await self._read_source(actor, app_id, body)
        query = source.query
        if body.fields is not None:
            query = msgspec.structs.replace(query, fields=body.fields)
        if source.entity is not None and not query.fields:
            raise BadRequest("fields: name what is shown of each record")
        check_link_query(query)
        if len(msgspec.json.encode(body.context)) > MAX_CONTEXT:
            raise BadRequest(f"context: at most {MAX_CONTEXT} bytes of JSON are wanted")
        name = body.name or source.name
        if UNPRINTABLE.search(name):
            raise BadRequest("name must have 1 to 100 printable characters")
        return PreparedShare(
            app_id=app_id,
            name=name,
            entity=source.entity,
            record_id=source.record_id,
            query=query,
            context=body.context,
            expires=self._read_end(body.expires),
        )

    async def _read_source(self, actor: Actor, app_id: str, body: NewShare) -> Source:
        """Return where the records come from. Raises BadRequest, NotFound."""
        sources = [body.record, body.view, body.entity]
        if sum(source is not None for source in sources) > 1:
            raise BadRequest("one of record, view and entity is wanted")
        if body.query is not None and body.entity is None:
            raise BadRequest("query goes with entity")
        if body.record is not None:
            record = body.record
            return Source(name=record.entity, entity=record.entity, record_id=record.id)
        if body.entity is not None:
            query = body.query or LinkQuery()
            return Source(name=body.entity, entity=body.entity, query=query)
        if body.view is not None:
            views = self._parts.find_views()
            view = await read_link_view(views, actor, app_id, body.view, LinkQuery)
            return Source(name=view.name, entity=view.entity, query=view.query)
        if not body.context:
            raise BadRequest("a record, a view, an entity or a context is wanted")
        return Source(name=app_id)

    def _read_end(self, text: str | None) -> str:
        """Return when a share ends, at the latest after the configured days. Raises BadRequest."""
        latest = datetime.now(UTC) + timedelta(days=self._config.days)
        end = read_expiry(text) or latest
        if end > latest:
            raise BadRequest(f"expires must be within {self._config.days} days")
        return end.isoformat()


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records of a share come from; without an `entity` it has none."""

    name: str
    entity: str | None = None
    record_id: str | None = None
    query: LinkQuery = LinkQuery()


def _hash(token: str) -> str:
    """Hash a token. It has 256 random bits, so that a plain hash cannot be searched."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


async def _record(tx: Transaction, operation: str, share: Share) -> None:
    values: dict[str, Any] = {
        "app": share.app_id,
        "name": share.name,
        "entity": share.entity,
        "record_id": share.record_id,
        "fields": share.query.fields,
        "user_id": share.user_id,
        "expires": share.expires,
    }
    await tx.record(Event.core("shares", operation, tx.actor, share.id, new=values))


SHARES = ServiceKey[Shares]("shares")
