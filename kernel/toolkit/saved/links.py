"""Links that work without a token: as long as who made one has the right to what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, Literal, Protocol, TypeVar

import msgspec

from kernel.contracts.access import Access, limits_of
from kernel.contracts.base import Actor, Limits, new_delegation
from kernel.contracts.identity import Identity
from kernel.contracts.records import Page, View, Where
from kernel.contracts.server.views import SavedViews
from kernel.errors import BadRequest

LINK_HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "private, no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "cross-origin",
}
"""Headers of what a link shows: its address is a secret."""

MAX_QUERY: Final = 64_000
"""Bytes of JSON of the query of a link."""
CHECK_SECONDS: Final = 60.0


class LinkQuery(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    omit_defaults=True,
):
    """The records that a link shows: members of the body of POST …/query; without any, all.

    `limit` is the number of records that it shows at most.
    """

    where: Where | None = None
    search: str | None = None
    order_by: str | None = None
    order: Literal["asc", "desc"] | None = None
    then_by: (
        Annotated[list[dict[str, Literal["asc", "desc"]]], msgspec.Meta(max_length=7)] | None
    ) = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    fields: list[str] | None = None

    @property
    def view(self) -> View:
        """What is shown of each record."""
        return View(fields=self.fields)

    @property
    def page(self) -> Page:
        """The records that are shown; the limit of the query is for who reads them."""
        view = self.view
        return Page(
            where=self.where,
            order_by=self.order_by,
            order=self.order or "desc",
            then_by=self.then_by or (),
            view=None if view == View() else view,
            search=self.search,
        )

    def page_of(self, default: int, maximum: int) -> Page:
        """Return one page of them, of `maximum` records at most.

        Their number is the limit of the query, else `default`.
        """
        return msgspec.structs.replace(self.page, limit=min(self.limit or default, maximum))


AnyQuery = TypeVar("AnyQuery", bound=LinkQuery)


class StoredLink(Protocol):
    """A link with who made it, and the limits of the key that it was made with."""

    @property
    def user_id(self) -> str:
        """The id of the user who made it."""
        ...

    @property
    def username(self) -> str:
        """The name of that user, for the log and the trail."""
        ...

    @property
    def limits(self) -> Limits | None:
        """The limits of the API key, None without one."""
        ...


def act_as_maker(link: StoredLink, caller: Actor) -> Actor:
    """Return who made a link, as the actor of what its caller asks for now."""
    return Actor(
        user_id=link.user_id,
        username=link.username,
        request_id=caller.request_id,
        address=caller.address,
        limits=link.limits,
    )


async def check_link_maker(identity: Identity, maker: Actor, app_id: str) -> None:
    """Require that the account and the key of who made a link are good. Raises NotFound.

    The rights are another question: ask ACCESS with the same actor.
    """
    # Such a token is refused for accounts that are closed and keys that have ended. It is made for
    # this question alone, and thrown away.
    delegation = new_delegation(app_id, CHECK_SECONDS)
    await identity.issue_delegated_token(maker.user_id or "", delegation, maker.limits)


class LinkRights(msgspec.Struct, frozen=True):
    """Which links of an app an actor sees and revokes: one's own, and as its admin all."""

    actor: Actor
    is_admin: bool

    @property
    def user_id(self) -> str | None:
        """Whose links can be covered; None means those of all users."""
        return None if self.is_admin else self.actor.user_id

    def covers(self, link: StoredLink) -> bool:
        """Whether the link is one of them. A key has those that were made with it, no others."""
        if self.is_admin:
            return True
        if link.user_id != self.actor.user_id:
            return False
        if self.actor.limits is None:
            return True
        key = "" if link.limits is None else link.limits.key
        return key == self.actor.limits.key


async def find_link_rights(access: Access, actor: Actor, app_id: str) -> LinkRights:
    """Return which links of an app an actor sees and revokes."""
    if actor.limits is not None:
        return LinkRights(actor, is_admin=False)
    is_admin = await access.is_app_admin(actor.user_id, app_id, **limits_of(actor))
    return LinkRights(actor, is_admin)


class ViewOfLink(msgspec.Struct, Generic[AnyQuery], frozen=True):
    """What a link takes from a saved view."""

    entity: str
    name: str
    query: AnyQuery


async def read_link_view(
    views: SavedViews | None, actor: Actor, app_id: str, view_id: str, query_type: type[AnyQuery]
) -> ViewOfLink[AnyQuery]:
    """Return what a link shows that is made of a saved view. Raises BadRequest, NotFound."""
    if views is None:
        raise BadRequest("view: no plugin of this server keeps views of tables")
    view = await views.find(actor, app_id, view_id)
    try:
        query = msgspec.convert(view.query, query_type)
    except msgspec.ValidationError as error:
        raise BadRequest(f"view: {error}") from None
    return ViewOfLink(view.entity, view.name, query)


def check_link_query(query: LinkQuery) -> None:
    """Require that a query is short enough to be kept. Raises BadRequest."""
    if len(msgspec.json.encode(query)) > MAX_QUERY:
        raise BadRequest(f"query: at most {MAX_QUERY} bytes of JSON are wanted")


def read_expiry(text: str | None) -> datetime | None:
    """Read when a link or a key ends: UTC where no offset is named. Raises BadRequest."""
    if text is None:
        return None
    try:
        end = msgspec.convert(text, datetime)
    except (msgspec.ValidationError, OverflowError):
        raise BadRequest("expires must be an RFC 3339 time") from None
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    if end <= datetime.now(UTC):
        raise BadRequest("expires must be in the future")
    return end
