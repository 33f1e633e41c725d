"""What a folder of blobs does beyond its contract: its files, its leftovers, its bounds."""

import fcntl
import hashlib
import os
import stat
import threading

import pytest

from kernel.public import (
    STORAGE,
    BootError,
    NotFound,
    TooLarge,
    Unavailable,
    check_blob,
    check_blobs,
)
from kernel.testing import running_server
from kernel.testing.conformance.kit import eventually
from plugins.storage.diagnosis import examine_folder
from plugins.storage.folder import BlobFolder

READY = "/health/ready"


async def pieces(*parts):
    for part in parts:
        yield part


async def read(storage, sha256, *span):
    reader = await storage.open_blob(sha256, *span)
    return b"".join([piece async for piece in reader])


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {}) as running:
        yield running


@pytest.fixture
def storage(server):
    return server.services.get(STORAGE)


@pytest.fixture
def root(server):
    return server.kernel.config.data_dir / "files"


def write(server, storage, content, limit=10_000_000):
    return server.run(lambda: storage.write_blob(pieces(content), limit))


def incoming(root):
    return list((root / "incoming").iterdir())


def test_a_blob_is_a_file_under_its_hash_for_the_owner_only(server, storage, root):
    content = b"x" * 3_000_000
    blob = write(server, storage, content)
    assert blob.sha256 == hashlib.sha256(content).hexdigest()
    assert blob.size == 3_000_000
    path = root / blob.sha256[:2] / blob.sha256
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert server.run(lambda: read(storage, blob.sha256, 5, 9)) == b"xxxx"
    assert not incoming(root)


def test_content_over_the_limit_leaves_nothing(server, storage, root):
    with pytest.raises(TooLarge):
        write(server, storage, b"y" * 3_000_000, 2_999_999)
    sha256 = hashlib.sha256(b"y" * 2_999_999).hexdigest()
    with pytest.raises(NotFound):
        server.run(lambda: read(storage, sha256))


def test_a_start_deletes_what_a_killed_writer_left_and_no_file_of_a_live_one(tmp_path):
    folder = BlobFolder(tmp_path, 0)
    folder.prepare()
    dead, dead_path = folder.create()
    os.close(dead)
    live, live_path = folder.create()
    folder.prepare()
    assert incoming(tmp_path) == [live_path]
    assert not dead_path.exists()
    with pytest.raises(BlockingIOError), live_path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(live)


def test_damaged_content_heals_when_it_is_written_again(server, storage, root):
    blob = write(server, storage, b"precious")
    path = root / blob.sha256[:2] / blob.sha256
    path.write_bytes(b"damaged!")
    assert write(server, storage, b"precious") == blob
    assert path.read_bytes() == b"precious"


def test_a_disk_without_the_reserve_is_full(postgres, tmp_path):
    settings = {"plugins": {"storage": {"min_free_mb": 1_073_741_824, "folder": str(tmp_path)}}}
    with running_server(postgres, settings) as server:
        storage = server.services.get(STORAGE)
        with pytest.raises(Unavailable, match="full"):
            write(server, storage, b"content")
        with pytest.raises(Unavailable, match="full"):
            server.run(storage.check)
        assert not incoming(tmp_path)


def test_a_folder_that_is_gone_is_said_and_its_blobs_are_not_missing(postgres, tmp_path):
    folder = tmp_path / "store"
    with running_server(postgres, {"plugins": {"storage": {"folder": str(folder)}}}) as server:
        storage = server.services.get(STORAGE)
        blob = write(server, storage, b"content")
        folder.rename(tmp_path / "elsewhere")
        for ask in (
            lambda: storage.measure_blob(blob.sha256),
            lambda: storage.open_blob(blob.sha256),
            lambda: storage.delete_blob(blob.sha256),
            lambda: storage.write_blob(pieces(b"other"), 10),
            storage.check,
        ):
            with pytest.raises(Unavailable):
                server.run(ask)
        (tmp_path / "elsewhere").rename(folder)
        assert server.run(lambda: read(storage, blob.sha256)) == b"content"


def test_a_store_with_a_problem_is_in_the_health_until_it_is_well(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.storage.WATCH_SECONDS", 0.2)
    folder = tmp_path / "store"
    with running_server(postgres, {"plugins": {"storage": {"folder": str(folder)}}}) as server:
        folder.rename(tmp_path / "elsewhere")
        eventually(lambda: "The file store cannot be reached." in server.http.get(READY).text)
        assert server.http.get(READY).status_code == 200
        status = server.admin.get("/api/v1/status").json()
        assert status["storage"]["state"] == "Error", status
        (tmp_path / "elsewhere").rename(folder)
        eventually(lambda: "file store" not in server.http.get(READY).text)


def test_doctor_says_where_files_are_and_what_is_wrong(tmp_path):
    folder = BlobFolder(tmp_path / "files", 0)
    assert "first start" in examine_folder(folder).text
    folder.prepare()
    assert examine_folder(folder).state == "ok"
    assert str(tmp_path) in examine_folder(folder).text
    full = BlobFolder(tmp_path / "files", 2**62)
    assert (examine_folder(full).state, "full" in examine_folder(full).text) == ("fail", True)
    (tmp_path / "files" / "incoming").rmdir()
    assert "cannot be written" in examine_folder(folder).text


def test_a_disk_that_hangs_fails_its_requests_in_time_and_nothing_else(postgres, monkeypatch):
    settings = {"plugins": {"storage": {"timeout": 0.5}}}
    with running_server(postgres, settings) as server:
        storage = server.services.get(STORAGE)
        blob = write(server, storage, b"content")
        hangs = threading.Event()
        monkeypatch.setattr(BlobFolder, "measure", lambda *_: hangs.wait(60))
        with pytest.raises(Unavailable, match="does not answer"):
            server.run(lambda: storage.measure_blob(blob.sha256))
        assert server.run(lambda: read(storage, blob.sha256)) == b"content"
        hangs.set()


def test_damaged_blobs_are_found(server, storage, root):
    good = write(server, storage, b"as it was")
    bad = write(server, storage, b"to be damaged")
    (root / bad.sha256[:2] / bad.sha256).write_bytes(b"as the disk has it")

    async def collect():
        return {blob.sha256: blob.is_intact async for blob in check_blobs(storage)}

    found = server.run(collect)
    assert (found[good.sha256], found[bad.sha256]) == (True, False)
    assert server.run(lambda: check_blob(storage, "0" * 64)) is None
    server.run(lambda: storage.delete_blob(bad.sha256))


def test_a_file_that_is_cut_off_while_it_is_read_is_no_end(server, storage, root):
    blob = write(server, storage, b"z" * 1_000_000)

    async def read_and_cut():
        reader = await storage.open_blob(blob.sha256)
        await anext(reader)
        os.truncate(root / blob.sha256[:2] / blob.sha256, 300_000)
        async for _ in reader:
            pass

    with pytest.raises(Unavailable, match="cut off"):
        server.run(read_and_cut)
    server.run(lambda: storage.delete_blob(blob.sha256))


def test_a_folder_that_cannot_be_made_keeps_the_server_from_starting(postgres, tmp_path):
    (tmp_path / "file").write_text("")
    settings = {"plugins": {"storage": {"folder": str(tmp_path / "file" / "below")}}}
    with pytest.raises(BootError, match="folder of files"), running_server(postgres, settings):
        pass
