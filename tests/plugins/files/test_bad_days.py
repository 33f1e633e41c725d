"""A store that is full or away, quotas, and uploads and sweeps at one moment."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from kernel.public import STATEMENTS, STORAGE, server_actor
from kernel.testing import running_server
from plugins.files import store
from plugins.files.keeping.sweep import SWEEP

from .support import (
    CONTRACT,
    FILES,
    PDF,
    SCANS,
    TICKETS,
    BrokenStore,
    create,
    manifest,
    refused,
    upload,
)


@pytest.fixture(scope="module")
def server(postgres):
    limits = {"max_size": 100_000, "pending": 150_000, "pending_files": 5}
    config = {"plugins": {"files": {**limits, "url": "https://files.example.org"}}}
    with running_server(postgres, config, plugins=[BrokenStore]) as running:
        running.install(manifest(CONTRACT, SCANS))
        yield running


@pytest.fixture
def admin(server):
    server.sql("truncate desk.tickets")
    server.sql("delete from caudex_files.files")
    yield server.admin
    BrokenStore.problem = ""


@pytest.mark.parametrize("problem", ["the store is full", "the store does not answer"])
def test_a_store_that_is_full_or_away_leaves_nothing_half_done(server, admin, problem):
    file = upload(admin)
    ticket = create(admin, contract=file["id"])
    BrokenStore.problem = problem
    refused(admin.post(FILES, content=b"new"), 503, problem)
    refused(admin.get(f"{FILES}/{file['id']}"), 503, problem)
    assert server.sql("select count(*) from caudex_files.files") == [(1,)]
    assert admin.get(f"{TICKETS}/{ticket['id']}").json() == ticket
    assert admin.patch(f"{TICKETS}/{ticket['id']}", json={"title": "x"}).status_code == 200
    BrokenStore.problem = ""
    assert admin.get(f"{FILES}/{file['id']}").content == PDF
    assert admin.post(FILES, content=b"new").status_code == 201


def test_a_file_has_a_largest_size_whatever_its_head_says(server, admin):
    refused(admin.post(FILES, content=bytes(100_001)), 413, "100000")
    refused(admin.post(FILES, content=iter([bytes(60_000)] * 2)), 413, "100000")
    assert admin.post(FILES, content=bytes(100_000)).status_code == 201
    assert server.sql("select count(*) from caudex_files.files") == [(1,)]


def test_what_no_record_keeps_is_bounded_for_each_user(server, admin):
    for number in range(5):
        upload(admin, b"%d" % number)
    answer = admin.post(FILES, content=b"one more")
    refused(answer, 429, "5 files")
    assert 86_000 < int(answer.headers["retry-after"]) <= 86_400
    other = server.user(permissions={"desk": ["tickets.create"]})
    kept = [upload(other, bytes(70_000) + b"%d" % number) for number in range(2)]
    refused(other.post(FILES, content=bytes(20_000)), 429, "140002 bytes")
    create(other, contract=kept[0]["id"])
    assert other.post(FILES, content=bytes(20_000)).status_code == 201
    [(count,)] = server.sql("select count(*) from caudex_files.files")
    assert count == 8


def test_uploads_at_one_moment_count_each_other(server, admin):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: admin.post(FILES, content=b"%d" % n), range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 7


def test_a_write_that_holds_a_file_keeps_the_sweep_from_it(server, admin):
    file = upload(admin)
    server.sql("update caudex_files.files set created_at = now() - interval '25 hours'")

    async def hold_and_sweep(tx):
        row = {"title": "x", "contract": file["id"]}
        query = "insert into desk.tickets (title, contract) values ($1::text, $2::uuid)"
        await tx.execute(query, row["title"], row["contract"])
        assert await store.find_any(tx, file["id"]) is not None
        await server.services.get(SWEEP).run(0.0)

    statements = server.services.get(STATEMENTS)
    server.run(lambda: statements.run(server_actor(), hold_and_sweep, quick=False))
    assert admin.get(f"{FILES}/{file['id']}").content == PDF


def test_a_sweep_that_holds_a_file_makes_a_write_wait_and_refuses_it(server, admin):
    file = upload(admin)
    server.sql("update caudex_files.files set created_at = now() - interval '25 hours'")
    statements = server.services.get(STATEMENTS)
    locked = threading.Event()
    waits = threading.Event()

    async def sweep(tx):
        ids = await store.lock_unheld(tx, 10)
        assert ids == [file["id"]]
        locked.set()
        await anyio.to_thread.run_sync(waits.wait)
        return await store.delete_unheld(tx, ids)

    with ThreadPoolExecutor(2) as threads:
        swept = threads.submit(
            server.run, lambda: statements.run(server_actor(), sweep, quick=False)
        )
        locked.wait()
        body = {"title": "x", "contract": file["id"]}
        answer = threads.submit(admin.post, TICKETS, json=body)
        while not server.sql("select 1 from pg_locks where not granted"):
            assert not answer.done()
        waits.set()
        assert swept.result() == 1
        refused(answer.result(), 400, "no such file")


def test_a_content_that_is_sent_again_while_it_is_swept_is_kept(server, admin):
    file = upload(admin, b"again")
    server.sql("delete from caudex_files.files")
    sweep = server.services.get(SWEEP)
    server.run(lambda: sweep.run(3600.0))
    [(unused,)] = server.sql(
        "select unused_since is not null from caudex_files.blobs where sha256 = %s", file["sha256"]
    )
    assert unused
    again = upload(admin, b"again")
    server.run(lambda: sweep.run(0.0))
    assert admin.get(f"{FILES}/{again['id']}").content == b"again"


def test_contents_of_uploads_that_were_cut_off_are_found_and_deleted(server, admin):
    async def pieces():
        yield b"cut off before the tables knew of it"

    storage = server.services.get(STORAGE)
    blob = server.run(lambda: storage.write_blob(pieces(), 1000))
    sweep = server.services.get(SWEEP)
    server.run(sweep.note_orphans)
    assert not server.sql("select 1 from caudex_files.blobs where sha256 = %s", blob.sha256)
    path = server.kernel.config.data_dir / "files" / blob.sha256[:2] / blob.sha256
    os.utime(path, (0, 0))
    server.run(sweep.note_orphans)
    server.run(lambda: sweep.run(0.0))
    assert server.run(lambda: storage.measure_blob(blob.sha256)) is None


def test_links_begin_with_the_configured_address(server, admin):
    file = upload(admin)
    url = admin.post(f"{FILES}/{file['id']}/link", json={}).json()["url"]
    assert url.startswith(f"https://files.example.org{FILES}/{file['id']}/link?token=")
    assert server.http.get(url.removeprefix("https://files.example.org")).content == PDF
