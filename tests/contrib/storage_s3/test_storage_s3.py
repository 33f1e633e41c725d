"""What a bucket is good for and must survive: away, hanging, wrong keys, killed writers."""

import os
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

from contrib.storage_s3 import service
from contrib.storage_s3.bucket import Bucket
from contrib.storage_s3.config import StorageS3Config
from kernel.public import STORAGE, BlobFiles, BootError, Unavailable, hookspecs, supports
from kernel.testing import running_server
from kernel.testing.conformance.kit import eventually

READY = "/health/ready"


def chosen(bucket, /, **more):
    return {"services": {"storage": "storage_s3"}, "plugins": {"storage_s3": {**bucket, **more}}}


async def cut(content, size=100_000):
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture
def server(postgres, bucket):
    with running_server(postgres, chosen(bucket)) as running:
        yield running


@contextmanager
def hanging():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = []

        def accept():
            try:
                while True:
                    connections.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in connections:
                connection.close()


def asked(storage):
    """Every question that reaches the store."""
    return [
        storage.check,
        lambda: storage.measure_blob("0" * 64),
        lambda: storage.open_blob("0" * 64),
        lambda: storage.delete_blob("0" * 64),
        lambda: storage.write_blob(cut(b"small"), 100),
        lambda: storage.write_blob(cut(bytes(12 * 2**20)), 2**30),
    ]


@pytest.mark.slow
def test_a_store_that_is_away_does_not_keep_a_server_from_starting(postgres, bucket, monkeypatch):
    monkeypatch.setattr("contrib.storage_s3.WATCH_SECONDS", 0.2)
    settings = chosen(bucket, endpoint="http://127.0.0.1:1", timeout=1)
    with running_server(postgres, settings) as server:
        storage = server.services.get(STORAGE)
        for ask in asked(storage):
            with pytest.raises(Unavailable, match="cannot be reached"):
                server.run(ask)
        eventually(lambda: "The file store cannot be reached." in server.http.get(READY).text)
        assert server.http.get(READY).status_code == 200


@pytest.mark.slow
def test_a_store_that_hangs_is_given_up_in_time(postgres, bucket):
    with hanging() as url:
        settings = chosen(bucket, endpoint=url, timeout=0.3)
        with running_server(postgres, settings) as server:
            storage = server.services.get(STORAGE)
            for ask in asked(storage):
                with pytest.raises(Unavailable):
                    server.run(ask)


def test_a_bucket_that_is_missing_is_said(postgres, bucket):
    with running_server(postgres, chosen(bucket, bucket="nothere")) as server:
        storage = server.services.get(STORAGE)
        for ask in (storage.check, *asked(storage)[-2:]):
            with pytest.raises(Unavailable, match=r"is missing|credentials"):
                server.run(ask)


def test_what_a_killed_writer_left_is_swept_after_a_day(server, bucket, monkeypatch):
    storage = server.services.get(STORAGE)
    objects = Bucket(StorageS3Config(**bucket))

    async def incoming():
        return [item.key async for item in objects.list("incoming")]

    server.run(lambda: objects.put("incoming/left", b"half"))
    server.run(storage.sweep)
    assert any(key.endswith("left") for key in server.run(incoming))
    monkeypatch.setattr(service, "ABANDONED", timedelta(seconds=-5))
    server.run(storage.sweep)
    assert not any(key.endswith("left") for key in server.run(incoming))


def test_large_content_leaves_nothing_aside(server, bucket):
    storage = server.services.get(STORAGE)
    objects = Bucket(StorageS3Config(**bucket))

    async def incoming():
        return [item.key async for item in objects.list("incoming")]

    server.run(lambda: storage.write_blob(cut(os.urandom(11 * 2**20)), 2**30))
    assert [key for key in server.run(incoming) if not key.endswith("check")] == []


def test_the_secret_is_neither_shown_nor_left_in_the_environment(postgres, bucket, monkeypatch):
    name = "CAUDEX_PLUGINS__STORAGE_S3__SECRET_ACCESS_KEY"
    monkeypatch.setenv(name, "hidden")
    with running_server(postgres, chosen(bucket)) as server:
        assert name not in os.environ
        storage = server.services.get(STORAGE)
        assert bucket["bucket"] in storage.location
        assert bucket["secret_access_key"] not in storage.location.rpartition("/")[2]
        assert not supports(storage, BlobFiles)


def test_doctor_says_where_files_are_and_what_is_wrong(postgres, bucket):
    with running_server(postgres, chosen(bucket)) as server:
        [ok] = findings(server)
        assert (ok.state, bucket["bucket"] in ok.text) == ("ok", True)
    settings = chosen(bucket, endpoint="http://127.0.0.1:1", timeout=1)
    with running_server(postgres, settings) as server:
        [failed] = findings(server)
        assert (failed.state, "cannot be reached" in failed.text) == ("fail", True)


def findings(server):
    collected = server.kernel.bus.collect(hookspecs.diagnose, query=lambda *_: None)
    return [found for _, of_plugin in collected for found in of_plugin if found.name == "files"]


def test_two_stores_need_a_choice(postgres, bucket):
    with (
        pytest.raises(BootError, match="set storage = "),
        running_server(postgres, {"plugins": {"storage_s3": bucket}}),
    ):
        pass
