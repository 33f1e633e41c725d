"""Several servers, deploys at the same time, and servers that are killed."""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel.testing import MakeServer, Server
from plugins.frontends import service as service_module
from plugins.frontends import store
from plugins.frontends.bundles import building
from plugins.frontends.bundles.shelf import SHELF
from tests.plugins.frontends.support import SITE, Host, deploy, deployed, install
from tests.waiting import eventually


@pytest.fixture
def two(make_server: MakeServer, tmp_path: Path) -> tuple[Server, Server]:
    """Two servers of one database, each with a data folder of its own, as on two machines."""
    first = make_server()
    install(first, "crm")
    keys = first.kernel.config.data_dir / "config"
    shutil.copytree(keys, tmp_path / "config")
    return first, make_server(dsn=first.dsn, data_dir=tmp_path)


def test_every_server_swaps_at_once(two: tuple[Server, Server]) -> None:
    first, second = two
    here = Host(first, "crm")
    there = Host(second, "crm")
    assert there.get().status_code == 404
    for number in range(1, 4):
        page = f"page {number}"
        assert deploy(first.admin, "crm", {**SITE, "index.html": page}).status_code == 200
        assert here.get().text == page, "the server that answered the deploy"
        eventually(lambda expected=page: there.get().text == expected)
        assert there.get("/notes.txt").text == SITE["notes.txt"]
    body = {"version": 1}
    assert first.admin.post("/api/v1/apps/crm/frontend/rollback", json=body).status_code == 200
    eventually(lambda: there.get().text == "page 1")
    assert first.admin.delete("/api/v1/apps/crm/frontend").status_code == 200
    eventually(lambda: there.get().status_code == 404)


def test_a_bundle_is_read_again_where_its_copy_is_gone_or_broken(server: Server) -> None:
    host = deployed(server)
    folder = server.kernel.config.data_dir / "frontends"
    [copy] = [
        path for path in folder.iterdir() if len(path.name) == 64 and holds(server, host, path)
    ]
    assert host.get("/notes.txt").text == SITE["notes.txt"]
    for break_copy in (Path.unlink, lambda path: path.write_bytes(b"x")):
        break_copy(copy)
        server.run(server.services.get(SHELF).open, copy.name)
        assert copy.stat().st_size > 1000


def holds(server: Server, host: Host, path: Path) -> bool:
    rows = server.sql("select bundle from caudex_frontends.versions where app_id = %s", host.app_id)
    return (path.name,) in rows


def test_two_deploys_at_once_of_one_server(server: Server) -> None:
    app_id = install(server)
    pages = [f"page {number}" for number in range(4)]
    barrier = threading.Barrier(len(pages))
    _ = server.admin

    def send(page: str) -> int:
        barrier.wait()
        return deploy(server.admin, app_id, {**SITE, "index.html": page}).status_code

    with ThreadPoolExecutor(len(pages)) as threads:
        assert list(threads.map(send, pages)) == [200] * len(pages)
    assert Host(server, app_id).get().text in pages
    rows = server.admin.get(f"/api/v1/apps/{app_id}/frontend/versions").json()
    assert [row["version"] for row in rows] == [4, 3, 2, 1]
    assert [row["current"] for row in rows].count(True) == 1
    assert rows[0]["current"]


