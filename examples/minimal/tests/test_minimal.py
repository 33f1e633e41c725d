"""The example works as its README says."""

from pathlib import Path

import pytest

from kernel.config.settings import load_config
from kernel.loading.loader import load
from kernel.testing import MakeServer

HERE = Path(__file__).parents[1]


def test_the_plugin_counts(make_server: MakeServer) -> None:
    server = make_server({"server": {"plugins_dir": str(HERE)}})
    counted = [server.http.get("/visits").json() for _ in range(2)]
    assert counted == [{"visits": 1}, {"visits": 2}]


def test_the_configuration_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    kernel = load(load_config(environ={}))
    assert ("visits", "/visits") in [(name, route.path) for name, route in kernel.routes]


def test_it_is_small() -> None:
    code = (HERE / "visits.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) < 20
