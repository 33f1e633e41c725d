"""Each mistake is met on one server: the log names it, and the server still answers others."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from kernel.config import log
from kernel.testing import Postgres, Server, running_server
from tests.kernel.mistakes.background import BACKGROUND
from tests.kernel.mistakes.handlers import HANDLERS
from tests.kernel.mistakes.hooks import HOOKS, LEADS
from tests.kernel.mistakes.mistake import APP, Mistake, handler
from tests.kernel.mistakes.sql import SQL

MISTAKES: Mapping[str, Mistake] = {**SQL, **HANDLERS, **HOOKS, **BACKGROUND}
FETCH = 'return reply(await self._services.get(STATEMENTS).fetch("select 1"))'
OTHERS = {
    "fine": Mistake(title="", body=handler(FETCH)),
    "leads_to_it": Mistake(title="", body=LEADS, head='VALUES = {"title": "x"}'),
}
"""Plugins without a mistake."""


class Running(NamedTuple):
    server: Server
    folder: Path
    logs: list[Any]


@pytest.fixture(scope="module")
def running(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    folder = tmp_path_factory.mktemp("mistakes")
    files = [str(each.save(name, folder)) for name, each in {**MISTAKES, **OTHERS}.items()]
    config = {"server": {"plugin_files": files, "hook_timeout": 1.0}}
    with capture_logs() as logs, running_server(postgres, config) as server:
        names = ["plain", "leads_to_it", *HOOKS, "sql_in_hook", "sql_swallowed_in_hook"]
        title = {"name": "title", "type": "text"}
        contract = [{"entityName": name, "fields": [title]} for name in names]
        server.install({"appId": APP, "name": APP, "dataContract": contract})
        yield Running(server, folder, logs)


@contextmanager
def logged_warnings() -> Generator[None]:
    """Log the warnings of Python, as a server does; here they are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = log._on_warning
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_harms_no_other(running: Running, name: str) -> None:
    mistake, server = MISTAKES[name], running.server
    with logged_warnings():
        answer = mistake.ask(server, name)
    assert server.http.get("/fine").status_code == 200
    assert server.http.get("/health").json() == {"status": "ok"}
    if answer is not None:
        assert answer.status_code == mistake.status, answer.text
    mistake.check(name, running.folder, running.logs)
