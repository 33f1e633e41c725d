"""A caller of a public route is not the server: a plugin that passes it on gives nothing away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping

import pytest

from kernel.public import (
    IDENTITY,
    PUBLIC,
    RECORDS,
    WATCHES,
    Actor,
    Answer,
    Directory,
    KeyedRequest,
    Operation,
    Plugin,
    RecordViews,
    Request,
    Response,
    Route,
    Services,
    Transaction,
    Watched,
    WorkerOperation,
    hookimpl,
    reply,
    server_actor,
    supports,
)
from kernel.testing import Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import SAMPLES, clear, create, installed

Deed = Callable[[Services, Actor], Awaitable[object]]
APP = "lab"


async def create_by_batch(services: Services, actor: Actor) -> object:
    created = Operation(op="create", entity="samples", data={"name": "strange"})
    return await services.get(RECORDS).batch(actor, APP, [created])


async def delete_by_condition(services: Services, actor: Actor) -> object:
    data = {"where": {"name": {"$ne": "x"}}, "max": 10}
    operation = WorkerOperation(entity="samples", op="deleteWhere", data=data)
    return await services.get(RECORDS).operate(actor, APP, operation)


async def read_by_query(services: Services, actor: Actor) -> object:
    operation = WorkerOperation(entity="samples", op="query", data={"where": {}})
    return await services.get(RECORDS).operate(actor, APP, operation)


async def write_once(services: Services, actor: Actor) -> object:
    async def work(tx: Transaction) -> Answer:
        raise AssertionError("the permission comes first")

    request = KeyedRequest(route="POST /", key="key", body=b"")
    return await services.get(RECORDS).run_once(actor, APP, request, [("samples", "create")], work)


async def watch(services: Services, actor: Actor) -> object:
    return await services.get(WATCHES).open(actor, Watched(app_id=APP, entity="samples"))


ARRIVED = list[Actor]()


async def remember(services: Services, actor: Actor) -> object:
    ARRIVED[:] = [actor]
    return None


FORBIDDEN = (create_by_batch, delete_by_condition, read_by_query, write_once, watch)
DEEDS: Mapping[str, Deed] = {deed.__name__: deed for deed in (*FORBIDDEN, remember)}


class OpenDoorPlugin(Plugin):
    """Passes on the callers of its public route."""

    name = "opendoor"

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Declare the route."""
        self._services = services
        return [Route("POST", "/open-door/{deed}", self.act, PUBLIC)]

    async def act(self, request: Request) -> Response:
        """Do something in the name of the caller."""
        await DEEDS[request.path("deed")](self._services, request.actor)
        return reply({})


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    config = overrides()
    config["plugins"] = {"opendoor": {"module": f"{__name__}:OpenDoorPlugin"}}
    with running_server(postgres, config) as running:
        installed(running)
        yield running


@pytest.mark.parametrize("deed", [deed.__name__ for deed in FORBIDDEN])
def test_a_public_route_lends_no_rights(server: Server, deed: str):
    clear(server)
    record = create(server.admin, name="a")
    answer = server.http.post(f"/open-door/{deed}")
    assert answer.status_code in (401, 403), answer.text
    assert server.admin.get(SAMPLES).json() == [record]


@pytest.mark.parametrize("deed", ["create_by_batch", "delete_by_condition", "read_by_query"])
def test_the_server_itself_may_do_everything(server: Server, deed: str):
    clear(server)
    server.run(DEEDS[deed], server.services, server_actor())


def test_a_stranger_sees_no_account_and_no_view(server: Server):
    assert server.http.post("/open-door/remember").status_code == 200
    [stranger] = ARRIVED
    assert (stranger.user_id, stranger.is_server) == (None, False)
    identity: object = server.services.get(IDENTITY)
    assert supports(identity, Directory)
    assert server.run(identity.visible, stranger) == frozenset()
    assert server.run(identity.visible, server_actor()) is None
    records: object = server.services.get(RECORDS)
    assert supports(records, RecordViews)
    assert server.run(records.write_views, stranger, APP, ["samples"]) == []
