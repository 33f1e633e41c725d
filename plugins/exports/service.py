"""The rules of links: who makes, sees, revokes and opens one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from kernel.public import (
    UNPRINTABLE,
    Access,
    Actor,
    BadRequest,
    Event,
    Forbidden,
    NotFound,
    SavedViews,
    ServiceKey,
    Statements,
    Target,
    Transaction,
    act_as_maker,
    check_link_query,
    find_link_rights,
    is_uuid,
    read_expiry,
    read_link_view,
)

from . import store
from .contents import ExportContents
from .models import ExportLink, ExportQuery, NewExport, NewLink
from .signing import LinkSigner

MAX_LINKS: Final = 100
"""Links of a user."""
BAD_LINK: Final = "the link is not valid, or has ended"
LOST_RIGHT: Final = "the link has ended with the right of who made it"


class OpenedExport(msgspec.Struct, frozen=True):
    """A link that was opened, and what it reads now."""

    link: ExportLink
    target: Target


class ExportLinks:
    """Makes, lists, revokes and opens links."""

    def __init__(
        self,
        statements: Statements,
        access: Access,
        signer: LinkSigner,
        contents: ExportContents,
        find_views: Callable[[], SavedViews | None],
    ) -> None:
        self._statements = statements
        self._access = access
        self._signer = signer
        self._contents = contents
        self._find_views = find_views

    async def create(self, actor: Actor, app_id: str, body: NewExport) -> ExportLink:
        """Make a link with the rights of the caller. Raises BadRequest, Forbidden, NotFound."""
        user_id = actor.user_id
        if user_id is None:
            raise BadRequest("a link is made by a user, whose rights it has")
        end = read_expiry(body.expires)
        expires = None if end is None else end.isoformat()
        link = await self._read_body(actor, app_id, body, expires)
        check_link_query(link.query)
        target = await self._contents.find_target(actor, app_id, link.entity)
        await self._contents.check(target, link)

        async def insert(tx: Transaction) -> ExportLink:
            stored = await store.insert(tx, actor, link, MAX_LINKS)
            if stored is None:
                raise BadRequest(f"a user has at most {MAX_LINKS} links: revoke one first")
            await _record(tx, "EXPORT_LINK_CREATED", stored)
            return stored

        return await self._statements.run(actor, insert)

    async def list(self, actor: Actor, app_id: str) -> Sequence[ExportLink]:
        """Return the caller's links of an app; for its admins those of all users.

        A request with a key sees those that were made with the key: others may show more.
        """
        rights = await find_link_rights(self._access, actor, app_id)
        links = await store.read_links(self._statements, app_id, rights.user_id)
        return [link for link in links if rights.covers(link)]

    async def delete(self, actor: Actor, app_id: str, export_id: str) -> None:
        """Revoke a link of the caller; admins of the app revoke any. Raises NotFound."""
        rights = await find_link_rights(self._access, actor, app_id)

        async def remove(tx: Transaction) -> None:
            link = await store.lock(tx, app_id, export_id) if is_uuid(export_id) else None
            if link is None or not rights.covers(link):
                raise NotFound(f"export '{export_id[:64]}' not found")
            await store.delete(tx, link.id)
            await _record(tx, "EXPORT_LINK_REVOKED", link)

        await self._statements.run(actor, remove)

    async def open(self, token: str, request: Actor, app_id: str, export_id: str) -> OpenedExport:
        """Return what a link shows. Raises Forbidden; `request` says where it comes from."""
        link_id = export_id.lower()
        if not self._signer.is_for(token, app_id, link_id):
            raise Forbidden(BAD_LINK)
        link = await store.read_link(self._statements, app_id, link_id)
        if link is None or link.ended:
            raise Forbidden(BAD_LINK)
        maker = act_as_maker(link, request)
        try:
            await self._signer.check_maker(maker, app_id)
            target = await self._contents.find_target(maker, app_id, link.entity)
        except (Forbidden, NotFound):
            raise Forbidden(LOST_RIGHT) from None
        await store.note_use(self._statements, link.id)
        return OpenedExport(link, target)

    def read(self, export: OpenedExport) -> AbstractAsyncContextManager[Any]:
        """Return the pieces of the file of a link."""
        return self._contents.open(export.target, export.link)

    def sign(self, link: ExportLink, actor: Actor) -> str | None:
        """Return the token of a link for who made it, None for others."""
        return self._signer.sign(link) if link.user_id == actor.user_id else None

    async def _read_body(
        self, actor: Actor, app_id: str, body: NewExport, expires: str | None
    ) -> NewLink:
        """Return what a link shows. Raises BadRequest, NotFound."""
        if (body.view is None) == (body.entity is None):
            raise BadRequest("a view, or an entity with a query, is wanted")
        if body.view is None:
            entity_name = body.entity or ""
            name = body.name or entity_name
            query = body.query or ExportQuery()
        else:
            if body.query is not None:
                raise BadRequest("query does not go with view")
            views = self._find_views()
            view = await read_link_view(views, actor, app_id, body.view, ExportQuery)
            entity_name = view.entity
            name = body.name or view.name
            query = view.query
        if UNPRINTABLE.search(name):
            raise BadRequest("name must have 1 to 100 printable characters")
        return NewLink(
            app_id=app_id,
            entity=entity_name,
            name=name,
            format=body.format,
            raw=body.raw,
            query=query,
            expires=expires,
        )


async def _record(tx: Transaction, operation: str, link: ExportLink) -> None:
    values = {
        "app": link.app_id,
        "entity": link.entity,
        "name": link.name,
        "format": link.format,
        "user_id": link.user_id,
        "expires": link.expires,
    }
    await tx.record(Event.core("exports", operation, tx.actor, link.id, new=values))


EXPORTS = ServiceKey[ExportLinks]("export_links")
