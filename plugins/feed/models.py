"""What clients subscribe to."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kernel.public import BadRequest, Where

MAX_SUBSCRIPTIONS: Final = 50
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Subscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of an entity to follow; `where` and `fields` are those of a query."""

    entity: str
    where: Where | None = None
    fields: list[str] | None = None


class FeedBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST …/feed: subscriptions by name, and where to begin."""

    subscribe: Annotated[
        dict[str, Subscription],
        Meta(extra_json_schema={"minProperties": 1, "maxProperties": MAX_SUBSCRIPTIONS}),
    ]
    since: Annotated[str | None, Meta(description="the `id` of an event")] = None

    def check(self) -> None:
        """Raise BadRequest for no subscription, too many, or a wrong name."""
        if not self.subscribe:
            raise BadRequest("subscribe must name at least one subscription")
        if len(self.subscribe) > MAX_SUBSCRIPTIONS:
            raise BadRequest(f"subscribe has at most {MAX_SUBSCRIPTIONS} subscriptions")
        for name in self.subscribe:
            if NAME.fullmatch(name) is None:
                raise BadRequest(
                    "subscribe: a name has 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-',"
                    f" not {name[:80]!r}"
                )


class FeedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/feed."""

    where: Annotated[str | None, Meta(description="a where-tree as JSON")] = None
    fields: Annotated[str | None, Meta(description="names of fields, with commas between")] = None
    since: Annotated[str | None, Meta(description="the `id` of an event")] = None
