"""The promises of VAULT."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kernel.contracts.base import server_actor
from kernel.contracts.logs import LOGS
from kernel.contracts.statements import NOTIFICATIONS
from kernel.contracts.vault import SECRETS, VAULT, Vault
from kernel.errors import BadRequest, BootError, KernelError, NotFound
from kernel.hooks import hookspecs
from kernel.testing import MoreOptions, Postgres, Server, running_server
from kernel.testing.conformance.kit import (
    Conformance,
    at_once,
    body_of,
    eventually,
    install,
    refused,
    remove,
    unique,
)

T = TypeVar("T")
ACTOR = server_actor("conformance")
LONGEST = 64 * 1024
"""Bytes of a value."""
MOST = 1000
"""Secrets of a scope."""
SESSIONS_KEY = "signing.key"
"""Of the server's accounts: without it no other machine starts, whatever the engine."""
PLATFORM = "/api/v1/platform/secrets"
STEERING = [
    "PATH", "path", "HOME", "LANG", "TMPDIR", "GCONV_PATH", "LD_PRELOAD", "DYLD_X", "PYTHONPATH",
    "NODE_OPTIONS", "BUN_INSTALL", "CAUDEX_APP_ID",
]  # fmt: skip
NO_NAMES = ["", "1A", "A-B", "A B", "A.B", "../A", "A/B", "Ä", "A" * 129, "A\n", *STEERING]
VALUES = [
    "", " ", "plain", "two\nlines\r\n", "\ttab", "Ä€\U0001f511", "\u202eturned", '"{}"\\',
    "x" * LONGEST, "€" * (LONGEST // 3),
]  # fmt: skip


class VaultConformance(Conformance):
    """Secrets: encrypted, bound to their scope and name, given to the app's worker only."""

    key = VAULT
    # Writers wait for one another, and each for a disk; how long is no promise of an engine.
    needs = {"database": {"lock_timeout": 30.0, "statement_timeout": 60.0}}  # noqa: RUF012 - a ClassVar of the base

    @pytest.fixture
    def app(self, server: Server) -> str:
        """Install an app for one test."""
        return install(server)

    @pytest.fixture(params=["app", "platform"])
    def scope(self, request: pytest.FixtureRequest, app: str) -> str | None:
        """An app's scope, and the platform's."""
        return app if request.param == "app" else None

    # The engine

    def test_a_secret_comes_back_for_the_worker_and_the_last_value_wins(
        self, server: Server, scope: str | None, app: str
    ) -> None:
        name = unique("TOKEN_")
        put(server, scope, name, "first")
        put(server, scope, name, "second")
        assert reveal(server, app)[name] == "second"

    @pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
    def test_any_text_of_64_kb_comes_back_unchanged(
        self, server: Server, app: str, value: str
    ) -> None:
        put(server, app, "TEXT", value)
        assert reveal(server, app)["TEXT"] == value

    @pytest.mark.parametrize("value", ["x" * (LONGEST + 1), "é" * (LONGEST // 2 + 1)])
    def test_a_longer_value_is_refused_and_changes_nothing(
        self, server: Server, scope: str | None, app: str, value: str
    ) -> None:
        name = unique("LONG_")
        put(server, scope, name, "kept")
        with pytest.raises(BadRequest):
            put(server, scope, name, value)
        assert reveal(server, app)[name] == "kept"

    @pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
    def test_a_name_that_is_none_or_steers_is_refused(
        self, server: Server, scope: str | None, name: str
    ) -> None:
        with pytest.raises(BadRequest):
            put(server, scope, name, "x")
        assert name not in names(server, scope)

    @pytest.mark.parametrize("name", ["A", "_x", "OPENAI_API_KEY", "LDAP_URL", "A" * 128, "homes"])
    def test_an_ordinary_name_is_accepted(self, server: Server, app: str, name: str) -> None:
        put(server, app, name, "x")
        assert names(server, app) == [name]

    def test_names_are_sorted_and_differ_by_case(self, server: Server, app: str) -> None:
        wanted = ["B_2", "a", "A", "_z", "b_2", "A1", "AA"]
        for name in wanted:
            put(server, app, name, f"value of {name}")
        assert names(server, app) == sorted(wanted)
        found = reveal(server, app)
        assert all(found[name] == f"value of {name}" for name in wanted)

    def test_an_app_without_secrets_has_none(self, server: Server, app: str) -> None:
        assert names(server, app) == []

    def test_an_apps_secret_overlays_the_platforms_until_it_is_deleted(
        self, server: Server, app: str
    ) -> None:
        shared = unique("SHARED_")
        put(server, None, shared, "platform")
        assert reveal(server, app)[shared] == "platform"
        put(server, app, shared, "app")
        assert reveal(server, app)[shared] == "app"
        drop(server, app, shared)
        assert reveal(server, app)[shared] == "platform"
        drop(server, None, shared)
        assert shared not in reveal(server, app)

    def test_an_app_sees_nothing_of_another(self, server: Server, app: str) -> None:
        other = install(server)
        put(server, app, "MINE", "mine")
        put(server, other, "THEIRS", "theirs")
        put(server, other, "MINE", "not mine")
        assert names(server, app) == ["MINE"]
        assert reveal(server, app)["MINE"] == "mine"
        assert "THEIRS" not in reveal(server, app)
        drop(server, other, "MINE")
        assert reveal(server, app)["MINE"] == "mine"

    def test_apps_whose_names_begin_alike_are_apart(self, server: Server) -> None:
        short = install(server)
        long = install(server, f"{short}_more")
        put(server, short, "KEY", "short")
        put(server, long, "KEY", "long")
        remove(server, short)
        assert reveal(server, long)["KEY"] == "long"

    def test_a_deleted_secret_is_gone_and_cannot_be_deleted_again(
        self, server: Server, scope: str | None, app: str
    ) -> None:
        name = unique("GONE_")
        put(server, scope, name, "x")
        drop(server, scope, name)
        assert name not in names(server, scope)
        assert name not in reveal(server, app)
        with pytest.raises(NotFound):
            drop(server, scope, name)

    def test_what_is_deleted_in_one_scope_stays_in_the_other(
        self, server: Server, app: str
    ) -> None:
        name = unique("BOTH_")
        put(server, app, name, "x")
        with pytest.raises(NotFound):
            drop(server, None, name)
        put(server, None, name, "x")
        drop(server, None, name)
        assert names(server, app) == [name]

    def test_secrets_go_with_their_app_and_do_not_come_back(self, server: Server, app: str) -> None:
        put(server, app, "OLD", "x")
        remove(server, app)
        install(server, app)
        assert names(server, app) == []
        assert "OLD" not in reveal(server, app)

    def test_a_secret_set_after_the_removal_is_not_the_next_apps(
        self, server: Server, app: str
    ) -> None:
        """Like a request during an uninstall: the route saw the app, the engine does not."""
        remove(server, app)
        with suppress(KernelError):  # an engine may look again
            put(server, app, "LATE", "x")
        install(server, app)
        assert names(server, app) == []
        assert "LATE" not in reveal(server, app)

    def test_a_thousand_are_kept_and_one_more_is_refused(self, server: Server, app: str) -> None:
        wanted = [f"KEY_{n:03}" for n in range(MOST)]
        at_once(lambda name: put(server, app, name, "x"), wanted)
        with pytest.raises(BadRequest):
            put(server, app, "MORE", "x")
        put(server, app, wanted[0], "changed")
        assert names(server, app) == wanted
        drop(server, app, wanted[1])
        put(server, app, "MORE", "x")
        assert reveal(server, app)[wanted[0]] == "changed"

    def test_many_at_once_are_all_kept(self, server: Server, app: str) -> None:
        wanted = [f"KEY_{n:02}" for n in range(20)]
        at_once(lambda name: put(server, app, name, name * 2), wanted)
        assert names(server, app) == wanted
        found = reveal(server, app)
        assert all(found[name] == name * 2 for name in wanted)

    def test_of_writers_of_one_name_one_wins_whole(self, server: Server, app: str) -> None:
        values = [str(n) * 5000 for n in range(8)]
        at_once(lambda value: put(server, app, "RACE", value), values)
        assert reveal(server, app)["RACE"] in values

    # Who gets to know

    def test_no_value_lies_anywhere_in_clear(self, server: Server, app: str) -> None:
        needle = unique("needle")
        put(server, app, "HIDDEN", needle)
        raw = needle.encode()
        forms = [needle, raw.hex(), base64.b64encode(raw).decode()[:-4]]
        query = (
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname !~ '^(pg_|information_schema)'"
        )
        for (table,) in server.sql(query):
            for form in forms:
                looked = f"select 1 from {table} t where t::text like %s limit 1"  # noqa: S608 - a name of the catalog
                assert not server.sql(looked, f"%{form}%"), f"{table} holds the value"
        for path in server.kernel.config.data_dir.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not any(form.encode() in content for form in forms), path

    def test_a_worker_gets_them_and_its_log_hides_them(self, server: Server, app: str) -> None:
        put(server, app, "WORKER_TOKEN", "a-long-token-of-a-worker")
        delivered = environment(server, app)
        assert delivered["WORKER_TOKEN"] == "a-long-token-of-a-worker"
        line = server.services.get(LOGS).masked(app, "with a-long-token-of-a-worker in it")
        assert "a-long-token" not in line

    def test_a_change_is_notified_so_that_workers_restart(
        self, server: Server, scope: str | None
    ) -> None:
        heard: list[str | None] = []

        async def hear(payload: str | None) -> None:
            heard.append(payload)

        server.services.get(NOTIFICATIONS).subscribe(SECRETS, hear)
        put(server, scope, "CHANGED", "x")
        eventually(lambda: (scope or "") in heard)
        heard.clear()
        drop(server, scope, "CHANGED")
        eventually(lambda: (scope or "") in heard)

    def test_writes_are_in_the_trail_by_name_only(self, server: Server, app: str) -> None:
        path = f"/api/v1/apps/{app}/secrets"
        body_of(server.admin.post(path, json={"key": "TRAIL", "value": "hush-hush"}))
        body_of(server.admin.delete(f"{path}/TRAIL"))
        wanted = {"app_id": "core", "entity": "secrets", "record_id": f"{app}/TRAIL"}
        rows = server.admin.get("/api/v1/audit", params=wanted)
        assert [row["operation"] for row in body_of(rows)] == ["SECRET_DELETED", "SECRET_SET"]
        assert {row["actor_id"] for row in rows.json()} == {server.admin.id}
        assert "hush" not in rows.text

    def test_a_refused_write_is_not_in_the_trail(self, server: Server, app: str) -> None:
        path = f"/api/v1/apps/{app}/secrets"
        refused(server.admin.post(path, json={"key": "BIG", "value": "x" * (LONGEST + 1)}), 400)
        refused(server.admin.delete(f"{path}/BIG"), 404)
        wanted = {"app_id": "core", "entity": "secrets", "record_id": f"{app}/BIG"}
        assert body_of(server.admin.get("/api/v1/audit", params=wanted)) == []

    def test_what_one_server_does_the_others_see(
        self, server: Server, second: Server, app: str
    ) -> None:
        put(server, app, "KEY", "one")
        assert reveal(second, app)["KEY"] == "one"
        put(second, app, "KEY", "two")
        put(second, app, "MORE", "x")
        assert reveal(server, app)["KEY"] == "two"
        drop(server, app, "MORE")
        assert names(second, app) == ["KEY"]

    def test_a_machine_without_the_key_does_not_start_or_opens_them_all_the_same(
        self, postgres: Postgres, server: Server, app: str, tmp_path: Path
    ) -> None:
        """It must not make a key of its own: one could not decrypt the secrets of the other."""
        put(server, app, "KEY", "sealed elsewhere")
        (tmp_path / "config").mkdir(mode=0o700)
        shutil.copy(server.kernel.config.data_dir / "config" / SESSIONS_KEY, tmp_path / "config")
        options: MoreOptions = {**self.options(), "dsn": server.dsn, "data_dir": tmp_path}
        with (
            suppress(BootError),
            running_server(postgres, self.configuration(), **options) as other,
        ):
            assert reveal(other, app)["KEY"] == "sealed elsewhere"

    # Over HTTP

    def test_set_list_and_delete_over_http(self, server: Server, scope: str | None) -> None:
        path, kind = place(scope)
        first, other = unique("B_"), unique("A_")
        for name in (first, other, other):
            answer = server.admin.post(path, json={"key": name, "value": "sk-value"})
            assert body_of(answer) == {"message": f"{kind} '{name}' set"}
        answer = server.admin.get(path)
        assert [name for name in body_of(answer) if name in (first, other)] == [other, first]
        assert "sk-value" not in answer.text
        answer = server.admin.delete(f"{path}/{first}")
        assert body_of(answer) == {"message": f"{kind} '{first}' deleted"}
        refused(server.admin.delete(f"{path}/{first}"), 404)
        body_of(server.admin.delete(f"{path}/{other}"))

    @pytest.mark.parametrize(
        "body",
        [
            {}, [], {"key": "A"}, {"value": "x"}, {"key": 1, "value": "x"},
            {"key": "A", "value": None}, {"key": "A B", "value": "x"}, {"key": "A", "value": "\0"},
        ],
    )  # fmt: skip
    def test_bad_input_is_a_400(self, server: Server, scope: str | None, body: Any) -> None:
        refused(server.admin.post(place(scope)[0], json=body), 400)

    @pytest.mark.parametrize("key", ["A%2fB", "%2e%2e%2fA", "A%00", "x" * 300])
    def test_an_odd_name_is_not_found(self, server: Server, scope: str | None, key: str) -> None:
        answer = server.admin.delete(f"{place(scope)[0]}/{key}")
        assert answer.status_code in (400, 404, 405), answer.text

    def test_others_reach_no_secrets(self, server: Server, app: str) -> None:
        stranger = server.user()
        for path in (place(app)[0], PLATFORM):
            refused(stranger.get(path), 403)
            refused(stranger.post(path, json={"key": "A", "value": "x"}), 403)
            refused(stranger.delete(f"{path}/A"), 403)
            refused(server.http.get(path), 401)

    @pytest.mark.parametrize("app_id", ["nothere", "core", "platform"])
    def test_an_app_that_is_not_installed_has_none(self, server: Server, app_id: str) -> None:
        path = f"/api/v1/apps/{app_id}/secrets"
        refused(server.admin.get(path), 404)
        refused(server.admin.post(path, json={"key": "A", "value": "x"}), 404)


def place(scope: str | None) -> tuple[str, str]:
    """Return the route of a scope's secrets, and their name in messages."""
    if scope is None:
        return PLATFORM, "platform secret"
    return f"/api/v1/apps/{scope}/secrets", "secret"


def call(server: Server, ask: Callable[[Vault], Awaitable[T]]) -> T:
    """Call the engine in the server's event loop."""
    return server.run(lambda: ask(server.services.get(VAULT)))


def put(server: Server, scope: str | None, name: str, value: str) -> None:
    """Set a secret."""
    call(server, lambda vault: vault.set(ACTOR, scope, name, value))


def drop(server: Server, scope: str | None, name: str) -> None:
    """Delete a secret."""
    call(server, lambda vault: vault.delete(ACTOR, scope, name))


def names(server: Server, scope: str | None) -> list[str]:
    """List a scope's secrets."""
    return call(server, lambda vault: vault.names(scope))


def reveal(server: Server, app_id: str) -> dict[str, str]:
    """Return the secrets that the app's worker gets."""
    return call(server, lambda vault: vault.reveal(app_id))


def environment(server: Server, app_id: str) -> dict[str, str]:
    """Return the variables that plugins give a worker."""
    bus = server.kernel.bus
    given = server.run(lambda: bus.gather(hookspecs.worker_environment, app_id=app_id))
    return {name: value for variables in given for name, value in variables.items()}
