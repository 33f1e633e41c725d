"""What an app has on disk goes with it, whatever ran when it went, and nothing else does."""

import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import psycopg
import pytest
from anyio import to_thread

from kernel.public import BadRequest, Tasks
from kernel.testing import Client, Postgres, Server, running_server
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.host import StateListeners
from plugins.workers.models import Installation, Release
from plugins.workers.releases.folders import Folders
from plugins.workers.replica.replica import Waits
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    install,
    reaches,
    result,
    rpc,
    supervisor_of,
)
from tests.waiting import eventually, until

SETTINGS = {"plugins": {"workers": dict(QUICK)}}
Start = Callable[..., AbstractContextManager[tuple[Server, Client]]]


@pytest.fixture
def start(postgres: Postgres, tmp_path: Path) -> Generator[Start]:
    """Start servers on one database; without a name they have the same data folder as well."""
    dsn, passwords = postgres.create(), list[str]()

    @contextmanager
    def run(name: str = "data") -> Generator[tuple[Server, Client]]:
        folder = tmp_path / name
        if name != "data":
            shutil.copytree(tmp_path / "data" / "config", folder / "config", dirs_exist_ok=True)
        with running_server(postgres, SETTINGS, dsn=dsn, data_dir=folder) as server:
            if not passwords:
                passwords.append(server.admin.password)
            server._admin = server.login("admin", passwords[0])
            yield server, server._admin

    try:
        yield run
    finally:
        postgres.drop(dsn)


def folder_at(server: Server, app: str) -> Path:
    return folder_of(server.kernel.context.data_dir, app)


def left(data_dir: Path) -> list[str]:
    """Names of the apps that have a folder, and of what is being removed."""
    found = (data_dir / "workers").glob("[!.]*/*")
    return sorted(path.name.partition(".")[0] for path in found)


@pytest.mark.slow
def test_files_go_though_the_worker_was_stopped_when_the_server_started(start: Start):
    with start() as (server, admin):
        app, other = deployed(server), deployed(server)
        for each in (app, other):
            result(admin, each, "write", {"path": "$HOME/left"})
            assert admin.post(f"/api/v1/apps/{each}/worker/stop").status_code == 200
    with start() as (server, admin):
        assert (folder_at(server, app) / "home" / "left").exists()
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
        eventually(lambda: not folder_at(server, app).exists())
        assert admin.post(f"/api/v1/apps/{other}/worker/start").status_code == 200
        assert (folder_at(server, other) / "home" / "left").exists()
        base = server.kernel.context.data_dir / "workers"
        eventually(lambda: not list(base.glob(".gone-*")))


@pytest.mark.slow
def test_files_go_at_the_start_of_a_server_that_was_down(start: Start):
    with start() as (server, admin):
        app, other, data = deployed(server), deployed(server), server.kernel.context.data_dir
        result(admin, app, "write", {"path": "$HOME/left"})
    with start("elsewhere") as (_, admin):
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert (folder_of(data, app) / "home" / "left").exists()
    with start() as (server, admin):
        eventually(lambda: left(data) == [other])
        eventually(lambda: rpc(admin, other, "echo").status_code == 200)
        manifest = {"appId": app, "name": app, "dataContract": []}
        assert admin.post("/api/v1/apps", json=manifest).status_code == 200
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
        assert list((folder_of(data, app) / "home").iterdir()) == []


@pytest.mark.slow
def test_an_app_that_is_installed_again_while_the_server_was_down_finds_nothing_of_the_former_one(
    start: Start,
):
    with start() as (server, admin):
        app, data = deployed(server), server.kernel.context.data_dir
        result(admin, app, "write", {"path": "$HOME/left"})
        former = folder_of(data, app)
    with start("elsewhere") as (_, admin):
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
        manifest = {"appId": app, "name": app, "dataContract": []}
        assert admin.post("/api/v1/apps", json=manifest).status_code == 200
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
    with start() as (server, admin):
        eventually(lambda: rpc(admin, app, "echo").status_code == 200)
        eventually(lambda: not former.exists())
        assert list((folder_of(data, app) / "home").iterdir()) == []
        assert Path(result(admin, app, "facts")["cwd"]).parent == folder_of(data, app)


