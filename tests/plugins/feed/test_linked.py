"""Live queries and feeds that reach linked records: whose rights count, and what is refused."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import Any

import pytest

from kernel.public import RECORDS, Actor, Grant, Target
from kernel.testing import Client, Postgres, Server, running_server
from plugins.data.models import QueryBody
from plugins.data.watches.following import make_live_query
from tests.plugins.data.conftest import overrides
from tests.waiting import eventually

from .conftest import prepare
from .support import APP, DEALS, create, delete, patch
from .test_live import live
from .test_sharing import count_waiting
from .test_trouble import open_streams

LINKED: list[dict[str, Any]] = [
    {"expand": ["contact_id"], "orderBy": "title", "limit": 10},
    {"where": {"contact_id": {"$has": {"email": "ada@x.org"}}}, "limit": 10},
    {"where": {"contact_id.email": "ada@x.org"}, "limit": 10},
    {"groupBy": ["contact_id.email"], "aggregate": {"sum": {"$sum": "value"}}},
    {"aggregate": {"least": {"$min": "contact_id.email"}, "sum": {"$sum": "value"}}},
]
"""Bodies whose replies depend on what the caller may read of contacts."""


def query(client: Client, body: dict[str, Any]) -> Any:
    """The ordinary reply of a query."""
    answer = client.post(f"{DEALS}/query", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("body", LINKED)
def test_a_page_with_linked_records_is_of_its_own_caller(
    desk: Server, admin: Client, body: dict[str, Any]
) -> None:
    """Both may read the same of deals; the contact is for one of them only."""
    contact = create(admin, "contacts", name="Ada", email="ada@x.org")
    deal = create(admin, title="linked", value=0, contact_id=contact["id"])
    accounts = [desk.user(roles={APP: [role]}) for role in ("seller", "reader")]
    with ExitStack() as opened:
        streams = [opened.enter_context(live(account, body).wait_ready()) for account in accounts]
        eventually(lambda: count_waiting(desk) >= len(streams))
        for number in range(1, 4):
            patch(admin, deal, value=number)
            for account, stream in zip(accounts, streams, strict=True):
                reply = query(account, body)
                stream.wait(lambda stream, reply=reply: stream.named("page")[-1].data == reply)
        assert query(accounts[0], body) != query(accounts[1], body)
    delete(admin, deal)


@pytest.mark.parametrize("body", LINKED)
def test_a_change_of_a_linked_record_brings_a_page(admin: Client, body: dict[str, Any]) -> None:
    contact = create(admin, "contacts", name="Ada", email="other@x.org")
    deal = create(admin, title="linked", value=1, contact_id=contact["id"])
    with live(admin, body).wait_ready() as stream:
        patch(admin, contact, "contacts", email="ada@x.org")
        reply = query(admin, body)
        stream.wait(lambda stream: stream.named("page")[-1].data == reply)
        assert len(stream.named("page")) == 2
    delete(admin, deal)


def test_callers_with_the_same_rights_share_a_page(
    desk: Server, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No linked record is part of it, so nothing but their rights on deals counts."""
    records: Any = desk.services.get(RECORDS)
    page_with = records.page_with
    reads: list[str] = []

    def count_reads(target: Target, *arguments: Any, **options: Any) -> Any:
        reads.append(target.actor.username)
        return page_with(target, *arguments, **options)

    eventually(lambda: open_streams(desk) == 0)  # others would read as well
    accounts = [desk.user(roles={APP: ["reader"]}) for _ in range(3)]
    body = {"where": {"stage": "shared"}, "limit": 5}
    deal = create(admin, title="shared", stage="shared", value=0)
    with ExitStack() as opened:
        streams = [opened.enter_context(live(account, body).wait_ready()) for account in accounts]
        eventually(lambda: count_waiting(desk) >= len(streams))
        monkeypatch.setattr(records, "page_with", count_reads)
        for number in range(1, 4):
            patch(admin, deal, value=number)
            for stream in streams:
                stream.wait(
                    lambda stream, number=number: (
                        stream.named("page")[-1].data["data"][0]["value"] == number
                    )
                )
    assert len(reads) < 3 * len(streams)
    delete(admin, deal)


def test_with_hooks_a_page_is_of_its_own_caller(postgres: Postgres) -> None:
    """A hook is asked at each read, and may answer callers differently by then."""
    with running_server(postgres, overrides("ScopePlugin")) as server:
        prepare(server)
        records = server.services.get(RECORDS)
        accounts = [server.user(roles={APP: ["reader"]}) for _ in range(2)]
        body = QueryBody(limit=10)
        shapes = [
            make_live_query(server.services, records, target, body).shape
            for target in map(make_target, accounts)
        ]
        assert shapes[0] != shapes[1]
        again = make_live_query(server.services, records, make_target(accounts[0]), body).shape
        assert again == shapes[0]


def make_target(client: Client) -> Target:
    """The deals for an account, in a request of its own."""
    actor = Actor(user_id=client.id, username=client.username, request_id=uuid.uuid4().hex)
    return Target(actor, Grant(), APP, "deals")
