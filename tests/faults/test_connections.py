"""Many silent connections: the server still answers, and has descriptors for its own work."""

import resource
import socket
import sys
from contextlib import ExitStack

import httpx
import pytest

from tests.faults.support import Site, no_traceback, notes
from tests.kernel.processes import COMMAND, Served

pytestmark = pytest.mark.slow
LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024));"


@pytest.fixture(autouse=True)
def descriptors() -> None:
    """This process opens as many as it is about."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("too few descriptors for this test")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def test_silent_connections_do_not_keep_others_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"{LIMITED} os.execv(sys.argv[1], sys.argv[1:])"
    monkeypatch.setattr("tests.kernel.processes.COMMAND", [sys.executable, "-c", run, *COMMAND])
    with site.serve() as server, ExitStack() as stack:
        user = site.user(server)
        path = notes(user.install())
        place = (user.base_url.host, user.base_url.port or 0)
        answers = []
        for number in range(1500):
            stack.enter_context(socket.create_connection(place, timeout=10))
            if number % 50 == 0:
                answers.append(httpx.get(f"{server.url}/health", timeout=10).status_code)
        assert set(answers) == {200}
        assert user.post(path, json={"name": "x"}).status_code == 201
        assert "the oldest silent ones are closed" in server.err
        assert soft_limit(server) == 1024
        assert server.end()[0] == 0
    no_traceback(server)


def soft_limit(server: Served) -> int:
    return resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]
