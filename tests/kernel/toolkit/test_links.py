"""Whose links an actor sees and revokes, and what a link keeps of a query."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    Limits,
    LinkQuery,
    SavedViews,
    check_link_query,
    find_link_rights,
    read_link_view,
)


class Link(msgspec.Struct, frozen=True):
    user_id: str
    limits: Limits | None = None
    username: str = ""


class Admins:
    """An engine of ACCESS that knows one admin."""

    async def is_app_admin(self, user_id: str, app_id: str, **limits: Any) -> bool:
        return user_id == "ann" and app_id == "crm"


def actor_with(user_id: str, key: str | None = None) -> Actor:
    limits = None if key is None else Limits(key=key)
    return Actor(user_id=user_id, username=user_id, limits=limits)


async def count_covered(actor: Actor, *links: Link) -> int:
    rights = await find_link_rights(cast("Access", Admins()), actor, "crm")
    return sum(rights.covers(link) for link in links)


OF_BOB = Link("bob")
OF_KEY = Link("bob", Limits(key="k1"))
OF_ANN = Link("ann")


async def test_a_user_has_the_links_of_all_own_keys_and_no_others():
    assert await count_covered(actor_with("bob"), OF_BOB, OF_KEY) == 2
    assert await count_covered(actor_with("bob"), OF_ANN) == 0


async def test_a_key_has_only_what_was_made_with_it():
    assert await count_covered(actor_with("bob", "k1"), OF_KEY) == 1
    assert await count_covered(actor_with("bob", "k1"), OF_BOB, OF_ANN) == 0
    assert await count_covered(actor_with("bob", "k2"), OF_BOB, OF_KEY) == 0


async def test_an_admin_has_all_links_and_a_key_of_the_admin_has_not():
    assert await count_covered(actor_with("ann"), OF_BOB, OF_KEY, OF_ANN) == 3
    assert await count_covered(actor_with("ann", "k1"), OF_BOB, OF_KEY, OF_ANN) == 0


async def test_whose_links_are_read():
    access = cast("Access", Admins())
    assert (await find_link_rights(access, actor_with("ann"), "crm")).user_id is None
    assert (await find_link_rights(access, actor_with("ann"), "shop")).user_id == "ann"
    assert (await find_link_rights(access, actor_with("ann", "k1"), "crm")).user_id == "ann"


class Views:
    """An engine of SAVED_VIEWS with one view."""

    def __init__(self, query: dict[str, Any]) -> None:
        self.query = query

    async def find(self, actor: Actor, app_id: str, view_id: str) -> Any:
        return msgspec.defstruct("View", ["entity", "name", "query"])("notes", "Mine", self.query)


async def read_view(query: dict[str, Any]) -> Any:
    views = cast("SavedViews", Views(query))
    return await read_link_view(views, actor_with("bob"), "crm", "v1", LinkQuery)


async def test_a_link_takes_the_query_of_a_view():
    view = await read_view({"orderBy": "title", "limit": 5})
    assert (view.entity, view.name) == ("notes", "Mine")
    assert view.query == LinkQuery(order_by="title", limit=5)


async def test_a_view_that_a_link_cannot_show_is_refused_with_a_reason():
    with pytest.raises(BadRequest, match=r"^view: .*groupBy"):
        await read_view({"groupBy": ["stage"]})
    with pytest.raises(BadRequest, match="no plugin of this server keeps views"):
        await read_link_view(None, actor_with("bob"), "crm", "v1", LinkQuery)


def test_a_query_that_is_too_long_to_keep_is_refused():
    check_link_query(LinkQuery(search="x" * 60_000))
    with pytest.raises(BadRequest, match="at most 64000 bytes"):
        check_link_query(LinkQuery(search="x" * 64_000))
