"""Servers with the app of the tests, with and without a plugin that takes part in writes."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.shop import install
from tests.plugins.data.support import clear, installed

WITNESS = "tests.plugins.data.witness"


def overrides(*plugins: str) -> dict[str, Any]:
    """A configuration with plugins of `witness.py`, by class name."""
    tree: dict[str, Any] = {
        "plugins": {
            name.removesuffix("Plugin").lower(): {"module": f"{WITNESS}:{name}"} for name in plugins
        }
    }
    if fake := os.environ.get("FAKE_APPS"):
        tree["server"] = {"plugin_files": [fake]}
        tree["plugins"]["audit"] = {"enabled": False}
    return tree


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def lab(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    """A server with the app, both ways that a write can go."""
    plugins = ["WitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins)) as running:
        installed(running)
        yield running


@pytest.fixture
def admin(lab: Server) -> Client:
    """The admin, and empty tables."""
    clear(lab)
    return lab.admin


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def shop(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    """A server with the app of `shop.py`, both ways that a write can go."""
    plugins = ["ShopWitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins)) as running:
        install(running)
        yield running
