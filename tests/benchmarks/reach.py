"""API keys beside tokens, files beside Starlette alone, and the deploy of a frontend."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import httpx

from .figures import Case, Measured
from .load import request
from .peers.program import Peer
from .requests import COLLECTION, Http
from .stage import Stage

APP = "crm"
PAGE = b"<!doctype html><title>CRM</title><script type=module src=app.js></script>"
ASSETS = 5_000_000
"""Bytes of the frontend that is deployed, as those of a real product have."""
ASSET = "app.js"
ASSET_SIZE = 30_000
FILE_SIZE = 1_000_000_000
PIECE = 1 << 20
FIELD = {"entityName": "papers", "fields": [{"name": "scan", "type": "file", "maxSize": "1GB"}]}


def make_site() -> dict[str, bytes]:
    """Return the files of a frontend: a page, a script, and pictures that cannot be packed."""
    site = {"index.html": PAGE, ASSET: (b"const answer = 42;\n" * ASSET_SIZE)[:ASSET_SIZE]}
    for number in range(5):
        site[f"picture{number}.png"] = os.urandom(ASSETS // 5)
    return site


def pack(site: Mapping[str, bytes]) -> bytes:
    """Pack a frontend as `caudex app deploy` does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in site.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def deploy(stage: Stage, site: Mapping[str, bytes]) -> float:
    """Deploy a frontend; return the seconds until the app's host sends its first byte."""
    stage.sign_in()
    began = time.perf_counter()
    httpx.post(
        f"{stage.url}/api/v1/apps/{APP}/frontend",
        content=pack(site),
        headers={"authorization": f"Bearer {stage.token}", "content-type": "application/gzip"},
        timeout=60,
    ).raise_for_status()
    reply = httpx.get(stage.url + "/", headers={"host": host_of(stage)}, timeout=60)
    if reply.content != PAGE:
        raise RuntimeError(f"the page is not the one that was deployed: {reply.text[:200]}")
    return time.perf_counter() - began


def host_of(stage: Stage) -> str:
    """Return the header `Host` of the app's own host."""
    return f"{APP}.localhost:{stage.url.rpartition(':')[2]}"


class Transfers:
    """Files of a gigabyte, up and down."""

    def __init__(self, cases: Sequence[Case], ours: Sequence[Transfer]) -> None:
        self.cases = cases
        self._ours = ours

    @property
    def grown(self) -> float:
        """MB that the memory of the server grew by at most, in one of the transfers."""
        return max(transfer.grown for transfer in self._ours)


class Transfer:
    """A file of a gigabyte, sent once in each round; a rate is one of such files a second."""

    def __init__(self, name: str, server: Stage | Peer, transfer: Callable[[], None]) -> None:
        self.name = name
        self._server = server
        self._transfer = transfer
        self.grown = 0.0
        """MB that the memory of the server grew by at most, while a file was under way."""

    def measure(self, seconds: float) -> Measured:
        """Send the file once."""
        used = self._server.cpu()
        memory = self._server.memory()
        began = time.perf_counter()
        with ThreadPoolExecutor(1) as pool:
            transferred = pool.submit(self._transfer)
            while wait([transferred], timeout=0.1).not_done:
                self.grown = max(self.grown, self._server.memory() - memory)
            transferred.result()
        took = time.perf_counter() - began
        return Measured(rate=1 / took, server_cpu=self._server.cpu() - used, p50=took)


def keys(stage: Stage) -> Case:
    """A GET with an API key, beside one with a token."""
    stage.sign_in()
    key = stage.call("POST", "/api/v1/auth/keys", {"name": "bench"})["key"]
    [record] = stage.call("GET", f"{COLLECTION}?limit=1")
    path = f"{COLLECTION}/{record['id']}"

    def with_token() -> Sequence[bytes]:
        stage.sign_in()
        return [request("GET", stage.url, path, stage.token)]

    def with_key() -> Sequence[bytes]:
        return [request("GET", stage.url, path, key)]

    options = {"database": stage.database_cpu}
    ours = Http("with a key", stage, stage.url, with_key, **options)
    other = Http("with a token", stage, stage.url, with_token, **options)
    return Case("GET by id with a key", [ours], [other])


def transfers(stage: Stage, alone: Peer) -> Transfers:
    """A file up, and down."""
    stage.call(
        "POST", "/api/v1/apps", {"appId": "papers", "name": "Papers", "dataContract": [FIELD]}
    )
    files = f"{stage.url}/api/v1/apps/papers/files"
    uploaded = dict[str, str]()

    def upload() -> None:
        stage.sign_in()
        headers = {"authorization": f"Bearer {stage.token}"}
        if "id" in uploaded:  # a user may have few files that no record holds
            stage.call("DELETE", f"/api/v1/apps/papers/storage/{uploaded.pop('id')}")
        reply = httpx.post(
            f"{files}?name=scan.bin", content=_pieces(), headers=headers, timeout=600
        )
        uploaded["id"] = reply.raise_for_status().json()["id"]

    def download() -> None:
        headers = {"authorization": f"Bearer {stage.token}"}
        _read(f"{files}/{uploaded['id']}", headers)

    def upload_alone() -> None:
        httpx.post(f"{alone.url}/upload", content=_pieces(), timeout=600).raise_for_status()

    def download_alone() -> None:
        _read(f"{alone.url}/download", {})

    name = "Starlette, a stream to the disk"
    uploading = Transfer(stage.name, stage, upload)
    downloading = Transfer(stage.name, stage, download)
    cases = [
        Case("upload of 1 GB", [uploading], [Transfer(name, alone, upload_alone)]),
        Case("download of 1 GB", [downloading], [Transfer(name, alone, download_alone)]),
    ]
    return Transfers(cases, [uploading, downloading])


def _pieces() -> Iterator[bytes]:
    """Yield a gigabyte that no other upload has."""
    piece = os.urandom(PIECE)
    for _ in range(FILE_SIZE // PIECE):
        yield piece


def _read(url: str, headers: Mapping[str, str]) -> None:
    """Read a reply and forget it."""
    size = 0
    with httpx.stream("GET", url, headers=headers, timeout=600) as reply:
        reply.raise_for_status()
        for piece in reply.iter_raw(PIECE):
            size += len(piece)
    if size < FILE_SIZE // PIECE * PIECE:
        raise RuntimeError(f"only {size} bytes came from {url}")
