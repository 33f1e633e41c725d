"""A real S3 server: that of moto in a process, or another one that the environment names.

`make test-s3` runs these tests against the server in CAUDEX_TEST_S3_ENDPOINT, with the bucket
CAUDEX_TEST_S3_BUCKET and the keys CAUDEX_TEST_S3_ACCESS_KEY_ID and
CAUDEX_TEST_S3_SECRET_ACCESS_KEY.
"""

import os
import secrets
import socket
import subprocess
import sys

import httpx
import pytest

from tests.waiting import eventually

GIVEN = "CAUDEX_TEST_S3_"


@pytest.fixture(scope="session")
def bucket():
    """The settings of a bucket."""
    given = {
        name.removeprefix(GIVEN).lower(): value
        for name, value in os.environ.items()
        if name.startswith(GIVEN) and value
    }
    if given:
        yield {"prefix": f"caudex-test-{secrets.token_hex(4)}", **given}
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            eventually(lambda: put(f"{endpoint}/files") == 200)
            yield {
                "bucket": "files",
                "endpoint": endpoint,
                "access_key_id": "a",
                "secret_access_key": "b",
            }
        finally:
            process.kill()


def put(url):
    try:
        return httpx.put(url).status_code
    except httpx.TransportError:
        return 0
