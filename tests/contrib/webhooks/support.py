"""Receivers in processes of their own, and servers with the plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel.testing import Server
from tests.waiting import eventually

CONFIG: dict[str, Any] = {"plugins": {"webhooks": {}}}
DEALS = {
    "appId": "crm", "name": "CRM",
    "dataContract": [
        {"entityName": "deals", "fields": [
            {"name": "title", "type": "text"},
            {"name": "stage", "type": "text"},
            {"name": "value", "type": "number"},
        ]},
    ],
}  # fmt: skip


class Receiver:
    """A process that receives."""

    def __init__(self, file: Path, port: int = 0) -> None:
        self.file = file
        self.port = port
        self.process: subprocess.Popen[str] | None = None
        self._lines: list[dict[str, Any]] = []
        self._read = 0
        """Bytes of the file that are in the lines."""

    def start(self) -> None:
        """Start it, at the same port as before."""
        script = Path(__file__).with_name("receiver.py")
        command = [sys.executable, str(script), str(self.file), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, mode: str, path: str = "") -> None:
        """Answer this from now on: a status, or a word of `receiver.py`."""
        Path(f"{self.file}.mode{path.replace('/', '.')}").write_text(mode)

    def received(self, path: str | None = None) -> list[dict[str, Any]]:
        """Return what it has received, oldest first; a line that is being written is left out."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            self._lines += [json.loads(line) for line in whole.splitlines()]
        return [line for line in self._lines if path is None or line["path"] == path]

    def bodies(self, path: str | None = None) -> list[dict[str, Any]]:
        return [json.loads(line["body"]) for line in self.received(path)]

    def wait(self, count: int, path: str | None = None, seconds: float = 20) -> list[Any]:
        """Wait for so many requests, and return their bodies."""
        eventually(lambda: len(self.received(path)) >= count, seconds)
        return self.bodies(path)


@contextmanager
def receiving(folder: Path) -> Generator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(folder / "received.ndjson")
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def path(app: str, *parts: str) -> str:
    return "/".join([f"/api/v1/apps/{app}/webhooks", *parts])


def make_hook(server: Server, app: str, url: str, **values: Any) -> dict[str, Any]:
    """Make a webhook of all deals and return it with its secret."""
    body = {"name": "all deals", "url": url, "entity": "deals", **values}
    answer = server.admin.post(path(app), json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def show_hook(server: Server, app: str, hook_id: str) -> dict[str, Any]:
    answer = server.admin.get(path(app, hook_id))
    assert answer.status_code == 200, answer.text
    return answer.json()


def deliveries(server: Server, app: str, hook_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = server.admin.get(path(app, hook_id, "deliveries"), params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(server: Server, app: str, hook_id: str) -> list[str]:
    """States of the deliveries, oldest first."""
    return [delivery["state"] for delivery in reversed(deliveries(server, app, hook_id))]


def retry(server: Server, app: str, hook_id: str, delivery: str) -> dict[str, Any]:
    answer = server.admin.post(path(app, hook_id, "deliveries", delivery, "retry"))
    assert answer.status_code == 200, answer.text
    return answer.json()


COLLECTION = "/api/v1/apps/crm/collections/deals"


def create(server: Server, **values: Any) -> dict[str, Any]:
    """Create a deal."""
    answer = server.admin.post(COLLECTION, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def update(server: Server, deal: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = server.admin.patch(f"{COLLECTION}/{deal['id']}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def drop(server: Server, deal: dict[str, Any]) -> None:
    answer = server.admin.delete(f"{COLLECTION}/{deal['id']}")
    assert answer.status_code == 200, answer.text
