"""Links that work without a token: as long as who made one has the right to what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Protocol

import msgspec

from kernel.contracts.base import Actor, Limits, new_delegation
from kernel.contracts.identity import Identity
from kernel.contracts.records import Page, View, Where
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


def check_link_query(query: LinkQuery) -> None:
    """Raise BadRequest for a query that is too large to be kept."""
    if len(msgspec.json.encode(query)) > MAX_QUERY:
        raise BadRequest(f"query: at most {MAX_QUERY} bytes of JSON are wanted")


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


def is_link_of(link: StoredLink, actor: Actor) -> bool:
    """Whether an actor made a link; a key made those that were made with it."""
    if link.user_id != actor.user_id:
        return False
    if actor.limits is None:
        return True
    key = "" if link.limits is None else link.limits.key
    return key == actor.limits.key


def read_link_end(text: str | None) -> datetime | None:
    """Read when a link ends, in UTC where it names no offset. Raises BadRequest."""
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
