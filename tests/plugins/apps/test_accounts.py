"""Links to accounts come and go while everyone signs in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, ClassVar

import anyio
import pytest

from kernel.public import (
    IDENTITY,
    STATEMENTS,
    Event,
    InstallPlan,
    Plugin,
    Transaction,
    for_subjects,
    hookimpl,
)
from kernel.testing import Server, ServerOptions
from plugins.apps.manifest.reader import read_manifest
from plugins.apps.schema import sync

from .support import entity, field, fresh_id, install, link, manifest, refused

_HELD = """
select coalesce(json_agg(mode order by mode), '[]') from pg_locks
where relation = 'caudex_auth.users'::regclass and pid = pg_backend_pid() and granted"""


class WatchPlugin(Plugin):
    """Records the locks on accounts that an install holds once its tables exist; can pause it."""

    name = "watch"
    held: ClassVar[list[list[str]]] = []
    here: ClassVar = threading.Event()
    on: ClassVar = threading.Event()

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """The rest of the schema is complete by now."""
        self.held.append(json.loads(await tx.fetch(_HELD) or b"null"))
        self.here.set()
        while not self.on.is_set():
            await anyio.sleep(0.01)

    @hookimpl
    @for_subjects("core.apps")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """The uninstall has done every step by now, except to drop the tables."""
        if event.operation == "APP_REMOVED":
            self.held.append(json.loads(await tx.fetch(_HELD) or b"null"))


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [WatchPlugin]}


@pytest.fixture
def app() -> str:
    """The id of an app; no one is kept waiting."""
    WatchPlugin.held.clear()
    WatchPlugin.here.clear()
    WatchPlugin.on.set()
    return fresh_id()


USER = link("u", "core:users")
CASCADE = link("u", "core:users", on_delete="cascade")
LARGE = entity("large", field("n"))
CHANGED = entity("large", field("n", "number"), indexes=[{"columns": ["n"]}])

Entities = list[dict[str, Any]]
CHANGES: dict[str, tuple[Entities, Entities, str]] = {
    "goes": ([entity("a", USER), LARGE], [entity("a"), CHANGED], ""),
    "goes with its entity": ([entity("a", USER), LARGE], [CHANGED], ""),
    "changes": ([entity("a", USER), LARGE], [entity("a", CASCADE), CHANGED], "c"),
    "comes": ([entity("a"), LARGE], [entity("a", USER), CHANGED], "n"),
    "comes with its entity": ([LARGE], [entity("a", USER), CHANGED], "n"),
    "stays beside a conversion": (
        [entity("a", USER, field("x"))], [entity("a", USER, field("x", "number"))], "n",
    ),
    "goes beside a conversion": (
        [entity("a", USER, field("x"))], [entity("a", field("x", "number"))], "",
    ),
}  # fmt: skip


def links(server: Server, app: str) -> str:
    """What the links to accounts do when one is deleted, as letters of pg_constraint."""
    rows = server.sql(
        "select confdeltype::text from pg_constraint where contype = 'f'"
        " and connamespace = %s::regnamespace and confrelid = 'caudex_auth.users'::regclass",
        app,
    )
    return "".join(letter for (letter,) in rows)


@pytest.mark.parametrize("name", CHANGES)
def test_the_accounts_are_free_until_an_install_is_all_but_done(server: Server, app, name):
    before, after, left = CHANGES[name]
    install(server.admin, manifest(app, *before))
    WatchPlugin.held.clear()
    install(server.admin, manifest(app, *after))
    assert WatchPlugin.held in ([[]], [["AccessShareLock"]])
    assert links(server, app) == left


@pytest.mark.parametrize("name", ["goes", "comes"])
def test_people_register_and_sign_in_while_an_install_takes_its_time(server: Server, app, name):
    before, after, left = CHANGES[name]
    install(server.admin, manifest(app, *before))
    WatchPlugin.here.clear()
    WatchPlugin.on.clear()
    with ThreadPoolExecutor(1) as pool:
        try:
            answer = pool.submit(server.admin.post, "/api/v1/apps", json=manifest(app, *after))
            assert WatchPlugin.here.wait(10)
            user = server.user()
            assert user.get("/api/v1/auth/me").status_code == 200
            token = {"refreshToken": user.tokens["refreshToken"]}
            assert server.http.post("/api/v1/auth/refresh", json=token).status_code == 200
        finally:
            WatchPlugin.on.set()
        assert answer.result(30).status_code == 200
    assert links(server, app) == left


def test_the_accounts_are_free_until_an_uninstall_is_all_but_done(server: Server, app):
    install(server.admin, manifest(app, entity("a", USER)))
    WatchPlugin.held.clear()
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert WatchPlugin.held == [[]]
    assert server.sql("select to_regnamespace(%s)::text", app) == [(None,)]


def test_no_one_takes_part_in_an_install_whose_links_lead_nowhere(server: Server, app):
    install(server.admin, manifest(app, entity("a", field("u", "uuid"))))
    server.sql(f"insert into {app}.a (u) values (gen_random_uuid())")
    WatchPlugin.held.clear()
    assert "no record of users" in refused(server.admin, manifest(app, entity("a", USER)))
    assert WatchPlugin.held == []


class Listening:
    """A transaction that carries nothing out and keeps what it is asked to."""

    def __init__(self) -> None:
        self.reported: list[str] = []

    async def fetch(self, query: bytes, **options: bool) -> None:
        """No row is in conflict."""

    async def execute(self, query: bytes, *params: object) -> None:
        """A limit is set."""

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Nothing is taken back."""
        return nullcontext()

    async def script(self, statements: bytes) -> None:
        """Note them."""
        self.reported += statements.decode().split(";\n")


