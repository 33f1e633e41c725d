"""Sites, archives and hosts to test with."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
from collections.abc import Mapping
from typing import Any

import httpx

from kernel.testing import Client, Server

_count = itertools.count(1)
PAGE = "<!doctype html><title>{name}</title><script src=/assets/index-DiwrgTda.js></script>"
SCRIPT = "document.title += ' works';\n" * 200
SITE: Mapping[str, str | bytes] = {
    "index.html": PAGE.format(name="one"),
    "assets/index-DiwrgTda.js": SCRIPT,
    "logo.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "notes.txt": "plain\n" * 400,
}


def tar(files: Mapping[str, str | bytes]) -> bytes:
    """A tar of plain files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def targz(files: Mapping[str, str | bytes]) -> bytes:
    """A tar.gz of plain files."""
    return gzip.compress(tar(files), 1)


def install(server: Server, app_id: str = "", **more: Any) -> str:
    """Install an app and return its id."""
    app_id = app_id or f"site{next(_count)}"
    server.install({"appId": app_id, "name": app_id, **more})
    return app_id


def deploy(client: Client, app_id: str, files: Mapping[str, str | bytes] | bytes) -> httpx.Response:
    """Deploy an archive as a form does."""
    archive = files if isinstance(files, bytes) else targz(files)
    form = {"archive": ("frontend.tar.gz", archive, "application/gzip")}
    return client.post(f"/api/v1/apps/{app_id}/frontend", files=form)


def deployed(server: Server, files: Mapping[str, str | bytes] = SITE, **more: Any) -> Host:
    """Install an app, deploy its frontend and return its host."""
    app_id = install(server, **more)
    answer = deploy(server.admin, app_id, files)
    assert answer.status_code == 200, answer.text
    return Host(server, app_id)


class Host:
    """The host of an app, as a browser asks it."""

    def __init__(self, server: Server, app_id: str, domain: str = "localhost") -> None:
        self.server = server
        self.app_id = app_id
        port = server.url.rpartition(":")[2]
        self.name = f"{app_id.replace('_', '-')}.{domain}:{port}"

    def request(self, method: str, path: str, **headers: str) -> httpx.Response:
        """Send a request to the host; `if_none_match="…"` is a header."""
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        self.server.http.cookies.clear()
        return self.server.http.request(method, path, headers={"host": self.name, **names})

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        """Send a GET without an encoding unless one is asked for."""
        return self.request("GET", path, **{"accept_encoding": "identity", **headers})
