"""Numbers, accounts and versions while other servers deploy, install and remove."""

import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from msgspec import structs

from kernel.public import ConcurrencyLimiter, Transaction, Unavailable, server_actor
from kernel.testing import Client, MakeServer, Server
from plugins.workers import store
from plugins.workers.models import DesiredState, Release
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica
from plugins.workers.service import WorkersService
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    install,
    result,
    rpc,
    status,
    supervisor_of,
)
from tests.waiting import eventually

BROKEN = {"worker.py": "raise SystemExit(1)"}


def service_of(server: Server) -> WorkersService:
    own = next(each for each in server.kernel.instances if each.name == "workers")
    return own._service  # type: ignore[attr-defined]


def begin(server: Server, app: str, accounts: int = 50_000) -> Release:
    begin = service_of(server).host.store.begin
    return server.run(begin, app, key_of(server, app), "0" * 64, accounts)


def key_of(server: Server, app: str) -> int:
    """The key of an app, which is installed for this in the kernel's table if it is not."""
    server.sql("insert into caudex_kernel.apps (app_id) values (%s) on conflict do nothing", app)
    [(key,)] = server.sql("select key from caudex_kernel.apps where app_id = %s", app)
    return key


def again(server: Server, app: str, admin: Client | None = None) -> None:
    """Remove an app and install another of its name, with the same admin where one is given."""
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    server.install({"appId": app, "name": app, "dataContract": []})
    if admin is not None:
        server.assign(admin, app, "admin")


# Numbers


@pytest.mark.slow
def test_deploys_take_one_number_for_each_app_whatever_comes_of_them(workers: Server):
    app, other = install(workers), install(workers)
    for _ in range(3):
        assert deploy(workers.admin, app, BROKEN).status_code == 400
    assert begin(workers, other).number == begin(workers, app).number + 1


