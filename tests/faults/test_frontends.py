"""kill -9 during deploys of a frontend leaves one version, whole, on every start."""

import itertools
import threading
from contextlib import suppress

import httpx
import pytest

from kernel.testing import Client
from tests.faults.support import ROUNDS, Site, in_background, pause
from tests.plugins.frontends.support import targz

pytestmark = pytest.mark.slow

SCRIPT = "assets/index-DiwrgTda.js"


def site_of(number: int) -> bytes:
    """A site whose files all name their version."""
    script = f"version {number};\n" * 30_000
    return targz({"index.html": f"version {number}", SCRIPT: script})


def test_a_server_that_is_killed_during_deploys_keeps_a_whole_version(site: Site) -> None:
    acknowledged = 0
    numbers = itertools.count(1)
    app_id = ""
    for _ in range(6 * ROUNDS):
        with site.serve() as server:
            user = site.user(server)
            app_id = app_id or user.install()
            path = f"{server.url}/api/v1/apps/{app_id}/frontend"
            headers = {**user.headers, "content-type": "application/gzip"}

            def deploy(
                stop: threading.Event, path: str = path, headers: dict[str, str] = headers
            ) -> None:
                nonlocal acknowledged
                with Client(timeout=60, headers=headers) as client, suppress(httpx.TransportError):
                    while not stop.is_set():
                        number = next(numbers)
                        answer = client.post(path, content=site_of(number))
                        if answer.status_code == 200:
                            acknowledged = number

            with in_background(deploy):
                pause(0.3, 1.5)
                server.process.kill()
                server.process.wait()

        with site.serve() as server:
            check(server.url, app_id, acknowledged)


def check(url: str, app_id: str, acknowledged: int) -> None:
    """See that what is in service is whole, and no older than what was acknowledged."""
    host = {"host": f"{app_id}.localhost", "accept-encoding": "gzip"}
    with Client(base_url=url, timeout=60) as client:
        page = client.get("/", headers=host)
        if page.status_code == 404:
            assert not acknowledged
            return
        number = int(page.text.removeprefix("version "))
        assert number >= acknowledged
        script = client.get(f"/{SCRIPT}", headers=host).text
        assert script == f"version {number};\n" * 30_000
