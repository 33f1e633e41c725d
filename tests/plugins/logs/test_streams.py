"""Streams of a real server: how much is read at once, permissions, and how they end."""

import json
import threading
import time
import uuid
from types import SimpleNamespace

import anyio
import httpx
import pytest

from kernel.public import (
    LOGS,
    STATEMENTS,
    BadRequest,
    Forbidden,
    Keyring,
    LogLine,
    Plugin,
    Unauthenticated,
    Unavailable,
    hookimpl,
)
from kernel.web.scope import begin_request
from plugins.auth.tokens import Tokens
from plugins.logs import sse as sse_module
from plugins.logs import store
from plugins.logs.events import remark
from plugins.logs.sse import Guard
from tests.waiting import eventually

SOON = 10
"""Seconds; a change is active within one, on a machine that has time."""


@pytest.fixture
def app(server):
    app_id = f"log{uuid.uuid4().hex[:8]}"
    server.install({"appId": app_id, "name": "x"})
    return app_id


def path(app_id):
    return f"/api/v1/apps/{app_id}/logs"


def keep(server, app_id, count, size=1):
    """Put lines into the database, of so many bytes each, behind the service's back."""
    server.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts)"
        " select %s, 'info', n || ' ' || repeat('x', %s), now() from generate_series(1, %s) n",
        app_id,
        size,
        count,
    )


class Follower(threading.Thread):
    """Follows a log until the stream ends, and notes what came and when it ended."""

    def __init__(self, client, app_id, **options):
        super().__init__(daemon=True)
        self._client, self._path, self._options = client, path(app_id), options
        self.began = threading.Event()
        self.events, self.last_id, self.ended = [], "", 0.0

    def __enter__(self):
        self.start()
        assert self.began.wait(10)
        return self

    def __exit__(self, *_):
        pass

    def run(self):
        with httpx.stream(
            "GET", f"{str(self._client.base_url).rstrip('/')}{self._path}", timeout=60,
            headers={**self._client.headers, **self._options.pop("headers", {})}, **self._options,
        ) as answer:  # fmt: skip
            assert answer.status_code == 200
            for line in answer.iter_lines():
                self.began.set()
                if line.startswith("id: "):
                    self.last_id = line[4:]
                if line.startswith("data: "):
                    self.events.append(json.loads(line[6:]))
        self.ended = time.monotonic()

    def ends(self, seconds=SOON):
        """Whether it ended, whole, within so many seconds from now."""
        self.join(seconds)
        return bool(self.ended)

    def has(self, count):
        seen = lambda: [event["message"][:20] for event in self.events]  # noqa: E731
        eventually(lambda: len(self.events) >= count, 20, seen)
        return [event["message"].split()[0] for event in self.events]


# How much is read at once


def test_a_tail_ends_where_its_lines_are_too_large_and_says_so(server, app):
    keep(server, app, 10, 1_000_000)
    lines = server.run(lambda: server.services.get(LOGS).tail(app, 1000))
    assert sum(len(line.message) for line in lines) < store.TAIL_SIZE + 1_100_000
    said, *rest = lines
    assert (said.id, said.level) == (0, "system")
    assert said.message == "6 older lines are left out: they are too large"
    assert [line.message.split()[0] for line in rest] == ["7", "8", "9", "10"]
    with Follower(server.admin, app, params={"tail": "5"}) as follower:
        assert follower.has(5) == ["1", "7", "8", "9", "10"]
        assert follower.events[0]["message"].startswith("1 older lines are left out")


def test_a_tail_of_lines_of_common_length_is_whole(server, app):
    keep(server, app, 1100, 200)
    lines = server.run(lambda: server.services.get(LOGS).tail(app, 1000))
    assert [line.message.split()[0] for line in lines] == [*map(str, range(101, 1101))]
    assert server.run(lambda: server.services.get(LOGS).tail("nothere", 1000)) == []


def test_a_tail_that_is_just_full_leaves_nothing_out(server, app):
    keep(server, app, 4, 1_000_000)
    lines = server.run(lambda: server.services.get(LOGS).tail(app, 1000))
    assert [line.message.split()[0] for line in lines] == ["1", "2", "3", "4"]


def test_a_stream_begins_at_a_time(server, app):
    server.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts)"
        " select %s, 'info', n::text, timestamptz '2031-01-01 10:00Z' + n * interval '1 minute'"
        " from generate_series(1, 1200) n",
        app,
    )
    at = {"since": "2031-01-01T11:30:30+00:00", "tail": "5"}
    with Follower(server.admin, app, params=at) as follower:
        assert follower.has(1110)[0] == "91"
    resumed = {"params": at, "headers": {"last-event-id": follower.last_id}}
    with Follower(server.admin, app, params={"since": "2032-01-01"}) as late:
        server.services.get(LOGS).write(app, "info", "live")
        assert late.has(1) == ["live"]
    with Follower(server.admin, app, **resumed) as follower:
        assert follower.has(1) == ["live"]
    refused = server.admin.get(path(app), params={"since": "noon"})
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("since: a timestamp (ISO 8601) is wanted")


