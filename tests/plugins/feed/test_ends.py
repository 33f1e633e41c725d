"""How streams end: rights, sessions, keys, installs, the server."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from kernel.public import Keyring
from kernel.testing import Client, MakeServer, Postgres, Server, running_server
from plugins.audit.changes.following.tailer import MAX_FOLLOWERS
from plugins.auth.tokens import Tokens
from plugins.feed.config import FeedConfig
from tests.plugins.data.conftest import overrides
from tests.waiting import eventually

from .conftest import prepare
from .support import APP, DEALS, Stream, create, follow, subscribe


def test_streams_take_no_places_of_requests(make_server: MakeServer) -> None:
    """So many streams of one address would be half of all places, and more are refused."""
    server = make_server({"server": {"max_requests": 4}})
    prepare(server)
    with ExitStack() as opened:
        for _ in range(6):
            opened.enter_context(follow(server.admin).wait_ready())
        create(server.admin, title="there is room for requests")
    eventually(lambda: server.admin.get(f"{DEALS}?limit=1").status_code == 200)


def test_a_stream_ends_when_the_role_is_taken(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    with follow(user).wait_ready() as stream, follow(desk.admin).wait_ready() as other:
        body = {"userId": user.id, "role": "reader"}
        desk.admin.post(f"/api/v1/apps/{APP}/roles/revoke", json=body).raise_for_status()
        assert stream.end() == "role"
        create(desk.admin, title="later")
        other.changes(1)
        assert stream.named("enter") == []


def test_a_stream_ends_when_its_caller_may_read_more(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    with subscribe(user, {"mine": {"entity": "deals"}}).wait_ready() as stream:
        desk.assign(user, APP, "boss")
        assert stream.end() == "role"


def test_a_stream_ends_with_its_session(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    with follow(user).wait_ready() as stream:
        out = {"refreshToken": user.tokens["refreshToken"]}
        desk.http.post("/api/v1/auth/logout", json=out).raise_for_status()
        assert stream.end() == "session"


def test_a_stream_ends_with_its_account(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    with follow(user).wait_ready() as stream:
        desk.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": True}).raise_for_status()
        assert stream.end() == "user disabled"


def test_a_stream_ends_with_its_key(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    answer = user.post("/api/v1/auth/keys", json={"name": "feed", "apps": [APP]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    client = Client(base_url=desk.url, headers={"authorization": f"Bearer {made['key']}"})
    with client, follow(client).wait_ready() as stream:
        user.delete(f"/api/v1/auth/keys/{made['id']}").raise_for_status()
        assert stream.end() == "key"


@pytest.mark.slow
def test_a_stream_ends_with_its_token(desk: Server) -> None:
    user = desk.user(roles={APP: ["reader"]})
    [(sid,)] = desk.sql("select id::text from caudex_auth.sessions where user_id = %s", user.id)
    tokens = Tokens(Keyring("signing", desk.kernel.context.data_dir).read().sealing)
    token = tokens.access(user.id, user.username, sid, 3)
    client = Client(base_url=desk.url, headers={"authorization": f"Bearer {token}"})
    with client, follow(client).wait_ready() as stream:
        assert stream.end() == "token expired"


def test_a_stream_ends_when_the_app_goes_or_changes(desk: Server) -> None:
    app_id = f"app{uuid.uuid4().hex[:8]}"
    manifest: dict[str, Any] = {
        "appId": app_id,
        "name": "x",
        "dataContract": [{"entityName": "things", "fields": [{"name": "a", "type": "text"}]}],
    }
    desk.install(manifest)
    path = f"/api/v1/apps/{app_id}/collections/things/feed"
    with Stream(desk.admin, "GET", path).wait_ready() as stream:
        position = stream.last_id
        manifest["dataContract"][0]["fields"].append({"name": "b", "type": "text"})
        desk.install(manifest)
        assert stream.end() == "entity changed"
    with Stream(desk.admin, "GET", path, params={"since": position}) as stream:
        stream.wait_ready()
        resync, ready = stream.events
        assert resync.data == {"reason": "entity changed"}
        assert resync.id == ready.id
        desk.admin.delete(f"/api/v1/apps/{app_id}").raise_for_status()
        assert stream.end() == "app removed"


def test_a_stream_ends_when_a_plugin_narrows(postgres: Postgres) -> None:
    with running_server(postgres, overrides("ScopePlugin")) as server:
        prepare(server)
        scope: Any = next(item for item in server.kernel.instances if item.name == "scope")
        with follow(server.admin).wait_ready() as stream:
            scope.tree = {"title": {"$ne": "hidden"}}
            assert stream.end() == "role"
        with follow(server.admin).wait_ready() as stream:
            create(server.admin, title="hidden")
            record = create(server.admin, title="seen")
            assert stream.changes(1) == [("enter", record)]


def test_a_stream_says_that_the_server_stops(make_server: MakeServer) -> None:
    server = make_server()
    prepare(server)
    with follow(server.admin).wait_ready() as stream:
        server.stop()
        assert stream.end() == "the server stops"


def test_streams_have_limits(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"feed": {"streams": 3, "streams_per_user": 2}}})
    prepare(server)
    user = server.user(roles={APP: ["reader"]})
    with follow(server.admin).wait_ready(), follow(server.admin).wait_ready():
        answer = server.admin.get(f"{DEALS}/feed")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        message = "too many feeds of this user: [plugins.feed] streams_per_user = 2"
        assert answer.json()["error"] == message
        with follow(user).wait_ready():
            other = server.user(roles={APP: ["reader"]})
            answer = other.get(f"{DEALS}/feed")
            message = "too many feeds are open: [plugins.feed] streams = 3"
            assert (answer.status_code, answer.json()["error"]) == (503, message)
    eventually(lambda: user.head(f"{DEALS}/feed").status_code == 200)


def test_as_many_may_follow_as_the_configuration_allows() -> None:
    """A live query follows only after its reply has begun, so it could not be refused."""
    schema = msgspec.json.schema(FeedConfig)["$defs"]["FeedConfig"]
    assert schema["properties"]["streams"]["maximum"] < MAX_FOLLOWERS


def test_without_the_plugin_there_is_no_feed(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"feed": {"enabled": False}}})
    prepare(server)
    answer = server.admin.post(f"/api/v1/apps/{APP}/feed", json={})
    assert answer.status_code in (404, 405)
