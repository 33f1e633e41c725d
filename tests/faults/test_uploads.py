"""kill -9 of the server during uploads leaves whole files and no half one."""

import hashlib
import os
import threading
from contextlib import ExitStack, suppress
from functools import partial

import httpx
import pytest

from kernel.testing import Client
from tests.faults.support import ROUNDS, Site, in_background, pause
from tests.faults.test_kill import kill
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ENTITY = {"entityName": "docs", "fields": [{"name": "file", "type": "file", "maxSize": "1GB"}]}
SIZE = 30_000_000


class Uploader:
    """Uploads large files, and remembers which were acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        """The hash of each by the id."""

    def send(self, path: str, headers: dict[str, str], stop: threading.Event) -> None:
        """Upload until the server goes away."""
        with Client(timeout=60, headers=headers) as client, suppress(httpx.TransportError):
            while not stop.is_set():
                content = os.urandom(1000) + bytes(SIZE)
                answer = client.post(path, content=content)
                assert answer.status_code in (201, 400, 503), answer.text
                if answer.status_code == 201:
                    sha256 = hashlib.sha256(content).hexdigest()
                    self.acknowledged[answer.json()["id"]] = sha256


def test_a_server_that_is_killed_during_uploads_keeps_whole_files_and_no_half_one(
    site: Site,
) -> None:
    root = site.folder / "data" / "files"
    uploader = Uploader()
    app_id = ""
    for _ in range(3 * ROUNDS):
        with site.serve() as server:
            # What the killed server left is swept by this start.
            assert not list((root / "incoming").iterdir())
            user = site.user(server)
            app_id = app_id or user.install(entities=[ENTITY])
            path = f"{server.url}/api/v1/apps/{app_id}/files"
            with ExitStack() as stack:
                for _ in range(3):
                    send = partial(uploader.send, path, dict(user.headers))
                    stack.enter_context(in_background(send))
                eventually(lambda: list((root / "incoming").iterdir()), 30, "no upload began")
                pause(0, 0.5)
                kill(server)
    for part in root.glob("[0-9a-f][0-9a-f]"):
        for file in part.iterdir():
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
    with site.serve() as server:
        assert not list((root / "incoming").iterdir())
        user = site.user(server)
        for file_id, sha256 in uploader.acknowledged.items():
            answer = user.get(f"{server.url}/api/v1/apps/{app_id}/files/{file_id}")
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() == sha256