@pytest.mark.slow
def test_a_server_that_hears_of_both_at_once_runs_nothing_of_the_former_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    new = PYTHON.replace("def echo(", "def new(")
    with start() as (one, admin), start("elsewhere") as (two, there):
        app = deployed(one)
        for verb in ("stop", "start"):  # its row is written more often than the new one's will be
            assert admin.post(f"/api/v1/apps/{app}/worker/{verb}").status_code == 200
        eventually(lambda: rpc(there, app, "echo").status_code == 200)
        eventually(lambda: supervisor_of(two, app)._goal.revision == 3)
        result(there, app, "write", {"path": "$HOME/left"})

        async def deaf(*_: object) -> None: ...

        with monkeypatch.context() as patch:
            patch.setattr(reconciler_of(two), "_follow", deaf)
            assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
            eventually(lambda: supervisor_of(one, app) is None)
            manifest = {"appId": app, "name": app, "dataContract": []}
            assert admin.post("/api/v1/apps", json=manifest).status_code == 200
            assert deploy(admin, app, {"worker.py": new}).status_code == 200
        two.run(reconciler_of(two).on_notification, None)
        eventually(lambda: rpc(there, app, "new").status_code == 200)
        assert list((folder_at(two, app) / "home").iterdir()) == []


@pytest.mark.parametrize("error", [None, FileNotFoundError("worker.py"), BadRequest("no entry")])
def test_an_app_that_goes_while_it_is_deployed_leaves_nothing(
    workers: Server, monkeypatch: pytest.MonkeyPatch, error: Exception | None
):
    """With its files, so that the deploy may miss any of them."""
    app, answers = install(workers), list[int]()
    client, make_app = workers.login("admin"), Folders.make_app
    waits, gate = threading.Event(), threading.Event()

    def slowly(self: Folders, release: Release, uid: int | None) -> None:
        waits.set()
        gate.wait(10)
        if error is not None:
            raise error
        make_app(self, release, uid)

    def go() -> None:
        answers.append(deploy(client, app, {"worker.py": PYTHON}).status_code)

    monkeypatch.setattr(Folders, "make_app", slowly)
    deploying = threading.Thread(target=go)
    deploying.start()
    assert waits.wait(10)
    assert workers.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    eventually(lambda: supervisor_of(workers, app) is None)
    gate.set()
    deploying.join()
    assert answers == [404]
    eventually(lambda: not folder_at(workers, app).exists())


@pytest.mark.slow
def test_apps_of_another_database_in_the_same_data_folder_stay(start: Start, postgres: Postgres):
    with start() as (server, admin):
        app, data = deployed(server), server.kernel.context.data_dir
        result(admin, app, "write", {"path": "$HOME/left"})
        with running_server(postgres, SETTINGS, data_dir=data) as other:
            theirs = deployed(other)
            other.run(reconciler_of(other).on_notification, app)
            other.run(reconciler_of(other).on_notification, None)
            time.sleep(0.5)
            assert left(data) == sorted([app, theirs])
        assert (folder_at(server, app) / "home" / "left").exists()
        assert result(admin, app, "echo", 1) == 1


def reconciler_of(server: Server) -> Reconciler:
    plugin = next(plugin for plugin in server.kernel.instances if plugin.name == "workers")
    return plugin._service.reconciler  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["../config", ".servers", "", ".", "..", "/etc", "never\0was"])
def test_a_name_that_is_no_app_leads_nowhere(workers: Server, name: str):
    """Any caller that may connect to the database may also make up news."""
    app, data = deployed(workers), workers.kernel.context.data_dir
    before = sorted(path.name for path in (data / "config").iterdir())
    follower = reconciler_of(workers)
    workers.run(follower.on_notification, name)
    eventually(lambda: not follower._stale)
    reaches(workers.admin, app, "running")
    assert sorted(path.name for path in (data / "config").iterdir()) == before
    assert (data / "workers" / ".servers").is_dir()
    assert name not in {each.app_id for each in follower.supervisors.values()}


# Without a server


def release(app: str = "crm", key: int = 7) -> Release:
    return Release(app_id=app, number=1, key=key, version=1, digest="0" * 64)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    made.prepare()
    made.database = "one"
    return made