def test_no_two_apps_have_one_account(workers: Server):
    apps = [f"number{count}" for count in range(5)]
    [(high,)] = workers.sql("select coalesce(max(number), 0) from caudex_workers.apps")
    for app, account in zip(apps, (501, 502, 503), strict=False):
        add = "insert into caudex_workers.apps (app_id, key, number) values (%s, %s, %s)"
        workers.sql(add, app, key_of(workers, app), (high // 1000 + 1) * 1000 + account)
    workers.sql("select setval('caudex_workers.numbers', %s)", (high // 1000 + 2) * 1000 + 500)
    try:
        assert begin(workers, apps[3], 1000).number % 1000 == 504
        assert begin(workers, apps[3], 1000).version == 2
        assert begin(workers, apps[4], 1000).number % 1000 == 505
        with pytest.raises(Unavailable, match="uid_count"):
            begin(workers, "number6", 1)
    finally:
        workers.sql("delete from caudex_kernel.apps where app_id like 'number%%'")


def test_many_first_deploys_at_once_get_a_number_each(workers: Server):
    service, found = service_of(workers), list[Release]()

    keys = {app: key_of(workers, app) for app in (f"many{count}" for count in range(12))}

    async def one(app: str) -> None:
        found.append(await service.host.store.begin(app, keys[app], "0" * 64, 50_000))

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for count in range(24):
                tasks.start_soon(one, f"many{count // 2}")

    workers.run(many)
    numbers = {each.app_id: each.number for each in found}
    assert len(set(numbers.values())) == 12
    assert sorted((each.app_id, each.version) for each in found) == sorted(
        (app, version) for app in numbers for version in (1, 2)
    )
    workers.sql("delete from caudex_kernel.apps where app_id like 'many%%'")


# Versions


def test_the_latest_versions_are_kept_and_one_that_was_overtaken_is_not_put_into_service(
    workers: Server,
):
    app, service = install(workers), service_of(workers)
    releases = [begin(workers, app) for _ in range(store.KEPT + 2)]

    async def promote(release: Release) -> int | None:
        async def write(tx: Transaction) -> int | None:
            assert await store.save(tx, release, 0)
            return await store.promote(tx, release)

        return await service._statements.run(server_actor(), write)

    assert [workers.run(promote, release) for release in releases[1:]] == [1, 2, 3, 4, 5, 6]
    kept = "select version from caudex_workers.versions where app_id = %s order by version"
    assert [version for (version,) in workers.sql(kept, app)] == [3, 4, 5, 6, 7]
    assert workers.run(promote, releases[0]) is None
    in_service = "select version from caudex_workers.apps where app_id = %s"
    assert workers.sql(in_service, app) == [(7,)]


@pytest.mark.slow
def test_of_two_processes_that_deploy_at_once_the_later_version_wins(
    make_server: MakeServer, tmp_path: Path
):
    """They share the data folder, and know nothing of each other's deploys."""
    config = {"plugins": {"workers": {**QUICK, "start_timeout": 60}}}
    one = make_server(config, data_dir=tmp_path)
    two = make_server(config, dsn=one.dsn, data_dir=tmp_path)
    app = install(one)
    slow = PYTHON.replace(
        "worker = Worker()", "while not os.path.exists('go'): time.sleep(0.02)\nworker = Worker()"
    )
    with ThreadPoolExecutor() as threads:
        first = threads.submit(deploy, one.admin, app, {"worker.py": slow})
        eventually(lambda: list(folder_of(tmp_path, app).glob("1-*")))
        admin = two.login("admin")
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
        [code] = folder_of(tmp_path, app).glob("1-*")
        (code / "go").touch()
        answer = first.result()
    assert (answer.status_code, answer.json()["error"]) == (
        400, "a later version was deployed meanwhile"
    )  # fmt: skip
    assert one.sql("select version from caudex_workers.apps where app_id = %s", app) == [(2,)]
    for server, client in ((one, one.admin), (two, admin)):
        eventually(lambda c=client: status(c, app)["status"] == "running")
        eventually(lambda c=client: rpc(c, app, "echo").status_code == 200)  # not elsewhere alone
        assert result(client, app, "echo", 1) == 1, server
    assert [e.name[:2] for e in folder_of(tmp_path, app).iterdir() if e.name[:1].isdigit()] == [
        "2-"
    ]


def test_a_version_of_an_app_that_went_is_not_saved_for_its_successor(workers: Server):
    app = install(workers)
    former = begin(workers, app)
    again(workers, app)
    begin(workers, app)

    async def save(tx: Transaction) -> bool:
        return await store.save(tx, former, 0)

    assert not workers.run(service_of(workers)._statements.run, server_actor(), save)


# Whose deploy it is after a wait


def after_a_wait(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen while the next deploy waits for its turn."""
    usual = ConcurrencyLimiter.hold

    @asynccontextmanager
    async def late(self: ConcurrencyLimiter, key: object) -> AsyncGenerator[None]:
        if isinstance(key, tuple):
            monkeypatch.setattr(ConcurrencyLimiter, "hold", usual)
            await to_thread.run_sync(happens)
        async with usual(self, key):
            yield

    monkeypatch.setattr(ConcurrencyLimiter, "hold", late)


def after_the_build(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen when the next deploy has installed what it needs."""
    usual = Builder.build

    async def late(self: Builder, *arguments: Any) -> Any:
        monkeypatch.setattr(Builder, "build", usual)
        built = await usual(self, *arguments)
        await to_thread.run_sync(happens)
        return built

    monkeypatch.setattr(Builder, "build", late)


@pytest.mark.parametrize("when", [after_a_wait, after_the_build])
def test_a_deploy_is_not_for_an_app_that_came_after(
    workers: Server, monkeypatch: pytest.MonkeyPatch, when: Callable[..., None]
):
    app, admin, prepared = deployed(workers), workers.user(), list[Release]()
    workers.assign(admin, app, "admin")
    [(former,)] = workers.sql("select number from caudex_workers.apps where app_id = %s", app)
    usual = Builder.prepare

    async def prepare(self: Builder, release: Release) -> Any:
        prepared.append(release)
        return await usual(self, release)

    def happens() -> None:
        again(workers, app, admin)
        assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 200

    when(monkeypatch, happens)
    monkeypatch.setattr(Builder, "prepare", prepare)
    answer = deploy(admin, app, {"worker.py": PYTHON.replace("def echo(", "def former(")})
    assert (answer.status_code, answer.json()) == (404, {"error": f"app '{app}' not found"})
    assert result(workers.admin, app, "echo", 1) == 1
    assert status(workers.admin, app)["version"] == 1
    assert former not in [release.number for release in prepared], "it saw the secrets"


def test_a_first_deploy_is_not_taken_for_what_a_former_app_left(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    """Rows that were read before the deploy has begun arrive after it has."""
    app, service, asked = install(workers), service_of(workers), threading.Event()
    usual = service.host.store.read_desired

    async def late(app_ids: Sequence[str] | None) -> list[DesiredState]:
        monkeypatch.setattr(service.host.store, "read_desired", usual)
        rows = await usual(app_ids)
        asked.set()
        while supervisor_of(workers, app) is None:
            await anyio.sleep(0.01)
        return rows

    monkeypatch.setattr(service.host.store, "read_desired", late)
    workers.run(service.reconciler.on_notification, app)
    assert asked.wait(10)
    assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert result(workers.admin, app, "echo", 1) == 1


@pytest.mark.parametrize("when", [after_a_wait, after_the_build])
def test_a_deploy_of_who_is_no_admin_any_more_is_refused(
    workers: Server, monkeypatch: pytest.MonkeyPatch, when: Callable[..., None]
):
    app, admin = deployed(workers), workers.user()
    workers.assign(admin, app, "admin")
    body = {"userId": admin.id, "role": "admin"}

    def happens() -> None:
        answer = workers.admin.post(f"/api/v1/apps/{app}/roles/revoke", json=body)
        assert answer.status_code == 200, answer.text

    when(monkeypatch, happens)
    assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 403
    assert status(workers.admin, app)["version"] == 1


def test_nor_is_the_first_deploy_of_one_who_was_admin_of_a_former_app(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app, admin = install(workers), workers.user()
    workers.assign(admin, app, "admin")
    after_a_wait(monkeypatch, lambda: again(workers, app))
    assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 403
    assert status(workers.admin, app)["status"] == "stopped"


def test_the_process_of_a_deploy_does_not_read_what_it_has_just_written(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app, store = deployed(workers), service_of(workers).host.store
    asked, usual = list[Sequence[str] | None](), store.read_desired

    async def noting(app_ids: Sequence[str] | None) -> list[DesiredState]:
        asked.append(app_ids)
        return await usual(app_ids)

    monkeypatch.setattr(store, "read_desired", noting)
    assert deploy(workers.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert asked == [[app]], "for the check before it starts only"
    assert status(workers.admin, app)["version"] == 2


def test_the_code_of_what_runs_stays_however_old_it_is(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app, service = deployed(workers), service_of(workers)
    supervisor = supervisor_of(workers, app)
    folder = folder_of(workers.kernel.context.data_dir, app)
    # As where this process is slow to follow, and others deployed many versions since.
    # Notifications of the
    # deploy that come only now would find no version to run, and stop the worker.
    monkeypatch.setattr(service.reconciler, "_apply", lambda row: None)
    workers.sql("delete from caudex_workers.versions where app_id = %s", app)
    workers.sql(
        "insert into caudex_workers.versions (app_id, version, digest, size)"
        " values (%s, 20, 'd', 0)",
        app,
    )
    workers.run(supervisor.tidy)
    assert len(list(folder.glob("1-*"))) == 1
    [replica] = supervisor.list_replicas()
    assert replica.is_running
    monkeypatch.undo()
    workers.run(service.reconciler.on_notification, None)  # what was reported meanwhile
    assert workers.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    eventually(lambda: not replica.is_running)
    workers.run(supervisor.tidy)
    assert not list(folder.glob("1-*"))


# What is reported


@pytest.mark.slow
def test_what_came_up_for_an_app_that_is_gone_is_ended(workers: Server):
    """However slowly the listeners hear that the former one stops."""
    app, service = deployed(workers), service_of(workers)
    supervisor = supervisor_of(workers, app)

    async def slow(*_: object) -> None:
        await anyio.sleep(0.5)

    service.on_change(slow)
    try:

        async def late() -> Replica:
            assert supervisor.replica is not None
            candidate = await supervisor.start_replica(supervisor.replica.release)
            supervisor.remove()
            supervisor.promote(candidate, supervisor._goal.revision + 1)
            await supervisor.wait_over()
            return candidate

        candidate = workers.run(late)
        assert supervisor.replica is None
        eventually(lambda: not candidate.is_running)
    finally:
        service.host.states.remove(slow)
        workers.admin.delete(f"/api/v1/apps/{app}")


def test_a_start_that_takes_too_long_is_not_reported_as_done(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    assert workers.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200

    async def never(*_: object) -> None:
        await anyio.sleep_forever()

    host = service_of(workers).host
    config = structs.replace(host.config, start_timeout=0.2, install_timeout=0.2)
    monkeypatch.setattr(host, "config", config)
    monkeypatch.setattr(Builder, "prepare", never)
    answer = workers.admin.post(f"/api/v1/apps/{app}/worker/start")
    assert answer.status_code == 503
    assert "retry-after" not in answer.headers
    assert "has not come up in 0.4 s" in answer.json()["error"]
