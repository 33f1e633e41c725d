"""What authors have: a wrapped engine, permissions of apps, warnings, plugins as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.public import ACCESS, AppGrants, Directory, FactorDemands, supports
from kernel.testing import Postgres, running_server
from tests.kernel.here import caudex_here
from tests.kernel.processes import caudex

ROOT = Path(__file__).parents[2]
WRAPPING = '''
from caudex import (
    ACCESS, Actor, Forbidden, Grant, Needs, Permission, Plugin, Route, app_permission, hookimpl,
    provide, reply,
)


class NoDeletes:
    """Everything as before, but records stay."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def authorize(self, actor, needs, path):
        if needs.kind == "entity" and needs.key == "delete":
            raise Forbidden("records are never deleted here")
        return await self._inner.authorize(actor, needs, path)


class NoDeletesPlugin(Plugin):
    name = "no_deletes"

    @hookimpl
    def provide_services(self):
        return [provide(ACCESS, lambda services, inner: NoDeletes(inner), over=True)]

    @hookimpl
    def register_permissions(self):
        return [Permission("notes.pin", "Pin a note", on="app"), Permission("no_deletes.see")]

    @hookimpl
    def register_routes(self, services):
        path = "/api/v1/apps/{app_id}/pinned"
        return [Route("POST", path, self.pin, app_permission("notes.pin"))]

    async def pin(self, request):
        return reply({"pinned": request.path("app_id")})
