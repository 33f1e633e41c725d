"""What a worker was sent is freed with the error of its answer, without the garbage collector."""

import http.client
import json
from urllib.parse import urlsplit

from kernel.testing import Server
from tests.garbage import large_in_cycles
from tests.plugins.workers.support import PYTHON, deployed

LARGE = 200_000


def test_the_parameters_of_a_failed_call_are_freed(workers: Server):
    app = deployed(workers, {"worker.py": PYTHON})
    headers = {"authorization": workers.admin.headers["authorization"]}
    params = {"text": "x" * LARGE}

    def send(method: str, status: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(workers.url).netloc)
        body = json.dumps({"method": method, "params": params})
        connection.request("POST", f"/api/v1/apps/{app}/rpc", body, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:0]) == (status, b"")
        connection.close()

    def work() -> None:
        for _ in range(2):
            send("fail", 500)
            send("nothing", 404)

    assert large_in_cycles(work, LARGE) == 0