def test_a_page_ends_with_the_line_that_fills_it(server, app):
    keep(server, app, 5, 400_000)
    statements = server.services.get(STATEMENTS)
    page, more = server.run(lambda: store.read_page(statements, app, 0))
    assert [line.message.split()[0] for line in page] == ["1", "2", "3"]
    assert more
    page, more = server.run(lambda: store.read_page(statements, app, page[-1].id))
    assert [line.message.split()[0] for line in page] == ["4", "5"]
    assert not more


def test_a_line_larger_than_a_page_is_read_alone(server, app):
    keep(server, app, 2, 3_000_000)
    statements = server.services.get(STATEMENTS)
    page, more = server.run(lambda: store.read_page(statements, app, 0))
    assert ([line.message.split()[0] for line in page], more) == (["1"], True)


def test_who_resumes_gets_large_lines_all_the_same(server, app):
    keep(server, app, 12, 900_000)
    with Follower(server.admin, app, headers={"last-event-id": "0"}) as follower:
        assert follower.has(12) == [*map(str, range(1, 13))]


def test_live_lines_that_are_large_all_reach_who_keeps_up(server, app):
    with Follower(server.admin, app) as follower:
        keep(server, app, 12, 900_000)
        server.run(lambda: server.services.get(LOGS).on_notification(app))
        assert follower.has(12) == [*map(str, range(1, 13))]


# Apps that come and go


class Refuses(Plugin):
    """Keeps apps whose name begins with `kept` from being removed."""

    name = "refuses"

    @hookimpl
    async def app_removing(self, tx, app):
        if app.id.startswith("kept"):
            raise BadRequest("it stays")


@pytest.fixture(scope="module")
def server_options():
    return {"plugins": [Refuses]}


def write(server, app_id, message):
    async def do():
        server.services.get(LOGS).write(app_id, "info", message)

    server.run(do)


def messages(server, app_id):
    query = "select message from caudex_logs.lines where app_id = %s order by id"
    return [message for (message,) in server.sql(query, app_id)]


def test_a_new_app_has_no_lines_of_a_former_one(server, app):
    other = f"other{uuid.uuid4().hex[:8]}"
    server.install({"appId": other, "name": "x"})
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    write(server, app, "said when the app was gone")
    write(server, other, "of an app that is there")
    eventually(lambda: messages(server, other) == ["of an app that is there"])
    server.install({"appId": app, "name": "x"})
    assert messages(server, app) == []


def test_an_app_that_is_installed_again_keeps_its_lines(server, app):
    keep(server, app, 3)
    server.install({"appId": app, "name": "another"})
    assert len(messages(server, app)) == 3


# HEAD


def test_a_head_is_answered_whole_and_holds_nothing(make_server):
    server = make_server({"plugins": {"logs": {"readers_per_app": 1}}})
    server.install({"appId": "headed", "name": "x"})
    with httpx.Client(
        base_url=server.url, timeout=5, headers=server.admin.headers,
        limits=httpx.Limits(max_connections=1),
    ) as client:  # fmt: skip
        for _ in range(3):
            answer = client.head(path("headed"))
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert client.get("/health").status_code == 200, "the connection goes on"
        assert client.head(path("nothere")).status_code == 404
    with Follower(server.admin, "headed", params={"tail": "0"}):
        assert server.admin.head(path("headed")).status_code == 503


def test_one_user_leaves_others_places_at_a_log(make_server):
    server = make_server({"plugins": {"logs": {"readers_per_app": 4}}})
    for app_id in ("shared", "quiet"):
        server.install({"appId": app_id, "name": "x"})
    other = reader_of(server, "shared")
    now = {"params": {"tail": "0"}}
    with Follower(server.admin, "shared", **now), Follower(server.admin, "shared", **now):
        for client in (server.admin, server.login("admin")):
            answer = client.head(path("shared"))
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
        assert server.admin.head(path("quiet")).status_code == 200, "each log has its own"
        with Follower(other, "shared", **now), Follower(other, "shared", **now):
            third = reader_of(server, "shared")
            assert third.head(path("shared")).status_code == 503


# Permissions during a stream


def reader_of(server, app_id):
    """A user with a role on the app that a test can revoke."""
    user = server.user(f"user{uuid.uuid4().hex[:8]}")
    server.assign(user, app_id, "admin")
    return user


@pytest.mark.slow
def test_a_stream_ends_when_the_role_is_taken(server, app):
    user = reader_of(server, app)
    with Follower(user, app) as follower, Follower(server.admin, app) as other:
        time.sleep(1.0)
        assert not follower.ended
        body = {"userId": user.id, "role": "admin"}
        server.admin.post(f"/api/v1/apps/{app}/roles/revoke", json=body).raise_for_status()
        assert follower.ends()
        write(server, app, "later")
        assert other.has(1) == ["later"]
        assert follower.events == []


