"""The log of an app as a stream of events over real HTTP."""

import json
import threading
import time
import uuid

import anyio
import httpx
import pytest

from kernel.public import LOGS
from plugins.logs.service import LogsService
from tests.waiting import eventually


@pytest.fixture
def app(server):
    app_id = f"log{uuid.uuid4().hex[:8]}"
    server.admin.post("/api/v1/apps", json={"appId": app_id, "name": "x"}).raise_for_status()
    return app_id


def write(server, app_id, *messages, level="info"):
    async def do():
        for message in messages:
            server.services.get(LOGS).write(app_id, level, message)

    server.run(do)


def stored(server, app_id, count):
    """Wait until the lines are in the database."""
    query = "select count(*) from caudex_logs.lines where app_id = %s"
    eventually(lambda: server.sql(query, app_id)[0][0] >= count)


def path(app_id):
    return f"/api/v1/apps/{app_id}/logs"


def read(client, app_id, count, *, then=None, **options):
    """Read events until there are `count`; `then` runs once the stream has begun."""
    events, event = [], {}
    with client.stream("GET", path(app_id), **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for text in answer.iter_lines():
            if then is not None and text.startswith(":"):
                threading.Timer(0.3, then).start()
                then = None
            name, _, value = text.partition(": ")
            if name in ("id", "data"):
                event[name] = int(value) if name == "id" else json.loads(value)
            if not text and event:
                events.append(event)
                event = {}
                if len(events) == count:
                    return events
    return events


def messages(events):
    return [event["data"]["message"] for event in events]


def test_the_last_lines_come_first_and_then_the_live_ones(server, app):
    write(server, app, "one", "two", "three")
    stored(server, app, 3)
    live = lambda: write(server, app, "four", level="error")  # noqa: E731
    events = read(server.admin, app, 3, then=live, params={"tail": 2})
    assert messages(events) == ["two", "three", "four"]
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)
    assert events[-1]["data"]["level"] == "error"
    assert set(events[0]["data"]) == {"level", "message", "ts"}


def test_a_broken_stream_goes_on_behind_the_last_event(server, app):
    write(server, app, *map(str, range(10)))
    stored(server, app, 10)
    first = read(server.admin, app, 10)
    again = read(server.admin, app, 4, headers={"last-event-id": str(first[5]["id"])})
    assert messages(again) == ["6", "7", "8", "9"]


def test_without_a_tail_only_live_lines_come(server, app):
    write(server, app, "old")
    stored(server, app, 1)
    live = lambda: write(server, app, "new")  # noqa: E731
    assert messages(read(server.admin, app, 1, then=live, params={"tail": 0})) == ["new"]


def test_a_newline_in_a_message_forges_no_event(server, app):
    write(server, app, "a\n\ndata: forged\r\nid: 7")
    events = read(server.admin, app, 1)
    assert messages(events) == ["a\n\ndata: forged\r\nid: 7"]


@pytest.mark.parametrize("query", ["tail=-1", "tail=x", "tail=1.5", "tail=", "tale=1"])
def test_bad_parameters_are_a_400(server, app, query):
    assert server.admin.get(f"{path(app)}?{query}").status_code == 400
    headers = {"last-event-id": "x"}
    assert server.admin.get(path(app), headers=headers).status_code == 400


def test_only_who_holds_a_role_reads(server, app):
    assert server.user().get(path(app)).status_code == 403
    member, roles = server.user(), f"/api/v1/apps/{app}/roles"
    for name, keys in (("clerk", []), ("reader", ["core:logs.read"])):
        role = {"name": name, "permissions": keys}
        server.admin.post(roles, json=role).raise_for_status()
        assign = {"userId": member.id, "role": name}
        server.admin.post(f"{roles}/assign", json=assign).raise_for_status()
        with member.stream("GET", path(app)) as answer:
            assert answer.status_code == (200 if keys else 403)
    assert server.http.get(path(app)).status_code == 401
    assert server.admin.get(path("nothere")).status_code == 404
    assert server.admin.get(path("core")).status_code == 404


