"""The base of every kit: servers with the chosen engine, and helpers of tests."""

from __future__ import annotations

import copy
import os
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, TypeVar, cast

import httpx
import pytest

from kernel.contracts.base import ServiceKey
from kernel.testing import MoreOptions, Postgres, Server, running_server

T = TypeVar("T")
SOON = 30.0
"""Seconds to wait for what is promised within one second: test machines are busy."""
PATIENCE = float(os.environ.get("CAUDEX_TEST_PATIENCE", "1"))
"""The factor of all waits; larger on a slow machine."""


class Conformance:
    """A server whose engine for `key` is `provider`; each kit adds its promises as tests."""

    key: ClassVar[ServiceKey[Any]]
    provider: ClassVar[str]
    """The plugin that provides the engine, as `[services]` names it."""
    overrides: ClassVar[Mapping[str, Any]] = {}
    """Merged into the configuration: `{"plugins": {"mine": {"module": "mine_vault"}}}`."""
    needs: ClassVar[Mapping[str, Any]] = {}
    """The configuration that the kit needs."""

    @classmethod
    def configuration(cls) -> dict[str, Any]:
        """Return the configuration of the kit's servers."""
        chosen: Mapping[str, Any] = {
            "services": {cls.key.name: cls.provider},
            "plugins": {cls.provider: {}},
        }
        return merged(merged(chosen, cls.needs), cls.overrides)

    @classmethod
    def options(cls) -> MoreOptions:
        """Return further options of the kit's servers."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, postgres: Postgres) -> Generator[Server]:
        """Run a server with the engine, shared by the kit's tests."""
        with running_server(postgres, cls.configuration(), **cls.options()) as running:
            yield running

    @pytest.fixture(scope="class")
    @classmethod
    def second(cls, postgres: Postgres, server: Server) -> Generator[Server]:
        """Run a second server with the same database and data directory, like another process."""
        shared: MoreOptions = {"dsn": server.dsn, "data_dir": server.kernel.config.data_dir}
        options: MoreOptions = {**cls.options(), **shared}
        with running_server(postgres, cls.configuration(), **options) as running:
            yield running

    def test_the_chosen_engine_answers(self, server: Server) -> None:
        """Otherwise every other test would test another engine."""
        assert server.services.provider(self.key.name) == self.provider


def merged(tree: Any, over: Any) -> Any:
    """Merge one configuration over another, table by table; neither is changed."""
    if not (isinstance(tree, Mapping) and isinstance(over, Mapping)):
        return copy.deepcopy(over)
    below = cast("Mapping[str, Any]", tree)
    above = cast("Mapping[str, Any]", over)
    changed = {key: merged(below.get(key), value) for key, value in above.items()}
    return copy.deepcopy(dict(below)) | changed


def unique(prefix: str) -> str:
    """Make a name that no other test uses."""
    return f"{prefix}{uuid.uuid4().hex[:8]}"


def install(admin: httpx.Client, app_id: str = "", **manifest: Any) -> str:
    """Install an app as the first account, and return its id."""
    app_id = app_id or unique("app")
    body_of(admin.post("/api/v1/apps", json={"appId": app_id, "name": app_id, **manifest}))
    return app_id


def remove(server: Server, app_id: str) -> None:
    """Uninstall an app."""
    body_of(server.admin.delete(f"/api/v1/apps/{app_id}"))


def body_of(answer: httpx.Response, status: int = 200) -> Any:
    """Return the JSON of a reply, which must have this status."""
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int) -> str:
    """Check that a request was refused in the envelope, and return the sentence."""
    body = body_of(answer, status)
    assert list(body) == ["error"], body
    assert body["error"]
    return body["error"]


def at_once(fn: Callable[[str], T], items: Sequence[str]) -> list[T]:
    """Call `fn` for every item, eight at the same time; raises what one of them raises."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(fn, items))


def eventually(probe: Callable[[], T], seconds: float = 30) -> T:
    """Wait until a probe returns a true value, and return it."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; the last answer: {answer!r}")
        time.sleep(0.05)
