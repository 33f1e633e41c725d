"""`caudex keys`, and service accounts, as an operator types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel.cli.main import main
from kernel.testing import Server
from tests.waiting import eventually

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def caudex(server: Server, tmp_path: Path, monkeypatch, capsys) -> Run:
    """Run `caudex ...` against the server's database and return (status, out, err)."""
    monkeypatch.delenv("CAUDEX_TEST_DATABASE_URL", raising=False)
    config = tmp_path / "caudex.toml"
    folder = server.kernel.context.data_dir
    config.write_text(f"[server]\ndata_dir = '{folder}'\n[database]\nurl = '''{server.dsn}'''\n")

    def run(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--config", str(config)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def status_of(server: Server, key: str) -> int:
    headers = {"authorization": f"Bearer {key.strip()}"}
    return server.http.get("/api/v1/auth/me", headers=headers).status_code


def test_keys_of_a_service_account(server: Server, caudex: Run):
    assert server.admin
    status, out, _ = caudex("users", "create", "--service", "nightly")
    assert (status, "service account 'nightly'" in out) == (0, True)
    status, first, _ = caudex("keys", "create", "nightly", "import")
    assert (status, first.startswith("cdx_")) == (0, True)
    assert status_of(server, first) == 200
    status, out, _ = caudex("keys", "list", "nightly")
    line = next(line for line in out.splitlines() if "import" in line)
    key_id = line.split()[-1]
    assert first.strip() not in out
    status, second, _ = caudex("keys", "rotate", key_id)
    assert status == 0
    eventually(lambda: (status_of(server, first), status_of(server, second)) == (401, 200))
    assert caudex("keys", "revoke", key_id)[0] == 0
    eventually(lambda: status_of(server, second) == 401)
    assert caudex("keys", "revoke", key_id)[0] == 1


def test_limits_are_those_that_the_owner_holds(server: Server, caudex: Run):
    user = server.user()
    status, out, err = caudex("keys", "create", user.username, "x", "--app", "nothing")
    assert (status, out) == (1, "")
    assert "must name what the owner of the key has now" in err
    assert caudex("keys", "create", "no-such-user", "x")[0] == 1
