"""Installs beside each other, beside writers, and on several servers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from kernel.testing import Client
from plugins.apps import service
from plugins.apps.schema import sync
from plugins.rbac.service import RbacService

from .support import changes, entity, field, fresh_id, install, link, manifest


@pytest.fixture
def app() -> str:
    return fresh_id()


def post(client: Client, wanted) -> int:
    return client.post("/api/v1/apps", json=wanted).status_code


def test_many_installs_at_once_end_well(server, app):
    admin, wanted = server.admin, manifest(app, entity("a", field("x"), link("up", "a")))
    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(lambda _: post(admin, wanted), range(20)))
    assert answers == {200}
    assert changes(server.admin, wanted) == []


def test_two_servers_install_one_app_at_once(server, make_server, app):
    first = server.admin
    second = make_server(dsn=server.dsn, data_dir=server.kernel.config.data_dir).login("admin")
    states = [
        manifest(app, entity("a", field("x")), entity("b", link("a", "a"))),
        manifest(app, entity("a", field("x", "number"), field("y"))),
    ]
    work = [(client, state) for client in (first, second) for state in states] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda item: post(*item), work))
    assert answers == {200}
    install(first, states[0])


def test_installs_and_removals_at_once_leave_all_or_nothing(server, app):
    wanted = manifest(app, entity("a", field("x")))

    def work(n: int) -> int:
        if n % 3 == 2:
            return server.admin.delete(f"/api/v1/apps/{app}").status_code
        return post(server.admin, wanted)

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(work, range(24)))
    assert statuses <= {200, 404}
    here = app in [item["id"] for item in server.admin.get("/api/v1/apps").json()]
    assert server.sql("select to_regnamespace(%s) is not null", app) == [(here,)]
    assert server.sql("select count(*) from caudex_apps.apps where id = %s", app) == [(int(here),)]


@pytest.mark.slow
def test_records_written_while_the_schema_changes_are_all_there(server, app):
    """Types, rules and fields go back and forth under writers; what was acknowledged stays."""
    states = [
        manifest(app, entity("a", field("x"), field("y", default_value="1"))),
        manifest(app, entity("a", field("x", "number"), link("up", "a"))),
        manifest(app, entity("a", field("x", "number"), indexes=[{"columns": ["x"]}])),
    ]
    install(server.admin, states[0])
    records = f"/api/v1/apps/{app}/collections/a"
    written: list[str] = []
    odd: list[tuple[int, str]] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            answer = server.admin.post(records, json={"x": "5"})
            if answer.status_code == 201:
                written.append(answer.json()["id"])
            elif answer.status_code not in (400, 503):
                odd.append((answer.status_code, answer.text))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for round_ in range(15):
            answer = server.admin.post("/api/v1/apps", json=states[round_ % 3])
            assert answer.status_code in (200, 503), answer.text
    finally:
        done.set()
        for writer in writers:
            writer.join(30)
    assert odd == []
    assert len(written) > 20
    stored = {str(found) for (found,) in server.sql(f"select id from {app}.a where x::text = '5'")}
    assert set(written) <= stored


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", ""), ("POST", "/schema/prune")], ids=["remove", "prune"]
)
def test_who_waited_is_asked_again_whether_it_is_still_theirs(server, app, method, path):
    """The app may have gone meanwhile, and another one of that name come."""
    install(server.admin, manifest(app, entity("a"), entity("b")))
    install(server.admin, manifest(app, entity("a")))
    owner, url = server.user(), f"/api/v1/apps/{app}"
    held = {"userId": owner.id, "role": "admin"}
    server.admin.post(f"{url}/roles/assign", json=held).raise_for_status()
    with psycopg.connect(server.dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute("select caudex_kernel.lock(array[%s], false)", [f"apps.{app}"])
        waiting = pool.submit(owner.request, method, url + path, json={})
        while server.sql("select 1 from pg_locks where not granted") == []:
            assert not waiting.done()
        server.admin.post(f"{url}/roles/revoke", json=held).raise_for_status()
        other.rollback()
        answer = waiting.result()
    assert answer.status_code == 403, answer.text
    assert server.sql("select to_regclass(%s) is not null", f"{app}.b") == [(True,)]
    assert server.admin.request(method, url + path, json={}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/schema/prune"), ("DELETE", "")], ids=["prune", "remove"]
)
def test_a_core_admin_is_not_refused_where_news_of_the_app_are_still_to_come(
    server, app, monkeypatch, method, path
):
    """It was removed and installed again since: the table has it, and its roles are not read."""
    install(server.admin, manifest(app, entity("a")))

    async def unknown(self, user_id, app_id):
        return False

    monkeypatch.setattr(RbacService, "is_app_admin", unknown)
    url = f"/api/v1/apps/{app}{path}"
    assert server.admin.request(method, url, json={}).status_code == 200


@pytest.mark.slow
def test_who_waits_for_accounts_lets_others_have_them(make_server, app):
    """A worker's login may hold them for as long as it likes: each link to one is such a hold."""
    server = make_server({"plugins": {"apps": {"lock_timeout": 30}}})
    linked = manifest(app, entity("a", field("x"), link("by", "core:users")))
    other = fresh_id()
    install(server.admin, linked)
    install(server.admin, manifest(other, entity("a", link("by", "core:users"))))
    columns = f"insert into {other}.a (by) select id from caudex_auth.users limit 1"
    with psycopg.connect(server.dsn) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(columns)
        for change in (
            lambda: post(server.admin, manifest(app, entity("a", field("x")))),
            lambda: server.admin.delete(f"/api/v1/apps/{app}").status_code,
        ):
            done = pool.submit(change)
            for _ in range(15):
                began = time.monotonic()
                server.sql("select count(*) from caudex_auth.users")
                assert time.monotonic() - began < 5  # of the 30 that the change itself may wait
                assert not done.done()
                time.sleep(0.1)
            holder.rollback()
            assert done.result(10) == 200
            install(server.admin, linked)
            holder.execute(columns)


@pytest.mark.slow
def test_installs_of_other_apps_do_not_wait_for_a_locked_one(make_server, app):
    server = make_server({"plugins": {"apps": {"lock_timeout": 0.5}}})
    text = manifest(app, entity("a", field("x")))
    number = manifest(app, entity("a", field("x", "number")))
    install(server.admin, text)
    with psycopg.connect(server.dsn) as connection:
        connection.execute(f"lock table {app}.a in access share mode")
        answer = server.admin.post("/api/v1/apps", json=number)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        install(server.admin, manifest(fresh_id(), entity("a")))
    install(server.admin, number)


@pytest.mark.parametrize("path", ["/api/v1/apps", "/api/v1/apps/schema/verify"])
@pytest.mark.parametrize(("module", "name"), [(service, "read_manifest"), (sync, "compare")])
def test_others_are_served_while_a_manifest_is_read_and_compared(
    server, app, monkeypatch, path, module, name
):
    """A large one takes a second of a processor; two are never read at the same moment, and no more
    than two compared."""
    work, served, inside, most = getattr(module, name), threading.Event(), [0], [0]

    def slow(*args):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        in_time = served.wait(10)
        inside[0] -= 1
        assert in_time, "no request was served meanwhile"
        return work(*args)

    monkeypatch.setattr(module, name, slow)
    client, wanted = server.admin, [manifest(f"{app}_{number}") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.post, path, json=one) for one in wanted]
        while not inside[0]:
            assert not any(answer.done() for answer in answers)
            time.sleep(0.001)
        assert client.get("/api/v1/apps").status_code == 200
        served.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert most[0] <= (1 if module is service else 2)
