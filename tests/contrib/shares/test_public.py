"""The section `public`: methods that a share may call, and a page of the app's own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.support import refused
from tests.plugins.workers.support import deploy

SHARES = "/api/v1/apps/board/public-shares"
CALL = "/api/v1/public/share/rpc"
PUBLIC = {"rpcs": [{"name": "get_board", "scope": ["board_id"]}, {"name": "ping"}]}
MANIFEST: dict[str, Any] = {
    "appId": "board",
    "name": "Board",
    "dataContract": [{"entityName": "cards", "fields": [{"name": "title", "type": "text"}]}],
    "public": PUBLIC,
}
WORKER = """
from caudex_worker import Worker
worker = Worker()

@worker.rpc
def get_board(params, ctx):
    cards = ctx.collection("cards").find({})
    return {"board": params["board_id"], "as": ctx.username, "cards": [c["title"] for c in cards]}

@worker.rpc
def ping(params, ctx):
    return "pong"

@worker.rpc
def erase(params, ctx):
    return "erased"

worker.run()
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, {"plugins": {"shares": {"rate": 6000}}}) as running:
        running.install(MANIFEST)
        deploy(running.admin, "board", {"worker.py": WORKER})
        yield running


def make(client: Client, **body: Any) -> dict[str, str]:
    """Make a share and return the headers of who has it."""
    answer = client.post(SHARES, json=body)
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


def call(server: Server, headers: dict[str, str], method: str, **params: Any) -> httpx.Response:
    return server.http.post(CALL, json={"method": method, "params": params}, headers=headers)


def test_a_share_calls_public_methods_with_the_rights_of_its_maker(server: Server) -> None:
    path = "/api/v1/apps/board/collections/cards"
    assert server.admin.post(path, json={"title": "of the admin"}).status_code == 201
    keys = ["cards.read.own", "cards.create", "public.share"]
    user = server.user(permissions={"board": keys})
    assert user.post(path, json={"title": "of the user"}).status_code == 201
    share = make(user, context={"board_id": "b1", "level": 1})
    answer = call(server, share, "get_board", board_id="b1")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"board": "b1", "as": user.username, "cards": ["of the user"]}
    assert call(server, share, "ping").json() == "pong"
    info = server.http.get("/api/v1/public/share/info", headers=share).json()
    assert (info["appId"], info["context"]) == ("board", {"board_id": "b1", "level": 1})
    shown = server.http.get("/api/v1/public/share", headers=share).json()
    assert shown == {"name": "board", "fields": [], "data": []}


@pytest.mark.parametrize(
    "params",
    [{}, {"board_id": "b2"}, {"board_id": 1}, {"board_id": {"$ne": ""}}, {"board_id": None}],
)
def test_parameters_beyond_the_context_are_refused(server: Server, params: dict[str, Any]) -> None:
    share = make(server.admin, context={"board_id": "b1"})
    assert "not for this 'board_id'" in refused(call(server, share, "get_board", **params), 403)
    one = make(server.admin, context={"board_id": 1})
    assert call(server, one, "get_board", board_id=1).status_code == 200
    for other in (True, 1.0, "1", [1]):
        refused(call(server, one, "get_board", board_id=other), 403)
    without = make(server.admin, context={"other": 1})
    refused(call(server, without, "get_board", board_id="b1"), 403)


def test_methods_that_are_not_public_are_not_there(server: Server) -> None:
    share = make(server.admin, context={"board_id": "b1"})
    for method in ("erase", "nothing", "__start__"):
        assert "no public method" in refused(call(server, share, method), 404)
    refused(call(server, {"authorization": "Bearer x"}, "ping"), 404)
    refused(server.http.post(CALL, json={"method": 3}, headers=share), 400)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"rpcs": [{"name": "a"}, {"name": "a"}]}, "declared twice"),
        ({"rpcs": [{"name": "__a"}]}, "begin with __"),
        ({"rpcs": [{"scope": []}]}, "public.rpcs[0]"),
        ({"page": "x"}, "public.page"),
        ({"pages": "records"}, "public"),
    ],
)
def test_a_wrong_section_is_refused(server: Server, section: dict[str, Any], said: str) -> None:
    answer = server.admin.post("/api/v1/apps", json=MANIFEST | {"public": section})
    assert said in refused(answer, 400)
