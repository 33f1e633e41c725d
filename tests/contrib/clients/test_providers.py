"""The data providers for react-admin and Refine in Node.js, against a server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Postgres, Server, running_server

CLIENTS = Path(__file__).parents[3] / "contrib" / "clients"
SCRIPT = Path(__file__).parent / "providers.mjs"
MANIFEST = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {
            "entityName": "makers",
            "fields": [{"name": "name", "type": "text", "required": True}],
            "search": {"fields": ["name"]},
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "value", "type": "number"},
                {
                    "name": "maker",
                    "type": "entity_link",
                    "references": {"entity": "makers", "field": "id"},
                },
            ],
        },
    ],
}
USE = {
    "react-admin": """\
import type { DataProvider } from 'ra-core';
import { dataProvider } from './react-admin/index.js';
export const provider: DataProvider = dataProvider({} as any);
""",
    "refine": """\
import type { DataProvider } from '@refinedev/core';
import { dataProvider, whereOf } from './refine/index.js';
export const provider: DataProvider = dataProvider({} as any);
export const where = whereOf([{ field: 'value', operator: 'gt', value: 1 }]);
""",
}
Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Server]:
    with running_server(postgres) as running:
        running.install(MANIFEST)
        yield running


@pytest.fixture
def run(server: Server) -> Run:
    """Run a case of the script, and return what it printed."""
    if shutil.which("node") is None:
        pytest.skip("no Node.js here")
    server.sql("truncate shop.deals, shop.makers")
    key = server.admin.post("/api/v1/auth/keys", json={"name": "providers"}).json()["key"]
    options = json.dumps({"url": server.url, "key": key})

    def run_case(name: str) -> Any:
        command = ["node", str(SCRIPT), name, options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_case


def test_react_admin_lists_reads_and_writes(run: Run) -> None:
    got = run("react-admin")
    assert got["page"]["titles"] == [f"Deal {n}" for n in range(16, 26)]
    assert got["page"]["total"] == 25
    assert got["searched"] == ["Acme"]
    assert got["linked"] == {"titles": ["Deal 02", "Deal 04"], "total": 15}
    assert got["expanded"] == "Acme"
    assert got["many"] == ["Deal 04", "Deal 02"]
    assert (got["changed"], got["same"]) == (7, 7)
    assert got["updated"] == [99, 99]
    assert (got["gone"], got["left"]) == ("Made", 0)
    assert got["refused"]["status"] == 400
    assert "nothing" in got["refused"]["message"]


def test_refine_filters_reads_and_writes(run: Run) -> None:
    got = run("refine")
    assert (got["second"], got["total"]) == (["Deal 04", "Deal 05", "Deal 06"], 30)
    assert got["between"] == ["Deal 10", "Deal 11", "Deal 12"]
    assert got["either"] == ["Deal 01", "Deal 30"]
    assert got["without"] == ["Deal 10", "Deal 11", "Deal 12"]
    assert got["makers"] == ["Blue_50%"]
    assert (got["none"], got["every"]) == (0, 30)
    assert (got["one"], got["many"], got["left"]) == (5, [6, 6], 0)
    assert got["api"] == "/api/v1/apps/shop"
    assert "ina" in got["unknown"]


@pytest.mark.slow
def test_the_types_are_those_of_react_admin_and_refine(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no Node.js here")
    packages = ["ra-core@5.15.4", "@refinedev/core@5.0.12", "typescript@5.9.3", "@types/react@18"]
    options = ["--no-audit", "--no-fund", "--legacy-peer-deps", "--ignore-scripts"]
    installed = subprocess.run(
        ["npm", "install", *options, *packages],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    if installed.returncode != 0:
        pytest.skip("the packages cannot be installed here")
    for name, text in USE.items():
        shutil.copytree(CLIENTS / name, tmp_path / name)
        (tmp_path / f"{name}.ts").write_text(text, "utf-8")
    command = ["npx", "tsc", "--strict", "--noEmit", "--skipLibCheck", "--target", "es2022"]
    command += ["--module", "esnext", "--moduleResolution", "bundler", "--jsx", "react-jsx"]
    done = subprocess.run(
        [*command, *(f"{name}.ts" for name in USE)],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
