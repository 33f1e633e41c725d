"""Large bodies and replies: the memory that they took goes back to the system."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.faults.support import Site, no_traceback
from tests.plugins.workers.support import targz
from tests.waiting import eventually

pytestmark = pytest.mark.slow


def resident(pid: int, line: str = "VmRSS") -> int:
    """The resident memory of a process in MB, or its peak."""
    found = re.search(rf"{line}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) // 1024


def test_memory_goes_back_after_large_bodies_and_replies(site: Site) -> None:
    fields = [{"name": "name", "type": "text"}, {"name": "more", "type": "json"}]
    wide = msgspec.json.encode([{"name": "x" * 14_000}] * 1000)
    many = msgspec.json.encode([{"more": [{"a": n, "b": str(n)} for n in range(300)]}] * 1000)
    with site.serve() as server, ThreadPoolExecutor(6) as pool:
        user = site.user(server)
        app = user.install(entities=[{"entityName": "rows", "fields": fields}])
        path = f"/api/v1/apps/{app}/collections/rows"
        json = {"content-type": "application/json"}

        def work(number: int) -> int:
            if number % 3 == 2:
                return user.post(f"{path}/query", json={"limit": 1000}).status_code
            body = many if number % 3 else wide
            return user.post(f"{path}/bulk", content=body, headers=json).status_code

        for _ in range(3):
            assert set(pool.map(work, range(12))) <= {200, 201, 400, 503}
        pid = server.process.pid
        eventually(lambda: resident(pid) <= 300, 10, lambda: resident(pid))
    no_traceback(server)


def test_an_archive_that_unpacks_to_large_files_costs_the_server_no_memory(site: Site) -> None:
    """117 kB in an archive: 120 MB of a file that a deploy parses or compares."""
    large = b" " * 120_000_000
    package = b'{"dependencies": {"none": "1.0.0"}}'
    archives = [
        targz({"worker.py": "", "requirements.txt": large}),
        targz({"index.js": "", "package.json": large}),
        targz({"index.js": "", "package.json": package, "package-lock.json": large}),
    ]
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        pid = server.process.pid
        before = resident(pid)
        for archive in archives:
            # Set to the memory of this moment; the peak of what follows is what counts.
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            form = {"archive": ("worker.tar.gz", archive, "application/gzip")}
            answer = user.post(f"/api/v1/apps/{app}/deploy", files=form)
            assert answer.status_code == 400, answer.text
            assert resident(pid, "VmHWM") < before + 60
    no_traceback(server)


def test_a_file_with_very_many_values_costs_the_server_little_memory(site: Site) -> None:
    """48 MB in a line of brackets took 1.3 GB; a header took as many texts as it had names."""
    fields = [{"name": "name", "type": "text"}, {"name": "more", "type": "json"}]
    brackets, cells = b"[" + b"[]," * 15_900_000 + b"0]", b"a," * 24_000_000
    files = [
        (b'{"more": ' + brackets + b"}", "application/x-ndjson"),
        (b'more\n"' + brackets + b'"\n', "text/csv"),
        (cells, "text/csv"),
        (b"name\n" + cells, "text/csv"),
    ]
    with site.serve() as server:
        user = site.user(server)
        app = user.install(entities=[{"entityName": "rows", "fields": fields}])
        path = f"/api/v1/apps/{app}/collections/rows/import"
        pid = server.process.pid
        before = resident(pid)
        for content, kind in files:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            answer = user.post(path, content=content, headers={"content-type": kind})
            assert answer.status_code == 400 or answer.json()["errors"], answer.text
            # The body is on disk; a line of it is in memory as bytes or text, with a copy or two.
            assert resident(pid, "VmHWM") < before + 300
    no_traceback(server)


def test_a_gigabyte_that_is_sent_and_read_costs_the_server_no_memory(site: Site) -> None:
    size = 1_000_000_000
    piece = os.urandom(1_000_000)
    fields = [{"name": "contract", "type": "file", "maxSize": "1GB"}]
    with site.serve() as server:
        user = site.user(server)
        app = user.install(entities=[{"entityName": "tickets", "fields": fields}])
        files = f"/api/v1/apps/{app}/files"
        warm = user.post(files, content=piece).json()
        assert user.get(f"{files}/{warm['id']}").content == piece
        tickets = f"/api/v1/apps/{app}/collections/tickets"
        assert user.post(tickets, json={"contract": warm["id"]}).status_code == 201
        pid = server.process.pid
        before = resident(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        file = user.post(files, content=(piece for _ in range(size // len(piece)))).json()
        assert file["size"] == size, file
        assert resident(pid, "VmHWM") < before + 32

        Path(f"/proc/{pid}/clear_refs").write_text("5")
        received = 0
        with user.stream("GET", f"{files}/{file['id']}") as answer:
            for part in answer.iter_raw():
                received += len(part)
        assert received == size
        assert resident(pid, "VmHWM") < before + 32
    no_traceback(server)
