"""The promises of VAULT."""

from __future__ import annotations

import base64
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kernel.contracts import hookspecs
from kernel.contracts.base import server_actor
from kernel.contracts.statements import NOTIFICATIONS
from kernel.contracts.vault import SECRETS, VAULT
from kernel.errors import BadRequest, BootError, KernelError, NotFound
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
    def app(self, server: Server) -> Secrets:
        """Install an app for one test."""
        return Secrets(server, install(server.admin))

    @pytest.fixture
    def platform(self, server: Server) -> Secrets:
        """The platform's scope."""
        return Secrets(server, None)

    @pytest.fixture(params=["app", "platform"])
    def scope(self, request: pytest.FixtureRequest, app: Secrets, platform: Secrets) -> Secrets:
        """An app's scope, and the platform's."""
        return app if request.param == "app" else platform

    # The engine

    def test_a_secret_comes_back_for_the_worker_and_the_last_value_wins(
        self, scope: Secrets, app: Secrets
    ) -> None:
        name = unique("TOKEN_")
        scope.put(name, "first")
        scope.put(name, "second")
        assert app.reveal()[name] == "second"

    @pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
    def test_any_text_of_64_kb_comes_back_unchanged(self, app: Secrets, value: str) -> None:
        app.put("TEXT", value)
        assert app.reveal()["TEXT"] == value

    @pytest.mark.parametrize("value", ["x" * (LONGEST + 1), "é" * (LONGEST // 2 + 1)])
    def test_a_longer_value_is_refused_and_changes_nothing(
        self, scope: Secrets, app: Secrets, value: str
    ) -> None:
        name = unique("LONG_")
        scope.put(name, "kept")
        with pytest.raises(BadRequest):
            scope.put(name, value)
        assert app.reveal()[name] == "kept"

    @pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
    def test_a_name_that_is_none_or_steers_is_refused(self, scope: Secrets, name: str) -> None:
        with pytest.raises(BadRequest):
            scope.put(name, "x")
        assert name not in scope.names()

    @pytest.mark.parametrize("name", ["A", "_x", "OPENAI_API_KEY", "LDAP_URL", "A" * 128, "homes"])
    def test_an_ordinary_name_is_accepted(self, app: Secrets, name: str) -> None:
        app.put(name, "x")
        assert app.names() == [name]

    def test_names_are_sorted_and_differ_by_case(self, app: Secrets) -> None:
        names = ["B_2", "a", "A", "_z", "b_2", "A1", "AA"]
        for name in names:
            app.put(name, f"value of {name}")
        assert app.names() == sorted(names)
        secrets = app.reveal()
        assert all(secrets[name] == f"value of {name}" for name in names)

    def test_an_app_without_secrets_has_none(self, app: Secrets) -> None:
        assert app.names() == []

    def test_an_apps_secret_overlays_the_platforms_until_it_is_deleted(
        self, app: Secrets, platform: Secrets
    ) -> None:
        shared = unique("SHARED_")
        platform.put(shared, "platform")
        assert app.reveal()[shared] == "platform"
        app.put(shared, "app")
        assert app.reveal()[shared] == "app"
        app.drop(shared)
        assert app.reveal()[shared] == "platform"
        platform.drop(shared)
        assert shared not in app.reveal()

    def test_an_app_sees_nothing_of_another(self, server: Server, app: Secrets) -> None:
        other = Secrets(server, install(server.admin))
        app.put("MINE", "mine")
        other.put("THEIRS", "theirs")
        other.put("MINE", "not mine")
        assert app.names() == ["MINE"]
        assert app.reveal()["MINE"] == "mine"
        assert "THEIRS" not in app.reveal()
        other.drop("MINE")
        assert app.reveal()["MINE"] == "mine"

    def test_apps_whose_names_begin_alike_are_apart(self, server: Server) -> None:
        short = Secrets(server, install(server.admin))
        long = Secrets(server, install(server.admin, f"{short.app_id}_more"))
        short.put("KEY", "short")
        long.put("KEY", "long")
        remove(server, short.app_id)
        assert long.reveal()["KEY"] == "long"

    def test_a_deleted_secret_is_gone_and_cannot_be_deleted_again(
        self, scope: Secrets, app: Secrets
    ) -> None:
        name = unique("GONE_")
        scope.put(name, "x")
        scope.drop(name)
        assert name not in scope.names()
        assert name not in app.reveal()
        with pytest.raises(NotFound):
            scope.drop(name)

    def test_what_is_deleted_in_one_scope_stays_in_the_other(
        self, app: Secrets, platform: Secrets
    ) -> None:
        name = unique("BOTH_")
        app.put(name, "x")
        with pytest.raises(NotFound):
            platform.drop(name)
        platform.put(name, "x")
        platform.drop(name)
        assert app.names() == [name]

    def test_secrets_go_with_their_app_and_do_not_come_back(
        self, server: Server, app: Secrets
    ) -> None:
        app.put("OLD", "x")
        remove(server, app.app_id)
        install(server.admin, app.app_id)
        assert app.names() == []
        assert "OLD" not in app.reveal()

    def test_a_secret_set_after_the_removal_is_not_the_next_apps(
        self, server: Server, app: Secrets
    ) -> None:
        """Like a request during an uninstall: the route saw the app, the engine does not."""
        remove(server, app.app_id)
        with suppress(KernelError):  # an engine may look again
            app.put("LATE", "x")
        install(server.admin, app.app_id)
        assert app.names() == []
        assert "LATE" not in app.reveal()

    def test_a_thousand_are_kept_and_one_more_is_refused(self, app: Secrets) -> None:
        names = [f"KEY_{n:03}" for n in range(MOST)]
        at_once(lambda name: app.put(name, "x"), names)
        with pytest.raises(BadRequest):
            app.put("MORE", "x")
        app.put(names[0], "changed")
        assert app.names() == names
        app.drop(names[1])
        app.put("MORE", "x")
        assert app.reveal()[names[0]] == "changed"

    def test_many_at_once_are_all_kept(self, app: Secrets) -> None:
        names = [f"KEY_{n:02}" for n in range(20)]
        at_once(lambda name: app.put(name, name * 2), names)
        assert app.names() == names
        secrets = app.reveal()
        assert all(secrets[name] == name * 2 for name in names)

    def test_of_writers_of_one_name_one_wins_whole(self, app: Secrets) -> None:
        values = [str(n) * 5000 for n in range(8)]
        at_once(lambda value: app.put("RACE", value), values)
        assert app.reveal()["RACE"] in values

    # Confidentiality

    def test_no_value_is_stored_in_clear(self, server: Server, app: Secrets) -> None:
        needle = unique("needle")
        app.put("HIDDEN", needle)
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

    def test_a_worker_gets_them(self, server: Server, app: Secrets) -> None:
        app.put("WORKER_TOKEN", "a-long-token-of-a-worker")
        gather = partial(server.kernel.bus.gather, hookspecs.worker_environment, app_id=app.app_id)
        [delivered] = [variables for variables in server.run(gather) if "WORKER_TOKEN" in variables]
        assert delivered["WORKER_TOKEN"] == "a-long-token-of-a-worker"

    def test_a_change_is_notified_so_that_workers_restart(
        self, server: Server, scope: Secrets
    ) -> None:
        heard: list[str | None] = []

        async def hear(payload: str | None) -> None:
            heard.append(payload)

        server.services.get(NOTIFICATIONS).subscribe(SECRETS, hear)
        scope.put("CHANGED", "x")
        eventually(lambda: (scope.app_id or "") in heard)
        heard.clear()
        scope.drop("CHANGED")
        eventually(lambda: (scope.app_id or "") in heard)

    def test_writes_are_in_the_trail_by_name_only(self, server: Server, app: Secrets) -> None:
        body_of(server.admin.post(app.path, json={"key": "TRAIL", "value": "hush-hush"}))
        body_of(server.admin.delete(f"{app.path}/TRAIL"))
        criteria = {"app_id": "core", "entity": "secrets", "record_id": f"{app.app_id}/TRAIL"}
        rows = server.admin.get("/api/v1/audit", params=criteria)
        assert [row["operation"] for row in body_of(rows)] == ["SECRET_DELETED", "SECRET_SET"]
        assert {row["actor_id"] for row in rows.json()} == {server.admin.id}
        assert "hush" not in rows.text

    def test_a_refused_write_is_not_in_the_trail(self, server: Server, app: Secrets) -> None:
        refused(server.admin.post(app.path, json={"key": "BIG", "value": "x" * (LONGEST + 1)}), 400)
        refused(server.admin.delete(f"{app.path}/BIG"), 404)
        criteria = {"app_id": "core", "entity": "secrets", "record_id": f"{app.app_id}/BIG"}
        assert body_of(server.admin.get("/api/v1/audit", params=criteria)) == []

    def test_what_one_server_does_the_others_see(self, second: Server, app: Secrets) -> None:
        app.put("KEY", "one")
        there = Secrets(second, app.app_id)
        assert there.reveal()["KEY"] == "one"
        there.put("KEY", "two")
        there.put("MORE", "x")
        assert app.reveal()["KEY"] == "two"
        app.drop("MORE")
        assert there.names() == ["KEY"]

    def test_a_machine_without_the_key_does_not_start_or_opens_them_all_the_same(
        self, postgres: Postgres, server: Server, app: Secrets, tmp_path: Path
    ) -> None:
        """It must not make a key of its own: one could not decrypt the secrets of the other."""
        app.put("KEY", "sealed elsewhere")
        (tmp_path / "config").mkdir(mode=0o700)
        shutil.copy(server.kernel.config.data_dir / "config" / SESSIONS_KEY, tmp_path / "config")
        options: MoreOptions = {**self.options(), "dsn": server.dsn, "data_dir": tmp_path}
        with (
            suppress(BootError),
            running_server(postgres, self.configuration(), **options) as other,
        ):
            assert Secrets(other, app.app_id).reveal()["KEY"] == "sealed elsewhere"

    # Over HTTP

    def test_set_list_and_delete_over_http(self, server: Server, scope: Secrets) -> None:
        path = scope.path
        kind = scope.kind
        first = unique("B_")
        other = unique("A_")
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
    def test_bad_input_is_a_400(self, server: Server, scope: Secrets, body: Any) -> None:
        refused(server.admin.post(scope.path, json=body), 400)

    @pytest.mark.parametrize("key", ["A%2fB", "%2e%2e%2fA", "A%00", "x" * 300])
    def test_an_odd_name_is_not_found(self, server: Server, scope: Secrets, key: str) -> None:
        answer = server.admin.delete(f"{scope.path}/{key}")
        assert answer.status_code in (400, 404, 405), answer.text

    def test_others_reach_no_secrets(self, server: Server, app: Secrets, platform: Secrets) -> None:
        stranger = server.user()
        for path in (app.path, platform.path):
            refused(stranger.get(path), 403)
            refused(stranger.post(path, json={"key": "A", "value": "x"}), 403)
            refused(stranger.delete(f"{path}/A"), 403)
            refused(server.http.get(path), 401)

    @pytest.mark.parametrize("app_id", ["nothere", "core", "platform"])
    def test_an_app_that_is_not_installed_has_none(self, server: Server, app_id: str) -> None:
        path = f"/api/v1/apps/{app_id}/secrets"
        refused(server.admin.get(path), 404)
        refused(server.admin.post(path, json={"key": "A", "value": "x"}), 404)


class Secrets:
    """The secrets of one scope by the engine of one server: an app's, or the platform's (None).
    Methods raise what the engine raises."""

    def __init__(self, server: Server, app_id: Any) -> None:
        self._run = server.run
        self._engine = server.services.get(VAULT)
        self.app_id = app_id
        self.path = f"/api/v1/apps/{app_id}/secrets" if app_id else PLATFORM
        self.kind = "secret" if app_id else "platform secret"
        """What messages call a secret of the scope."""

    def put(self, name: str, value: str) -> None:
        self._run(self._engine.set, ACTOR, self.app_id, name, value)

    def drop(self, name: str) -> None:
        self._run(self._engine.delete, ACTOR, self.app_id, name)

    def names(self) -> list[str]:
        return self._run(self._engine.names, self.app_id)

    def reveal(self) -> dict[str, str]:
        """Return the secrets that the worker of the app gets."""
        return self._run(self._engine.reveal, self.app_id)