def test_a_stream_ends_when_the_session_does(server, app):
    user = reader_of(server, app)
    with Follower(user, app) as follower:
        out = {"refreshToken": user.tokens["refreshToken"]}
        server.http.post("/api/v1/auth/logout", json=out).raise_for_status()
        assert follower.ends()


def test_a_stream_ends_when_the_app_is_removed(server, app):
    with Follower(server.admin, app) as follower:
        server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
        assert follower.ends()


@pytest.mark.slow
def test_a_stream_ends_with_its_token(server, app):
    user = reader_of(server, app)
    began = time.monotonic()
    sid = server.sql("select id::text from caudex_auth.sessions where user_id = %s", user.id)[0][0]
    tokens = Tokens(Keyring("signing", server.kernel.context.data_dir).read().sealing)
    token = tokens.access(user.id, user.username, sid, 3)
    client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {token}"})
    with client, Follower(client, app) as follower:
        assert follower.ends(3 + SOON)
        assert follower.ended - began > 1


@pytest.mark.slow
def test_a_stream_ends_when_another_server_takes_the_role(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    two = make_server(dsn=one.dsn, data_dir=tmp_path)
    one.install({"appId": "shared", "name": "x"})
    user = reader_of(one, "shared")
    eventually(lambda: httpx.head(f"{two.url}{path('shared')}", headers=user.headers).is_success)
    client = httpx.Client(base_url=two.url, headers=user.headers)
    with client, Follower(client, "shared") as follower:
        body = {"userId": user.id, "role": "admin"}
        one.admin.post("/api/v1/apps/shared/roles/revoke", json=body).raise_for_status()
        assert follower.ends()


class Asked:
    """Services with a hook `authenticate` that follows `trouble`; its last entry repeats."""

    def __init__(self, *trouble):
        self.trouble = list(trouble)
        self.scope = {"path_params": {}}
        self.asked = 0

    def get(self, key):
        return self

    async def first(self, spec, request):
        self.asked += 1
        trouble = self.trouble.pop(0) if len(self.trouble) > 1 else self.trouble[0]
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    async def authorize(self, actor, needs, path):
        if actor == "stranger":
            raise Forbidden("no role")


@pytest.mark.parametrize("end", [None, "stranger", Unauthenticated()])
async def test_a_reader_without_an_account_or_a_role_is_refused(end):
    services = Asked("reader", Unavailable("away"), "reader", end)
    with anyio.fail_after(60):
        await Guard(services, services).refusal(0.01)
    assert services.asked == 4


async def test_a_reader_is_refused_when_its_rights_stay_unknown():
    services = Asked("reader", Unavailable("away"))
    began = time.monotonic()
    with anyio.fail_after(60):
        await Guard(services, services).refusal(0.01, 0.3)
    assert time.monotonic() - began >= 0.3


@pytest.mark.slow
async def test_what_costs_a_moment_of_the_database_costs_no_stream(monkeypatch):
    services = Asked(*[Unavailable("away"), "reader"] * 50, None)
    # A third of that time goes by with each look, however long it takes.
    clock = SimpleNamespace(monotonic=lambda: services.asked * 10.0)
    monkeypatch.setattr(sse_module, "time", clock)
    with anyio.fail_after(20):
        await Guard(services, services).refusal(0.01, 30.0)
    assert services.asked == 101, "it went on until the account was gone"


# The end of the server


@pytest.mark.slow
def test_a_stream_says_that_the_server_stops(make_server):
    server = make_server()
    server.install({"appId": "ending", "name": "x"})
    with Follower(server.admin, "ending") as follower:
        server.stop()
        assert follower.ends(5)
    [last] = follower.events
    assert (last["level"], last["message"]) == ("system", "the server stops")


@pytest.mark.slow
def test_the_last_lines_before_the_end_are_stored(make_server, tmp_path):
    server = make_server(data_dir=tmp_path)
    server.install({"appId": "last", "name": "x"})
    write(server, "last", "before the end")
    server.stop()
    assert messages(server, "last") == ["before the end"]


def test_a_look_at_the_rights_costs_little_while_nothing_changes(server, app):
    """A few microseconds: a hundred readers are not felt."""
    guard = Guard(server.services, Request(server.admin.headers["authorization"], app))

    async def look():
        began = time.thread_time()
        for _ in range(1000):
            assert await guard._may_read()
        return time.thread_time() - began

    assert min(server.run(look) for _ in range(5)) < 0.5


class Request:
    """As much of a request as is asked for."""

    def __init__(self, authorization, app_id):
        header = (b"authorization", authorization.encode())
        self.scope = {"headers": [header], "path": "/", "path_params": {"app_id": app_id}}
        begin_request(self.scope, request_id="x", address="x")
        self.request_id = self.address = "x"


def test_remarks_have_no_place_in_the_log():
    batch = remark("x")
    assert [isinstance(line, LogLine) for line in batch.lines] == [True]
    assert batch.events.startswith(b"data: ")
