"""A server for the tests, with the app of this folder deployed as `caudex app deploy` does it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def app(server):
    """Deploy the app to the server of these tests, as its admin."""
    token = server.admin.tokens["accessToken"]
    subprocess.run(
        [Path(sys.executable).with_name("caudex"), "app", "deploy"],
        cwd=ROOT,
        env={**os.environ, "CAUDEX_URL": server.url, "CAUDEX_TOKEN": token},
        check=True,
    )
    return server
