"""An install that dies half-way: the stored manifest and the tables agree, at every position."""

import itertools
import signal
import threading
from typing import Any

import httpx
import pytest

from tests.faults.support import ROUNDS, Site, User, no_traceback, pause
from tests.kernel.processes import Served

pytestmark = pytest.mark.slow

FIRST: list[dict[str, Any]] = [
    {
        "entityName": "companies",
        "fields": [
            {"name": "name", "type": "text", "required": True},
            {"name": "size", "type": "text"},
            {"name": "stage", "type": "text", "enum_values": ["a", "b"]},
            {"name": "old", "type": "number", "default_value": 1},
        ],
        "indexes": [{"columns": ["name"]}],
    },
    {"entityName": "leavers", "fields": [{"name": "name", "type": "text"}]},
]
SECOND: list[dict[str, Any]] = [
    {
        "entityName": "companies",
        "fields": [
            {"name": "name", "type": "text"},
            {"name": "size", "type": "number", "required": True, "default_value": 5},
            {"name": "stage", "type": "text", "enum_values": ["a", "b", "c"]},
            {"name": "since", "type": "date"},
        ],
        "indexes": [{"columns": ["name", "since"], "unique": True}],
    },
    {
        "entityName": "people",
        "fields": [
            {"name": "company", "type": "entity_link",
             "references": {"entity": "companies", "field": "id"}, "on_delete": "cascade"},
            {"name": "tags", "type": "[text]"},
        ],
    },
]  # fmt: skip
BOTH = (FIRST, SECOND)

TRAP = """
create schema trap;
create sequence trap.step;
create table trap.at (step bigint not null);
insert into trap.at values (0);
create function trap.spring() returns event_trigger language plpgsql as $$
begin
    if nextval('trap.step') = (select step from trap.at) then
        perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(5);
    end if;
end
$$;
create event trigger trap on ddl_command_end execute function trap.spring();
"""


def set_trap(site: Site, step: int) -> None:
    """Let the connection be cut after the command of that number."""
    site.sql("update trap.at set step = %s", step)
    site.sql("select setval('trap.step', 1, false)")


def install(user: User, entities: list[dict[str, Any]], **more: Any) -> httpx.Response:
    body = {"appId": "crm", "name": "crm", "dataContract": entities, **more}
    return user.post("/api/v1/apps", json=body)


def standing(site: Site, user: User) -> list[dict[str, Any]]:
    """The manifest that is stored, which the tables must agree with; the record must be there."""
    [(kept,)] = site.sql("select manifest from caudex_apps.apps where id = 'crm'")
    verdict = user.post("/api/v1/apps/schema/verify", json=kept)
    assert verdict.json() == {"compliant": True, "changes": []}
    [record] = user.get("/api/v1/apps/crm/collections/companies").json()
    fields = {field["name"] for field in kept["dataContract"][0]["fields"]}
    assert record.keys() == {"id", "created_at", "updated_at", *fields}
    return kept["dataContract"]


def prepare(site: Site, server: Served) -> User:
    """Install the first manifest and make a record that both can have."""
    user = site.user(server)
    assert install(user, FIRST).status_code == 200
    record = {"name": "x", "size": "7", "stage": "a"}
    user.post("/api/v1/apps/crm/collections/companies", json=record).raise_for_status()
    return user


def test_an_install_whose_connection_is_cut_after_any_command_did_not_happen(site: Site) -> None:
    with site.serve() as server:
        user = prepare(site, server)
        site.sql(TRAP)
        try:
            for old, new in (BOTH, BOTH[::-1]):
                cut = 0
                for step in itertools.count(1):
                    set_trap(site, step)
                    answer = install(user, new)
                    set_trap(site, 0)
                    if answer.status_code == 200:
                        break
                    assert answer.status_code == 503, answer.text
                    assert standing(site, user) == old
                    cut += 1
                assert cut >= 5
                assert standing(site, user) == new
        finally:
            site.sql("drop event trigger trap")
    no_traceback(server)


DEADLY = '''
"""Kills the server in an install, once its tables exist."""
import os, signal
from caudex import Plugin, hookimpl


class DeadlyPlugin(Plugin):
    name = "deadly"

    @hookimpl
    async def app_installing(self, tx, plan):
        if plan.manifest.get("description") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
'''


def test_a_server_that_is_killed_before_the_commit_has_installed_nothing(site: Site) -> None:
    plugin = site.folder / "deadly.py"
    plugin.write_text(DEADLY)
    with site.serve("--plugin", str(plugin)) as server:
        user = prepare(site, server)
        with pytest.raises(httpx.TransportError):
            install(user, SECOND, description="die")
        assert server.process.wait(5) == -signal.SIGKILL
    with site.serve() as server:
        user.goto(server.url)
        assert standing(site, user) == FIRST
        assert install(user, SECOND).status_code == 200
        assert standing(site, user) == SECOND


def test_a_server_that_is_killed_at_any_moment_of_an_install_leaves_one_of_both(site: Site) -> None:
    wanted = itertools.cycle(BOTH[::-1])
    user: User | None = None
    for number in range(6 * ROUNDS):
        with site.serve() as server:
            user = prepare(site, server) if user is None else user.goto(server.url)
            standing(site, user)
            killer = threading.Thread(target=_kill_soon, args=(server, 0.02 * (number % 6)))
            killer.start()
            for entities in wanted:
                try:
                    assert install(user, entities).status_code == 200
                except httpx.TransportError:
                    break
            killer.join()
            server.process.wait(5)
    assert user is not None
    with site.serve() as server:
        standing(site, user.goto(server.url))
        assert install(user, FIRST).status_code == 200
        assert standing(site, user) == FIRST


def _kill_soon(server: Served, least: float) -> None:
    pause(least, least + 0.02)
    server.process.kill()
