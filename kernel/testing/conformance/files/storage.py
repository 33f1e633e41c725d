"""The promises of STORAGE."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import anyio
import pytest

from kernel.contracts.files.storage import STORAGE, Blob, Storage, StoredBlob
from kernel.errors import NotFound, TooLarge, Unavailable
from kernel.testing import Server
from kernel.testing.conformance.kit import Conformance

T = TypeVar("T")
MB = 2**20
LIMIT = 100 * MB
HOSTILE = [
    "", ".", "..", "../../etc/passwd", "/etc/passwd", "incoming", "incoming/x", "%2e%2e", "\0", "*",
    "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", f"aa/{'a' * 64}", f"../{'a' * 61}",
]  # fmt: skip
MISSING = "0" * 64
SIZES = [0, 1, 65_537, MB, 5 * MB, 12 * MB + 1]


class StorageConformance(Conformance):
    """Contents: whole under their hash or not there, each once."""

    key = STORAGE

    @pytest.fixture
    def store(self, server: Server) -> Store:
        """The engine of the first server."""
        return Store(server)

    @pytest.fixture
    def there(self, second: Server) -> Store:
        """The engine of another process."""
        return Store(second)

    @pytest.mark.parametrize("size", SIZES)
    def test_content_comes_back_under_its_hash(self, store: Store, size: int) -> None:
        content = os.urandom(size)
        blob = store.write(content)
        assert blob == Blob(hashlib.sha256(content).hexdigest(), size)
        assert store.measure(blob.sha256) == size
        assert store.read(blob.sha256) == content

    def test_pieces_are_small_and_the_reader_knows_the_size(self, store: Store) -> None:
        blob = store.write(os.urandom(5 * MB))

        async def sizes(storage: Storage) -> tuple[int, list[int]]:
            reader = await storage.open_blob(blob.sha256, MB)
            return reader.size, [len(piece) async for piece in reader]

        size, pieces = store.ask(sizes)
        assert size == 5 * MB
        assert sum(pieces) == 4 * MB
        assert max(pieces) <= MB
        assert min(pieces) > 0

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (0, None), (0, 0), (0, 1), (5, 6), (7, 7), (9, 5), (100_000, 2_500_000),
            (2_999_999, None), (2_999_999, 9_000_000), (3_000_000, None), (9_000_000, None),
            (0, 9_000_000),
        ],
    )  # fmt: skip
    def test_a_range_is_what_a_slice_would_be(
        self, store: Store, start: int, end: int | None
    ) -> None:
        content = b"".join(number.to_bytes(4, "big") for number in range(750_000))
        sha256 = store.write(content).sha256
        assert store.read(sha256, start, end) == content[start:end]

    def test_content_up_to_the_limit_is_stored(self, store: Store) -> None:
        content = os.urandom(9 * MB)
        assert store.write(content, len(content)).size == len(content)

    @pytest.mark.parametrize("size", [MB, 9 * MB])
    def test_content_over_the_limit_is_refused_before_it_is_read_whole(
        self, store: Store, size: int
    ) -> None:
        content = os.urandom(size)
        read = list[int]()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, 20 * size, max(1, size // 8)):
                read.append(start)
                yield content[: max(1, size // 8)]

        with pytest.raises(TooLarge):
            store.ask(lambda storage: storage.write_blob(pieces(), size - 1))
        assert len(read) <= 10
        assert not store.is_listed(content)
        assert not store.is_listed(content[: size - 1])

    @pytest.mark.parametrize("size", [0, MB, 9 * MB])
    def test_what_the_pieces_raise_is_raised_and_nothing_is_stored(
        self, store: Store, size: int
    ) -> None:
        content = os.urandom(size)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, size, MB):
                yield content[start : start + MB]
            raise Unavailable("the client has left")

        with pytest.raises(Unavailable, match="the client has left"):
            store.ask(lambda storage: storage.write_blob(pieces(), LIMIT))
        assert size == 0 or not store.is_listed(content)

    @pytest.mark.parametrize("size", [MB, 9 * MB])
    def test_a_writer_that_is_cancelled_leaves_nothing(self, store: Store, size: int) -> None:
        content = os.urandom(size)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, size, MB):
                yield content[start : start + MB]
            await anyio.sleep_forever()

        async def cancel(storage: Storage) -> None:
            with anyio.move_on_after(0.5):
                await storage.write_blob(pieces(), LIMIT)

        store.ask(cancel)
        assert not store.is_listed(content)

    def test_a_process_that_is_killed_while_it_writes_leaves_nothing(
        self, server: Server, store: Store
    ) -> None:
        before = set(store.list())
        options = {
            "config": self.configuration(),
            "dsn": server.dsn,
            "data_dir": str(server.kernel.config.data_dir),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "kernel.testing.conformance.files.writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(options).encode())
            process.stdin.close()
            try:
                assert any(b"9 MB are written" in line for line in process.stdout)
            finally:
                process.send_signal(signal.SIGKILL)
        assert set(store.list()) == before
        assert store.measure(hashlib.sha256(bytes(9 * MB)).hexdigest()) is None

    def test_equal_content_is_stored_once(self, store: Store, there: Store) -> None:
        content = os.urandom(2 * MB)
        with ThreadPoolExecutor(6) as pool:
            stores = [store, there] * 3
            blobs = list(pool.map(Store.write, stores, [content] * 6))
        assert len(set(blobs)) == 1
        assert [blob.sha256 for blob in store.list()].count(blobs[0].sha256) == 1
        assert there.read(blobs[0].sha256) == content

    def test_many_writers_at_once_do_not_mix(self, store: Store) -> None:
        contents = [os.urandom(MB + number) for number in range(16)]
        with ThreadPoolExecutor(16) as pool:
            blobs = list(pool.map(store.write, contents))
        assert [store.read(blob.sha256) for blob in blobs] == contents

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        assert store.measure(MISSING) is None
        with pytest.raises(NotFound):
            store.read(MISSING)
        store.delete(MISSING)

    @pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
    def test_what_is_no_hash_is_never_looked_for(self, store: Store, name: str) -> None:
        assert store.measure(name) is None
        with pytest.raises(NotFound):
            store.read(name)
        store.delete(name)
        store.check()

    def test_what_is_deleted_is_gone_until_it_is_written_again(
        self, store: Store, there: Store
    ) -> None:
        content = os.urandom(MB)
        sha256 = store.write(content).sha256
        there.delete(sha256)
        assert store.measure(sha256) is None
        with pytest.raises(NotFound):
            store.read(sha256)
        assert not store.is_listed(content)
        store.delete(sha256)
        assert store.write(content).sha256 == sha256
        assert there.read(sha256) == content

    def test_a_reader_never_gets_anything_else_when_the_blob_is_deleted(self, store: Store) -> None:
        content = os.urandom(8 * MB)
        sha256 = store.write(content).sha256
        received = bytearray()

        async def read(storage: Storage) -> None:
            async for piece in await storage.open_blob(sha256):
                received.extend(piece)
                await storage.delete_blob(sha256)

        try:
            store.ask(read)
        except Unavailable:
            assert received == content[: len(received)]
        else:
            assert received == content
        assert received

    def test_a_reader_can_be_closed_at_any_time(self, store: Store) -> None:
        sha256 = store.write(os.urandom(8 * MB)).sha256

        async def close(storage: Storage) -> list[bytes]:
            async with aclosing(await storage.open_blob(sha256)):
                pass  # nothing was read
            reader = await storage.open_blob(sha256)
            await anext(reader)
            await reader.aclose()
            await reader.aclose()
            return [piece async for piece in reader]

        assert store.ask(close) == []

    def test_a_listing_has_hash_size_and_time(self, store: Store) -> None:
        before = datetime.now(UTC) - timedelta(seconds=5)
        content = os.urandom(MB + 7)
        sha256 = store.write(content).sha256
        [listed] = [blob for blob in store.list() if blob.sha256 == sha256]
        assert listed.size == MB + 7
        assert before <= listed.modified_at <= datetime.now(UTC) + timedelta(seconds=5)

    def test_to_write_again_renews_the_time(self, store: Store) -> None:
        content = os.urandom(1000)
        first = store.find(store.write(content).sha256)
        anyio.run(anyio.sleep, 1.5)  # some engines know whole seconds only
        again = store.find(store.write(content).sha256)
        assert again.modified_at > first.modified_at

    def test_other_processes_see_what_is_written(self, store: Store, there: Store) -> None:
        content = os.urandom(6 * MB)
        sha256 = store.write(content).sha256
        assert there.measure(sha256) == 6 * MB
        assert there.read(sha256) == content
        assert there.is_listed(content)

    def test_the_store_is_well_and_says_where_it_is(self, store: Store) -> None:
        before = set(store.list())
        store.check()
        assert set(store.list()) == before
        assert store.location


class Store:
    """The engine of one server. Methods raise what the engine raises."""

    def __init__(self, server: Server) -> None:
        self._run = server.run
        self._engine = server.services.get(STORAGE)
        self.location = self._engine.location

    def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """Run an async function of the engine."""
        return self._run(question, self._engine)

    def write(self, content: bytes, limit: int = LIMIT) -> Blob:
        return self.ask(lambda engine: engine.write_blob(cut(content), limit))

    def measure(self, sha256: str) -> int | None:
        return self.ask(lambda engine: engine.measure_blob(sha256))

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> bytes:
        async def read(engine: Storage) -> bytes:
            reader = await engine.open_blob(sha256, start, end)
            return b"".join([piece async for piece in reader])

        return self.ask(read)

    def delete(self, sha256: str) -> None:
        self.ask(lambda engine: engine.delete_blob(sha256))

    def list(self) -> list[StoredBlob]:
        async def collect(engine: Storage) -> list[StoredBlob]:
            return [blob async for blob in engine.list_blobs()]

        return self.ask(collect)

    def find(self, sha256: str) -> StoredBlob:
        """Return a blob of the listing."""
        [blob] = [blob for blob in self.list() if blob.sha256 == sha256]
        return blob

    def is_listed(self, content: bytes) -> bool:
        """Whether the listing has this content."""
        sha256 = hashlib.sha256(content).hexdigest()
        return any(blob.sha256 == sha256 for blob in self.list())

    def check(self) -> None:
        self.ask(lambda engine: engine.check())


async def cut(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Yield content in pieces, as a body comes."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