def test_a_folder_is_known_by_its_database_and_key(folders: Folders, tmp_path: Path):
    folders.make_app(release().app, None)
    folders.make_app(release("shop", 8).app, None)
    (folders.base / "one" / "odd").mkdir()
    assert sorted(map(str, folders.list_apps())) == ["crm.7", "shop.8"]
    other = Folders(tmp_path)
    other.make_app(release("late", 9).app, None)
    assert other.list_apps() == [], "as long as the database is not known"
    other.database = "two"
    assert other.list_apps() == []


def test_a_later_app_of_the_same_name_finds_nothing_and_loses_nothing(folders: Folders):
    later = release(key=9)
    for each in (release(), later):
        folders.make_app(each.app, None)
        folders.locate_release(each).mkdir()
    left_behind = folders.locate_home(release().app) / "file"
    left_behind.touch()
    folders.make_app(release().app, None)
    assert left_behind.exists()
    assert list(folders.locate_home(later.app).iterdir()) == []
    folders.remove(Installation("crm", 7))
    assert not left_behind.exists()
    assert folders.locate_release(later).exists()
    folders.remove(Installation("crm", 9))
    assert folders.list_apps() == []


def test_an_app_of_another_database_is_not_removed_for_its_name(folders: Folders, tmp_path: Path):
    folders.make_app(release().app, None)
    other = Folders(tmp_path)
    other.database = "two"
    other.remove(Installation("crm", 7))
    assert folders.locate_home(release().app).exists()
    folders.remove(Installation("crm", 7))
    assert folders.list_apps() == []


class Store:
    """Has no app at all, once the database answers."""

    def __init__(self) -> None:
        self.faults: list[Exception] = [psycopg.errors.DataCorrupted("a page is damaged")]
        self.asked = 0

    async def read_desired(self, app_ids: list[str] | None) -> list[object]:
        self.asked += 1
        if self.faults:
            raise self.faults.pop()
        return []

    async def beat(self, *_: object) -> None: ...


async def test_a_fault_of_the_database_ends_nothing_and_what_cannot_be_removed_is_tried_once(
    folders: Folders,
):
    folders.make_app(release().app, None)
    store, spawned = Store(), list[Any]()
    host: Any = SimpleNamespace(
        store=store, states=StateListeners(),
        background=SimpleNamespace(spawn=lambda *work: spawned.append(work)),
        machine=SimpleNamespace(folders=folders, remove_app=folders.remove),
    )  # fmt: skip
    builder: Any = None
    follower = Reconciler(host, builder)

    async def rounds(asked: int) -> None:
        await until(lambda: store.asked >= asked)
        await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        supervised = Tasks("workers")
        supervised.every(0, follower.step, "reconciler")
        statements: Any = None
        tasks.start_soon(supervised.run, statements)
        await rounds(2)
        expected = (to_thread.run_sync, folders.remove, Installation("crm", 7))
        assert spawned == [expected]
        await follower.on_notification("shop")
        await rounds(3)
        assert spawned == [expected]
        await follower.on_notification(None)
        await rounds(4)
        assert spawned == [expected] * 2
        await follower.close(Waits(shutdown=0, term=0))
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("notified", [("crm",), ("crm", "crm"), ("shop", "crm"), (None, "crm")])
async def test_a_process_does_not_read_its_own_change_but_that_of_another_meanwhile(
    folders: Folders, notified: tuple[str | None, ...]
):
    store = Store()
    store.faults.clear()
    machine = SimpleNamespace(folders=folders)
    host: Any = SimpleNamespace(store=store, machine=machine, states=StateListeners())
    builder: Any = None
    follower = Reconciler(host, builder)
    await follower.step()
    with follower.apply_change("crm"):
        for payload in notified:
            await follower.on_notification(payload)
        expected = {("crm",): set(), ("crm", "crm"): {"crm"}, ("shop", "crm"): {"shop"}}
        assert follower._stale == expected.get(notified)
    await follower.step()
    assert store.asked == (1 if notified == ("crm",) else 2)
    await follower.on_notification("crm")
    assert follower._stale == {"crm"}
