"""`caudex serve --safe`: a server that starts whatever the plugins of a deployment are like."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.config.settings import load_config
from kernel.loading.loader import load, safe
from kernel.testing import Client
from kernel.testing.servers import NO_TLS
from tests.kernel.databases import sql
from tests.kernel.here import caudex_here
from tests.kernel.processes import Served, caudex, write_config

PASSWORD = "Str0ngPass!x"


def broken(folder: Path, database: str) -> None:
    """A deployment in which nearly everything is wrong."""
    (folder / "dropped").mkdir()
    (folder / "dropped" / "bad.py").write_text("1 / 0")
    tree: dict[str, dict[str, Any]] = {
        "server": {"data_dir": str(folder / "data"), "plugins_dir": str(folder / "dropped")},
        "database": {"url": database, "wait": 5.0, "pool_size": 4},
        "services": {"identity": "gone", "statements": "bad"},
        "plugins.gone": {"module": "no_such_module"},
        "plugins.data": {"unknown": 1},
        "plugins.rbac": {"enabled": False},
        "plugins.auth": {
            "module": "no_such_auth",
            "rate_limit_logins": False,
            "registration": "open",
        },
    }
    write_config(folder, tree)


def test_it_keeps_what_repairs_and_the_configuration_of_that(tmp_path: Path, database: str) -> None:
    broken(tmp_path, database)
    config = load_config(str(tmp_path / "caudex.toml"), environ={})
    kernel = load(safe(config))
    kept = {
        "auth", "authoring", "console", "http_server", "notifications", "postgres", "rbac",
        "system",
    }  # fmt: skip
    assert {p.name for p in kernel.instances} == kept
    [auth] = [plugin for plugin in kernel.instances if plugin.name == "auth"]
    assert auth.config.rate_limit_logins is False
    assert auth.config.registration == "closed"
    assert kernel.config.database.url == database
    assert kernel.config.data_dir == tmp_path / "data"


@pytest.mark.slow
def test_a_server_in_safe_mode_says_so_and_lets_an_admin_look(
    tmp_path: Path, database: str
) -> None:
    tree: dict[str, dict[str, Any]] = {
        "server": {"data_dir": str(tmp_path / "data")},
        "database": {"url": database, "pool_size": 4},
    }
    write_config(tmp_path, tree)
    with Served(cwd=tmp_path) as before:
        body = {"username": "admin", "password": PASSWORD}
        register = f"{before.url}/api/v1/auth/register"
        assert httpx.post(register, json=body, timeout=60, verify=NO_TLS).status_code == 201
        assert "SAFE MODE" not in before.err
        assert "first user" in before.err
    with Served(cwd=tmp_path) as again:
        assert "first user" not in again.err
    broken(tmp_path, database)
    assert caudex("serve", "--port", "0", cwd=tmp_path).status == 78
    with Served("--safe", cwd=tmp_path) as server:
        assert "SAFE MODE" in server.err
        assert "first user" not in server.err
        assert "Broken: plugin bad, " in server.err
        assert "bad.py:1: cannot be imported: ZeroDivisionError" in server.err
        assert "no_such_auth" in server.err
        with Client(base_url=server.url, timeout=60) as client:
            other = {**body, "username": "mallory"}
            assert client.post("/api/v1/auth/register", json=other).status_code == 403
            token = client.post("/api/v1/auth/login", json=body).json()["accessToken"]
            answer = client.get("/api/v1/plugins", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            on = {each["name"] for each in answer.json()["plugins"] if each["state"] == "on"}
            assert on == {
                "auth", "authoring", "console", "http_server", "notifications", "postgres", "rbac",
                "system",
            }  # fmt: skip
            assert client.get("/api/v1/apps").status_code == 404


@pytest.mark.slow
def test_a_database_from_before_the_channel_starts_without_plugins_that_migrate(
    tmp_path: Path, database: str
) -> None:
    tree: dict[str, dict[str, Any]] = {
        "server": {"data_dir": str(tmp_path / "data")},
        "database": {"url": database, "wait": 5.0, "pool_size": 4},
    }
    write_config(tmp_path, tree)
    assert caudex_here("migrate", cwd=tmp_path).status == 0
    for words, table in (["--safe"], {}), ([], {"plugins.audit": {"enabled": False}}):
        sql(database, "drop table caudex_kernel.channel")
        sql(database, "delete from caudex_kernel.migrations where plugin = 'kernel'")
        write_config(tmp_path, tree | table)
        with Served(*words, cwd=tmp_path) as server:
            assert server.get("/health/ready").status_code == 200
