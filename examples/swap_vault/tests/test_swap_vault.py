"""The move of the README: before, import, after, and back."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kernel.contracts import VAULT
from kernel.testing import MakeServer, Server

HERE = Path(__file__).parents[1]
SHOP = "/api/v1/apps/shop/secrets"
PLATFORM = "/api/v1/platform/secrets"


def overrides(name: str) -> dict[str, Any]:
    """A configuration of the example, with the data folder of the test."""
    tree = tomllib.loads((HERE / name).read_text("utf-8"))
    assert tree.pop("server") == {"data_dir": "data"}
    return tree


def set_secret(server: Server, path: str, key: str, value: str) -> None:
    """Set a secret over HTTP."""
    answer = server.login("admin").post(path, json={"key": key, "value": value})
    assert answer.status_code == 200, answer.text


def revealed(server: Server) -> dict[str, str]:
    """What the worker of the app gets."""
    return server.run(server.services.get(VAULT).reveal, "shop")


def caudex(*arguments: str, folder: Path, dsn: str) -> str:
    """Run the command line in the example's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "kernel", *arguments, "--data-dir", str(folder)],
        cwd=HERE, env={**os.environ, "CAUDEX_DATABASE__URL": dsn},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def before(make_server: MakeServer, tmp_path: Path) -> Server:
    """The deployment with its secrets in PostgreSQL."""
    server = make_server(overrides("before.toml"), data_dir=tmp_path)
    server.install({"appId": "shop", "name": "Shop"})
    set_secret(server, SHOP, "STRIPE_KEY", "sk-1")
    set_secret(server, SHOP, "SMTP_PASSWORD", "the shop's")
    set_secret(server, PLATFORM, "SMTP_PASSWORD", "the platform's")
    return server


@pytest.mark.slow
def test_the_secrets_move_unnoticed(
    before: Server, make_server: MakeServer, tmp_path: Path
) -> None:
    wanted = {"STRIPE_KEY": "sk-1", "SMTP_PASSWORD": "the shop's"}
    assert revealed(before) == wanted
    before.stop()
    said = caudex(
        "vault-file", "import", "--config", "moving.toml", folder=tmp_path, dsn=before.dsn
    )
    assert "secrets copied: 3" in said

    after = make_server(overrides("caudex.toml"), dsn=before.dsn, data_dir=tmp_path)
    admin = after.login("admin")
    assert admin.get(SHOP).json() == ["SMTP_PASSWORD", "STRIPE_KEY"]
    assert admin.get(PLATFORM).json() == ["SMTP_PASSWORD"]
    assert revealed(after) == wanted
    files = sorted(path.parent.name for path in tmp_path.rglob("*.secret"))
    assert files == ["platform", "shop", "shop"]
    set_secret(after, SHOP, "STRIPE_KEY", "sk-2")
    assert admin.delete(f"{SHOP}/SMTP_PASSWORD").status_code == 200
    assert revealed(after) == {"STRIPE_KEY": "sk-2", "SMTP_PASSWORD": "the platform's"}
    after.stop()

    back = make_server(overrides("before.toml"), dsn=before.dsn, data_dir=tmp_path)
    assert revealed(back) == wanted, "the old engine has what it had at the move"


@pytest.mark.slow
def test_without_the_old_rows_and_their_key_the_new_engine_goes_on(
    before: Server, make_server: MakeServer, tmp_path: Path
) -> None:
    before.stop()
    caudex("vault-file", "import", "--config", "moving.toml", folder=tmp_path, dsn=before.dsn)
    text = (HERE / "README.md").read_text("utf-8")
    statements = [line.strip() for line in text.splitlines() if line.startswith("    delete from ")]
    assert len(statements) == 3
    for statement in statements:
        before.sql(statement)
    (tmp_path / "config" / "master.key").unlink()
    after = make_server(overrides("caudex.toml"), dsn=before.dsn, data_dir=tmp_path)
    assert revealed(after)["STRIPE_KEY"] == "sk-1"
    assert not (tmp_path / "config" / "master.key").exists()
