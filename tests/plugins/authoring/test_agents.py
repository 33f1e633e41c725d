"""AGENTS.md of a new app: each of its blocks is pasted into a shell, in order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kernel.testing import Server
from tests.pages import blocks, run_shell

from .support import Author


@pytest.mark.slow
def test_an_app_is_made_by_what_the_page_says(author: Author, server: Server) -> None:
    author.ok("app", "new", "agents")
    folder = author.folder / "agents"
    text = (folder / "AGENTS.md").read_text("utf-8")
    assert {block.language for block in blocks(text)} == {"sh"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    outputs = run_shell(
        text,
        server.url,
        folder,
        {**author.variables, "PATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
    )
    commands, made, records, tests = (output for output, _ in outputs)
    assert "create table items" in commands
    assert "version 1 runs" in commands
    assert "deployed and started" in made
    assert "Bolt,2" in records
    assert "Nut" not in records.splitlines()[-2]
    assert "1 passed" in tests
    part = server.admin.get("/api/v1/apps/parts/collections/parts").json()[0]
    call = {"method": "take", "params": {"id": part["id"], "count": 1}}
    assert server.admin.post("/api/v1/apps/parts/rpc", json=call).json()["stock"] >= 0