'''
TEA = """
import warnings

from caudex import Plugin


def brew():
    warnings.warn("tea.brew stops working in 2.0; write tea.make", FutureWarning, stacklevel=2)


class TeaPlugin(Plugin):
    name = "tea"
"""
MANIFEST = {
    "appId": "crm", "name": "CRM",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("wrap") / "no_deletes.py"
    path.write_text(WRAPPING)
    with running_server(postgres, {"server": {"plugin_files": [str(path)]}}) as found:
        found.admin.post("/api/v1/apps", json=MANIFEST).raise_for_status()
        yield found


def test_a_wrapped_engine_decides_for_routes_of_every_plugin(server):
    notes = "/api/v1/apps/crm/collections/notes"
    made = server.admin.post(notes, json={"text": "x"}).json()
    answer = server.admin.delete(f"{notes}/{made['id']}")
    said = "records are never deleted here"
    assert (answer.status_code, answer.json()) == (403, {"error": said})
    assert server.admin.get(f"{notes}/{made['id']}").status_code == 200
    [info] = [info for info in server.kernel.plugins if info.name == "no_deletes"]
    assert (info.wraps, info.provides) == (("access",), ())
    names = [plugin.name for plugin in server.kernel.instances]
    assert names.index("rbac") < names.index("no_deletes") < names.index("apps")


def test_a_wrapper_passes_on_the_optional_parts_of_its_engine(server):
    """`isinstance` does not see them from Python 3.12 on: a second factor must not be lost."""
    access = server.services.get(ACCESS)
    assert type(access).__name__ == "NoDeletes"
    for part, name in ((FactorDemands, "demands_factor"), (AppGrants, "grants")):
        assert supports(access, part)
        assert not hasattr(type(access), name)
        assert not supports(object(), part)
    assert not supports(access, Directory)
    uses = [
        path for name in ("kernel", "plugins", "contrib") for path in (ROOT / name).rglob("*.py")
    ]
    for path in uses:
        assert not re.search(r"isinstance\(.*(FactorDemands|AppGrants|Directory)\)",
                             path.read_text("utf-8")), path  # fmt: skip


def test_a_role_of_an_app_holds_a_permission_of_a_plugin(server):
    listed = server.admin.get("/api/v1/apps/crm/permissions/available").json()
    assert listed[-1] == {"key": "notes.pin", "description": "Pin a note"}
    core = server.admin.get("/api/v1/apps/core/permissions/available").json()
    keys = [each["key"] for each in core]
    assert "no_deletes.see" in keys
    assert "notes.pin" not in keys
    ida, path = server.user("ida"), "/api/v1/apps/crm/pinned"
    answer = ida.post(path)
    said = "the permission 'notes.pin' is needed"
    assert (answer.status_code, answer.json()) == (403, {"error": said})
    role = {"name": "pinner", "permissions": ["notes.pin"]}
    server.admin.post("/api/v1/apps/crm/roles", json=role).raise_for_status()
    given = {"userId": ida.id, "role": "pinner"}
    server.admin.post("/api/v1/apps/crm/roles/assign", json=given).raise_for_status()
    assert ida.post(path).json() == {"pinned": "crm"}
    assert server.admin.post(path).json() == {"pinned": "crm"}
    assert ida.get("/api/v1/apps/crm/permissions").json()["permissions"] == ["notes.pin"]
    refused = server.admin.post(
        "/api/v1/apps/core/roles", json={"name": "x", "permissions": ["notes.pin"]}
    )
    assert refused.status_code == 400


def fault(folder: Path, text: str, **settings: object) -> str:
    path = folder / "no_deletes.py"
    path.write_text(text)
    overrides = {"server.plugin_files": [str(path)], **settings}
    with pytest.raises(BootError) as refused:
        load(load_config(environ={}, overrides=overrides))
    return str(refused.value)


def test_a_route_names_a_permission_of_the_right_kind(tmp_path):
    said = fault(tmp_path, WRAPPING.replace('app_permission("notes.pin")', 'app_permission("x.y")'))
    assert "needs the permission 'x.y', which no plugin registers" in said
    said = fault(tmp_path, WRAPPING.replace(', on="app"', ""))
    assert "needs the permission 'notes.pin', which no plugin registers" in said
    said = fault(tmp_path, WRAPPING.replace("{app_id}/pinned", "crm/pinned"))
    assert "its path names no app" in said


def test_there_is_nothing_to_wrap_without_an_engine(tmp_path):
    text = WRAPPING.replace("provide(ACCESS", "provide(VAULT").replace("ACCESS,", "ACCESS, VAULT,")
    said = fault(tmp_path, text, **{"plugins.vault": {"enabled": False}})
    assert said.startswith("plugin no_deletes, ")
    assert "/no_deletes.py:23: needs the service 'vault', which no plugin provides" in said


@pytest.mark.slow
def test_what_a_plugin_deprecates_is_named_once_for_each_place(tmp_path):
    tea = tmp_path / "tea.py"
    tea.write_text(TEA)
    package = tmp_path / "caudex_kettle"
    (package / "parts").mkdir(parents=True)
    for folder in (package, package / "parts"):
        (folder / "__init__.py").touch()
    (package / "parts" / "heat.py").write_text(
        "from caudex_file_tea import brew\n\nfor _ in range(3):\n    brew()\nbrew()\n"
    )
    user = tmp_path / "kettle.py"
    user.write_text(
        "import sys\n\nsys.path.append(str(__file__).rpartition('/')[0])\n"
        "import caudex_kettle.parts.heat\nfrom caudex import Plugin\n\n\n"
        "class KettlePlugin(Plugin):\n    name = 'kettle'\n"
    )
    ended = caudex("plugins", "--plugin", str(tea), "--plugin", str(user), cwd=tmp_path)
    assert ended.status == 0, ended.err
    lines = [json.loads(each) for each in ended.err.splitlines() if "tea.make" in each]
    said = "tea.brew stops working in 2.0; write tea.make"
    assert [line["event"] for line in lines] == [said, said]
    heat = package / "parts" / "heat.py"
    assert [(line["plugin"], line["at"]) for line in lines] == [
        ("kettle", f"{heat}:4"), ("kettle", f"{heat}:5"),
    ]  # fmt: skip


def test_plugins_are_printed_as_json(tmp_path):
    path = tmp_path / "no_deletes.py"
    path.write_text(WRAPPING)
    ended = caudex_here("plugins", "--json", "--plugin", str(path), cwd=tmp_path)
    assert ended.status == 0, ended.err
    found = {each["name"]: each for each in json.loads(ended.out)}
    assert found["no_deletes"]["wraps"] == ["access"]
    assert found["no_deletes"]["routes"][0]["needs"] == "notes.pin"
    assert found["metrics"]["state"] == "off"
    assert found["auth"]["hooks"]
