"""An install on another server: the catalog of this one is old for a moment."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    STATEMENTS,
    App,
    Entity,
    Grant,
    ImportOptions,
    NotFound,
    Page,
    SchemaChanged,
    Tagged,
    Target,
    server_actor,
)
from kernel.testing import MakeServer, Server
from plugins.data.assembly import Dependencies, build_records
from plugins.data.service import RecordsService
from plugins.notifications import service as news
from tests.plugins.data.support import MANIFEST, SAMPLES, create, installed
from tests.waiting import eventually


class StaleApps:
    """A catalog in which `samples` still has a column, until it is read again."""

    def __init__(self, apps: Any, app: App, *, learns: bool) -> None:
        self._apps = apps
        self._app = app
        self._learns = learns
        self.refreshed = 0
        self.former = False
        """Whether the old one is of an app that went, and the new one of another of its name."""

    async def app(self, app_id: str) -> App:
        if self.refreshed and self._learns:
            return await self._apps.app(app_id)
        if self.former:
            return msgspec.structs.replace(self._app, key=self._app.key - 1)
        return self._app

    async def entity(self, app_id: str, name: str) -> Entity:
        raise NotFound(name)

    async def refresh(self) -> None:
        self.refreshed += 1


async def _stale(server: Server, *, learns: bool) -> tuple[RecordsService, StaleApps]:
    apps = server.services.get(APPS)
    app = await apps.app("lab")
    old = app.entities["samples"]
    field = msgspec.structs.replace(old.fields[1], name="went_away")
    entity = msgspec.structs.replace(old, fields=(*old.fields, field))
    entities = {**app.entities, "samples": entity}
    stale = StaleApps(apps, msgspec.structs.replace(app, entities=entities), learns=learns)
    catalog: Any = stale
    get = server.services.get
    dependencies = Dependencies(get(STATEMENTS), catalog, get(HOOKS), lambda: get(ACCESS))
    return build_records(dependencies), stale


def test_every_call_is_tried_once_more_with_the_new_catalog(server: Server):
    installed(server)
    record_id = create(server.admin)["id"]
    target = Target(server_actor(), Grant(), "lab", "samples")
    calls: dict[str, Any] = {
        "get": lambda s: s.get(target, record_id),
        "page": lambda s: s.page(target, Page()),
        "create": lambda s: s.create(target, {"name": "x"}),
        "create_many": lambda s: s.create_many(target, [{"name": "x"}]),
        "update": lambda s: s.update(target, record_id, {"name": "y"}),
        "import": lambda s: s.import_file(
            target, io.BytesIO(b"code,name\nq,x\n"), ImportOptions(file_format="csv", on="code")
        ),
    }

    async def stream(service: RecordsService) -> bytes:
        async with service.stream(target, Page()) as pieces:
            return b"".join([piece async for piece in pieces])

    async def tried(call: Any) -> tuple[Any, int]:
        service, apps = await _stale(server, learns=True)
        return await call(service), apps.refreshed

    for call in (*calls.values(), stream):
        answer, refreshed = server.run(tried, call)
        assert refreshed == 1
        shown = answer.record if isinstance(answer, Tagged) else answer
        assert "went_away" not in json.dumps(json.loads(shown))

    async def never() -> int:
        service, apps = await _stale(server, learns=False)
        with pytest.raises(SchemaChanged):
            await service.get(target, record_id)
        return apps.refreshed

    assert server.run(never) == 1


def test_what_was_meant_for_a_former_app_is_not_tried_on_the_next_of_its_name(server: Server):
    installed(server)
    record_id = create(server.admin)["id"]
    target = Target(server_actor(), Grant(), "lab", "samples")

    async def tried(call: Callable[[RecordsService], Any]) -> None:
        service, apps = await _stale(server, learns=True)
        apps.former = True
        with pytest.raises(NotFound, match="another one's name"):
            await call(service)
        assert apps.refreshed == 1

    before = server.admin.get(SAMPLES).json()
    server.run(tried, lambda s: s.create(target, {"name": "x"}))
    server.run(tried, lambda s: s.update(target, record_id, {"name": "y"}))
    server.run(tried, lambda s: s.get(target, record_id))
    assert server.admin.get(SAMPLES).json() == before


@pytest.mark.slow
def test_an_install_on_one_server_is_seen_by_the_other(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(news, "POLL_INTERVAL", 60.0)  # no poll: only what is reported counts
    one = make_server()
    admin = installed(one)
    two = make_server(dsn=one.dsn, data_dir=one.kernel.config.data_dir)
    other = two.login("admin")
    record = create(other)
    manifest = copy.deepcopy(MANIFEST)
    fields = manifest["dataContract"][1]["fields"]
    fields[1]["name"] = "label"  # code is retired, label is new
    manifest["dataContract"][1]["indexes"] = []
    assert admin.post("/api/v1/apps", json=manifest).status_code == 200
    assert "label" in create(admin, label="new")
    path = f"{SAMPLES}/{record['id']}"
    found = eventually(lambda: "label" in (found := other.get(path).json()) and found, 15)
    assert "code" not in found
    assert create(other, label="too")["label"] == "too"