def test_two_deploys_at_once_of_two_servers(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deploy that got the earlier number commits last, and is refused."""
    first, second = two
    begun = threading.Event()
    other_is_done = threading.Event()
    original = store.save

    async def save_late(tx, release, key):
        if release.version == 1:
            begun.set()
            await service_module.to_thread.run_sync(other_is_done.wait, 30)
        return await original(tx, release, key)

    monkeypatch.setattr(store, "save", save_late)
    second_admin = second.login("admin")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(deploy, first.admin, "crm", {"index.html": "early"})
        assert begun.wait(30)
        assert deploy(second_admin, "crm", {"index.html": "late"}).status_code == 200
        other_is_done.set()
        answer = slow.result()
    assert answer.status_code == 400
    assert "later version" in answer.json()["error"]
    hosts = [Host(server, "crm") for server in two]
    eventually(lambda: [host.get().text for host in hosts] == ["late", "late"])
    rows = first.admin.get("/api/v1/apps/crm/frontend/versions").json()
    assert [(row["version"], row["current"]) for row in rows] == [(2, True)]


STEPS: dict[str, tuple[object, str]] = {
    "while it is unpacked": (building, "unpack_tar"),
    "while it is built": (building, "write_index"),
    "before it is stored": (store, "save"),
    "while it is stored": (store, "add_chunk"),
    "before it is in service": (store, "put_in_service"),
    "before the old ones go": (store, "prune"),
    "at the end": (store, "record"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_the_former_version(
    server: Server, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What a kill leaves: the transaction is undone, and files may remain."""
    host = deployed(server)
    before = server.admin.get(f"/api/v1/apps/{host.app_id}/frontend/versions").json()
    module, name = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, _fail)
        answer = deploy(server.admin, host.app_id, {**SITE, "index.html": "two"})
    assert answer.status_code == 500
    assert host.get().text == SITE["index.html"]
    assert server.admin.get(f"/api/v1/apps/{host.app_id}/frontend/versions").json() == before
    left = list((server.kernel.config.data_dir / "frontends/.new").iterdir())
    assert left == [], "temporary files"
    assert deploy(server.admin, host.app_id, {**SITE, "index.html": "two"}).status_code == 200
    assert host.get().text == "two"


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("killed here")


def test_the_app_goes_during_a_deploy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    app_id = install(server)
    original: Callable[..., object] = service_module.build

    def build_late(*arguments: object) -> object:
        built = original(*arguments)
        assert server.admin.delete(f"/api/v1/apps/{app_id}").status_code == 200
        install(server, app_id)
        return built

    monkeypatch.setattr(service_module, "build", build_late)
    answer = deploy(server.admin, app_id, SITE)
    assert answer.status_code == 404
    assert Host(server, app_id).get().status_code == 404


def test_a_role_that_goes_during_a_deploy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    app_id = install(server)
    admin = server.user(roles={app_id: ["admin"]})
    original: Callable[..., object] = service_module.build

    def build_late(*arguments: object) -> object:
        body = {"userId": admin.id, "role": "admin"}
        path = f"/api/v1/apps/{app_id}/roles/revoke"
        assert server.admin.post(path, json=body).status_code == 200
        return original(*arguments)

    monkeypatch.setattr(service_module, "build", build_late)
    assert deploy(admin, app_id, SITE).status_code == 403
    assert Host(server, app_id).get().status_code == 404


def test_what_killed_servers_left_is_swept(server: Server) -> None:
    shelf = server.services.get(SHELF)
    _ = server.admin
    fresh = shelf.locate_temporary()
    fresh.write_bytes(b"x")
    old_file = shelf.locate_temporary()
    old_file.write_bytes(b"x")
    old_folder = shelf.locate_temporary()
    (old_folder / "assets").mkdir(parents=True)
    (old_folder / "assets/index.js").write_bytes(b"x")
    for path in (old_file, old_folder):
        os.utime(path, (0, 0))
    shelf.sweep()
    assert fresh.exists()
    assert not old_file.exists()
    assert not old_folder.exists()
    fresh.unlink()


def test_copies_take_no_more_disk_than_they_may(make_server: MakeServer) -> None:
    server = make_server()
    shelf = server.services.get(SHELF)
    folder = server.kernel.config.data_dir / "frontends"
    host = deployed(server)
    for number in range(3):
        deploy(server.admin, host.app_id, {**SITE, "index.html": f"page {number}"})
    copies = {path for path in folder.iterdir() if path.is_file()}
    assert len(copies) == 4
    shelf._max_bytes = max(path.stat().st_size for path in copies)
    shelf.sweep()
    assert len([path for path in folder.iterdir() if path.is_file()]) == 1
    assert host.get().text == "page 2"
    answer = server.admin.post(f"/api/v1/apps/{host.app_id}/frontend/rollback", json={"version": 1})
    assert answer.status_code == 200
    assert host.get().text == SITE["index.html"], "the database has it"