def carried_out(server: Server, wanted: dict[str, Any]) -> list[str]:
    """The statements that an install would run, the locks of the app's own tables aside."""

    async def work() -> list[str]:
        listening: Any = Listening()
        users = server.services.get(IDENTITY).relation()
        plan = await sync.make_plan(server.services.get(STATEMENTS), read_manifest(wanted), users)
        await sync.apply(listening, wanted["appId"], plan)
        await sync.apply_foreign(listening, wanted["appId"], plan, 1)
        return [text for text in listening.reported if not text.startswith("lock table")]

    return server.run(work)


def places(statements: list[str], *wanted: Callable[[str], bool]) -> list[int]:
    return [[n for n, text in enumerate(statements) if test(text)].pop() for test in wanted]


def test_a_link_that_cannot_outlive_its_column_goes_after_all_other_conversions(server, app):
    install(server.admin, manifest(app, entity("a", USER, field("x")), entity("b", field("x"))))
    wanted = manifest(
        app, entity("a", field("u"), field("x", "number")), entity("b", field("x", "number"))
    )
    reported = carried_out(server, wanted)
    [last, other] = places(reported, lambda s: "drop constraint" in s, lambda s: '."b"' in s)
    assert last > other
    assert reported[last].count(" type ") == 2  # one ALTER TABLE: the table is rewritten once
    install(server.admin, wanted)
    assert links(server, app) == ""


def test_new_links_are_checked_before_old_ones_shut_everyone_out(server, app):
    install(server.admin, manifest(app, entity("a", USER), entity("b"), entity("c", USER)))
    wanted = manifest(app, entity("a", CASCADE), entity("b", USER), entity("c"))
    reported = carried_out(server, wanted)
    kinds = [[kind for kind in ("drop", "add") if f"{kind} constraint" in s] for s in reported]
    assert [kind for kind in kinds if kind] == [["add"], ["add"], ["drop"], ["drop"]]
    install(server.admin, wanted)
    assert sorted(links(server, app)) == ["c", "n"]


@pytest.mark.parametrize("wanted", [USER, link("u", "a")], ids=["account", "record"])
@pytest.mark.parametrize("made", ["caudex_auth.users (id) on delete cascade", "{}.a (id)"])
def test_a_link_that_was_replaced_by_hand_is_restored(server: Server, app, wanted, made):
    install(server.admin, manifest(app, entity("a", wanted)))
    query = "select conname, pg_get_constraintdef(oid) from pg_constraint where contype = 'f'"
    query += " and connamespace = %s::regnamespace"
    ((name, definition),) = server.sql(query, app)
    server.sql(f"alter table {app}.a drop constraint {name}")
    made = f"foreign key (u) references {made.format(app)}"
    server.sql(f"alter table {app}.a add constraint {name} {made}")
    install(server.admin, manifest(app, entity("a", wanted)))
    assert server.sql(query, app) == [(name, definition)]
