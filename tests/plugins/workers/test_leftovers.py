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

from kernel.public import Tasks
from kernel.testing import Client, Postgres, Server, running_server
from plugins.workers.control import reconciler
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.models import Release
from plugins.workers.releases.folders import OWNER, Folders
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    install,
    reaches,
    result,
    rpc,
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


def folder_of(server: Server, app: str) -> Path:
    return server.kernel.context.data_dir / "workers" / app


def left(base: Path) -> list[str]:
    return [path.name for path in base.iterdir() if not path.name.startswith((".sdk", "."))]


def test_files_go_though_the_worker_was_stopped_when_the_server_started(start: Start):
    with start() as (server, admin):
        app, other = deployed(server), deployed(server)
        for each in (app, other):
            result(admin, each, "write", {"path": "$HOME/left"})
            assert admin.post(f"/api/v1/apps/{each}/worker/stop").status_code == 200
    with start() as (server, admin):
        assert (folder_of(server, app) / "home" / "left").exists()
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
        eventually(lambda: not folder_of(server, app).exists())
        assert admin.post(f"/api/v1/apps/{other}/worker/start").status_code == 200
        assert (folder_of(server, other) / "home" / "left").exists()
        base = folder_of(server, other).parent
        eventually(lambda: not list(base.glob(".gone-*")))


def test_files_go_at_the_start_of_a_server_that_was_down(start: Start):
    with start() as (server, admin):
        app, other, base = deployed(server), deployed(server), folder_of(server, "x").parent
        result(admin, app, "write", {"path": "$HOME/left"})
    with start("elsewhere") as (_, admin):
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert (base / app / "home" / "left").exists()
    with start() as (server, admin):
        eventually(lambda: left(base) == [other])
        eventually(lambda: rpc(admin, other, "echo").status_code == 200)
        manifest = {"appId": app, "name": app, "dataContract": []}
        assert admin.post("/api/v1/apps", json=manifest).status_code == 200
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
        assert list((base / app / "home").iterdir()) == []


def test_an_app_that_came_anew_while_the_server_was_down_finds_nothing_of_the_former_one(
    start: Start,
):
    with start() as (server, admin):
        app, base = deployed(server), folder_of(server, "x").parent
        result(admin, app, "write", {"path": "$HOME/left"})
    with start("elsewhere") as (_, admin):
        assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
        manifest = {"appId": app, "name": app, "dataContract": []}
        assert admin.post("/api/v1/apps", json=manifest).status_code == 200
        assert deploy(admin, app, {"worker.py": PYTHON}).status_code == 200
    with start() as (server, admin):
        eventually(lambda: rpc(admin, app, "echo").status_code == 200)
        assert list((base / app / "home").iterdir()) == []
        assert (result(admin, app, "facts")["cwd"]).startswith(str(base / app))


def test_a_server_that_hears_of_both_at_once_runs_nothing_of_the_former_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    new = PYTHON.replace("def echo(", "def new(")
    with start() as (one, admin), start("elsewhere") as (two, there):
        app = deployed(one)
        for verb in ("stop", "start"):  # its row is written more often than the new one's will be
            assert admin.post(f"/api/v1/apps/{app}/worker/{verb}").status_code == 200
        eventually(lambda: rpc(there, app, "echo").status_code == 200)
        eventually(lambda: reconciler_of(two).supervisors[app]._attempt == 3)
        result(there, app, "write", {"path": "$HOME/left"})

        async def deaf(*_: object) -> None: ...

        with monkeypatch.context() as patch:
            patch.setattr(reconciler_of(two), "_follow", deaf)
            assert admin.delete(f"/api/v1/apps/{app}").status_code == 200
            eventually(lambda: app not in reconciler_of(one).supervisors)
            manifest = {"appId": app, "name": app, "dataContract": []}
            assert admin.post("/api/v1/apps", json=manifest).status_code == 200
            assert deploy(admin, app, {"worker.py": new}).status_code == 200
        two.run(reconciler_of(two).on_notification, None)
        eventually(lambda: rpc(there, app, "new").status_code == 200)
        assert list((folder_of(two, app) / "home").iterdir()) == []


def test_an_app_that_goes_while_it_is_deployed_leaves_nothing(
    workers: Server, monkeypatch: pytest.MonkeyPatch
):
    app, answers = install(workers), list[int]()
    client, make_app = workers.login("admin"), Folders.make_app
    waits, gate = threading.Event(), threading.Event()

    def slowly(self: Folders, release: Release, uid: int | None) -> None:
        waits.set()
        gate.wait(10)
        make_app(self, release, uid)

    def go() -> None:
        answers.append(deploy(client, app, {"worker.py": PYTHON}).status_code)

    monkeypatch.setattr(Folders, "make_app", slowly)
    deploying = threading.Thread(target=go)
    deploying.start()
    assert waits.wait(10)
    assert workers.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    eventually(lambda: app not in reconciler_of(workers).supervisors)
    gate.set()
    deploying.join()
    assert answers == [404]
    eventually(lambda: not folder_of(workers, app).exists())


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
            assert sorted(left(data / "workers")) == sorted({app, theirs})
        assert (folder_of(server, app) / "home" / "left").exists()
        assert result(admin, app, "echo", 1) == 1