@pytest.mark.slow
def test_lines_written_at_one_server_are_read_at_another_and_outlive_both(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    two = make_server(dsn=one.dsn, data_dir=tmp_path)
    one.admin.post("/api/v1/apps", json={"appId": "shared", "name": "x"}).raise_for_status()
    admin = two.login("admin")
    # The app is news there.
    eventually(lambda: admin.get("/api/v1/apps/shared/roles").status_code == 200)
    live = lambda: write(one, "shared", "across")  # noqa: E731
    assert messages(read(admin, "shared", 1, then=live, params={"tail": 0})) == ["across"]
    third = make_server(dsn=one.dsn, data_dir=tmp_path)
    assert messages(read(third.login("admin"), "shared", 1)) == ["across"]


def test_too_many_readers_are_refused_with_a_503_worth_retrying(make_server):
    server = make_server({"plugins": {"logs": {"readers_per_app": 1}}})
    server.admin.post("/api/v1/apps", json={"appId": "busy", "name": "x"}).raise_for_status()
    with server.admin.stream("GET", path("busy")) as first:
        lines = first.iter_lines()
        assert next(lines).startswith(":")
        answer = server.login("admin").get(path("busy"))
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        lines.close()


def test_uninstalling_removes_the_lines(server, app):
    write(server, app, "gone")
    stored(server, app, 1)
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    assert server.sql("select 1 from caudex_logs.lines where app_id = %s", app) == []


def test_old_lines_and_too_many_are_swept(make_server, monkeypatch):
    # A server sweeps as soon as it runs, and could remove the lines before this test does.
    monkeypatch.setattr(LogsService, "sweep", lambda _: anyio.sleep_forever())
    server = make_server({"plugins": {"logs": {"keep_lines": 5, "keep_days": 1}}})
    server.sql("insert into caudex_kernel.apps (app_id) values ('a'), ('b')")
    server.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts)"
        " select 'a', 'info', n::text, now() from generate_series(1, 20) n"
    )
    server.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts)"
        " values ('b', 'info', 'old', now() - interval '2 days')"
    )

    async def sweep():
        from kernel.public import STATEMENTS, server_actor
        from plugins.logs import store

        run = server.services.get(STATEMENTS).run
        assert await store.list_apps(server.services.get(STATEMENTS)) == ["a", "b"]
        old = await run(server_actor(), lambda tx: store.sweep_old(tx, 1))
        many = [
            await run(server_actor(), lambda tx, app=app: store.sweep_many(tx, app, 5))
            for app in ("a", "b")
        ]
        return old, many

    assert server.run(sweep) == (1, [15, 0])
    left = server.sql("select app_id, message from caudex_logs.lines order by id")
    assert left == [("a", str(number)) for number in range(16, 21)]


@pytest.mark.parametrize(("zero", "left"), [("keep_days", 5), ("keep_lines", 20)])
def test_zero_keeps_lines_for_ever_and_however_many(make_server, zero, left):
    kept = {"keep_lines": 5, "keep_days": 1, zero: 0}
    server = make_server({"plugins": {"logs": kept}})
    server.sql("insert into caudex_kernel.apps (app_id) values ('a')")
    server.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts)"
        " select 'a', 'info', n::text, now() - make_interval(days => %s)"
        " from generate_series(1, 20) n",
        1000 if zero == "keep_days" else 0,
    )

    def swept() -> bool:  # one that runs at the same time skips what another sweeps
        server.run(server.services.get(LOGS).sweep)
        return server.sql("select count(*) from caudex_logs.lines") == [(left,)]

    eventually(swept)


def test_a_reader_that_leaves_is_forgotten(server, app):
    service = server.services.get(LOGS)
    with server.admin.stream("GET", path(app)) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert app in service._feeds
        lines.close()
    eventually(lambda: app not in service._feeds)


@pytest.mark.slow
def test_streams_do_not_keep_a_server_from_stopping(make_server):
    server = make_server()
    server.admin.post("/api/v1/apps", json={"appId": "open", "name": "x"}).raise_for_status()
    done = threading.Event()

    def follow():
        try:
            with server.admin.stream("GET", path("open")) as answer:
                for _ in answer.iter_lines():
                    pass
        except httpx.HTTPError:
            pass
        done.set()

    threading.Thread(target=follow, daemon=True).start()
    time.sleep(0.5)
    server.stop()
    assert done.wait(60)