def reconciler_of(server: Server) -> Reconciler:
    plugin = next(plugin for plugin in server.kernel.instances if plugin.name == "workers")
    return plugin._service.reconciler  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["../config", ".servers", "", ".", "..", "/etc", "never\0was"])
def test_a_name_that_is_no_app_leads_nowhere(workers: Server, name: str):
    """Whoever may connect to the database may also make up news."""
    app, data = deployed(workers), workers.kernel.context.data_dir
    before = sorted(path.name for path in (data / "config").iterdir())
    follower = reconciler_of(workers)
    workers.run(follower.on_notification, name)
    eventually(lambda: not follower._stale)
    reaches(workers.admin, app, "running")
    assert sorted(path.name for path in (data / "config").iterdir()) == before
    assert (data / "workers" / ".servers").is_dir()
    assert name not in follower.supervisors


# Without a server


def release(app: str = "crm", number: int = 7) -> Release:
    return Release(app_id=app, number=number, version=1, digest="0" * 64)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    made.prepare()
    made.database = "one"
    return made


def test_a_folder_is_known_by_its_database_and_number(folders: Folders, tmp_path: Path):
    folders.make_app(release(), None)
    folders.make_app(release("shop", 8), None)
    assert folders.numbers(None) == {"crm": 7, "shop": 8}
    assert folders.numbers({"shop", "gone", "../workers/crm"}) == {"shop": 8}
    other = Folders(tmp_path)
    assert other.numbers(None) == {}, "as long as the database is not known"
    other.database = "two"
    assert other.numbers(None) == {}
    for damaged in ("", "one", "one x", "one 7 8", "\u00e9"):
        (folders.base / "crm" / OWNER).write_text(damaged)
        assert folders.numbers({"crm"}) == {}
    (folders.base / "crm" / OWNER).unlink()
    assert folders.numbers(None) == {"shop": 8}


def test_a_later_app_of_the_same_name_finds_nothing_and_loses_nothing(folders: Folders):
    folders.make_app(release(), None)
    left_behind = folders.home(release()) / "file"
    left_behind.touch()
    folders.make_app(release(), None)
    assert left_behind.exists()
    later = release(number=9)
    folders.make_app(later, None)
    assert not left_behind.exists()
    left_behind.touch()
    folders.make_app(release(), None)
    folders.remove("crm", 7)
    assert left_behind.exists(), "who is late ends nothing of the later app's"
    folders.remove("crm", 9)
    assert left(folders.base) == []


def test_the_former_code_goes_before_it_can_be_taken_for_the_new(folders: Folders):
    """Versions begin anew, so the same archive has the same folder."""
    folders.make_app(release(), None)
    folders.release(release()).mkdir()
    folders.clear(release())
    assert folders.release(release()).exists()
    folders.clear(release(number=9))
    assert left(folders.base) == []


def test_an_app_of_another_database_is_not_removed_for_its_name(folders: Folders, tmp_path: Path):
    folders.make_app(release(), None)
    other = Folders(tmp_path)
    other.database = "two"
    other.remove("crm", 7)
    other.remove("crm")
    assert folders.home(release()).exists()
    folders.remove("crm", 7)
    assert left(folders.base) == []


class Store:
    """Has no app at all, once the database answers."""

    def __init__(self) -> None:
        self.faults: list[Exception] = [psycopg.errors.DataCorrupted("a page is damaged")]
        self.asked = 0

    async def desired(self, app_ids: list[str] | None) -> list[object]:
        self.asked += 1
        if self.faults:
            raise self.faults.pop()
        return []

    async def beat(self, *_: object) -> None: ...


class Removing:
    """A supervisor that cannot remove what is left."""

    def __init__(self) -> None:
        self.app_id = "crm"
        self.removed: list[int | None] = []
        self.leaving = False
        self.ended = True
        self.state = "stopped"

    def remove(self, number: int | None = None) -> None:
        self.removed.append(number)

    async def run(self) -> None:
        """End at once."""


async def test_a_fault_of_the_database_ends_nothing_and_what_cannot_be_removed_is_tried_once(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconciler, "RETRY_SECONDS", 0.05)
    folders.make_app(release(), None)
    store, made = Store(), list[Removing]()

    def create(*_: object) -> Removing:
        made.append(Removing())
        return made[-1]

    ends = list[Any]()
    monkeypatch.setattr(reconciler, "Supervisor", create)
    host: Any = SimpleNamespace(
        store=store, folders=folders, listeners=[], spawn=lambda *work: ends.append(work)
    )
    specs: Any = None
    follower = Reconciler(host, specs)

    async def rounds(asked: int) -> None:
        await until(lambda: store.asked >= asked, 5)
        await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        supervised = Tasks("workers")
        supervised.start(follower.run, "reconciler")
        statements: Any = None
        tasks.start_soon(supervised.run, statements)
        await rounds(2)
        assert [each.removed for each in made] == [[7]]
        [(end, supervisor)] = ends
        await end(supervisor)
        await rounds(3)
        assert len(made) == 1
        await follower.on_notification(None)
        await rounds(4)
        assert [each.removed for each in made] == [[7], [7]]
        follower.supervisors.clear()
        await follower.close(0, 0, 0)
        tasks.cancel_scope.cancel()
