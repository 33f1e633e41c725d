"""A database of main 312bb19b is adopted whole: the last state that a start continues.

`data/312bb19b.sql.xz` was made by a server of that commit, which `pg_dump --inserts` wrote down;
owners and the logins of apps were taken out. The app crm has everything: records of which some are
retired, jobs, lines, secrets, a deployed worker, schedules, views. The name of the app again was
another app's before, and its stored model names no unique keys, as older ones do not.
"""

import asyncio
import lzma
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from docs.schemas import migrations, pages
from kernel.config.settings import DatabaseConfig
from kernel.database.migrations import migrate
from kernel.errors import BootError
from kernel.public import VAULT
from kernel.testing import Client, MakeServer, Postgres, Server, running_server
from tests.kernel.database.catalog import catalog
from tests.kernel.databases import sql

DATA = Path(__file__).with_name("data")
MADE_BY = "postgres"
"""The login that made the dump."""
CONFIG: dict[str, Any] = {
    "plugins": {
        "cron": {},
        "vault_file": {},
        "oidc": {
            "issuer": "https://id.example.org",
            "client_id": "c",
            "client_secret": "s",
            "public_url": "https://caudex.example.org",
        },
    },
    "services": {"vault": "vault"},
}
LATER = (DATA / "after_312bb19b.sql").read_bytes()
LEDGER = "select plugin, name from caudex_kernel.migrations where plugin <> 'kernel' order by 1, 2"


def restored(postgres: Postgres, later: bytes = b"") -> str:
    """Make a database from the dump, with what came later, and return its DSN."""
    url = postgres.create()
    dump = lzma.decompress((DATA / "312bb19b.sql.xz").read_bytes()).decode()
    for words in (f" FROM {MADE_BY};", f" TO {MADE_BY};"):
        dump = dump.replace(words, words.replace(MADE_BY, "current_user"))
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < 180_000:
            pytest.skip("the dump has languages and rights of PostgreSQL 18")
        connection.execute(dump.encode())
        connection.execute(b"reset search_path;" + later)
    return url


@pytest.fixture(scope="module", params=[b"", LATER], ids=["312bb19b", "later"])
def adopted(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Generator[Server]:
    """Today's server on that database, with its keys; then on what main was before this state."""
    data_dir = tmp_path_factory.mktemp("adopted")
    (data_dir / "config").mkdir()
    for key in ("master.key", "signing.key"):
        shutil.copy(DATA / key, data_dir / "config" / key)
        (data_dir / "config" / key).chmod(0o600)
    url = restored(postgres, request.param)
    with running_server(postgres, CONFIG, dsn=url, data_dir=data_dir) as server:
        yield server
    postgres.drop(url)


def get(client: Client, app: str, path: str) -> Any:
    return client.get(f"/api/v1/apps/{app}/{path}").raise_for_status().json()


def trail(client: Client, app: str) -> list[Any]:
    parameters = {"app_id": app, "limit": 1000}
    return client.get("/api/v1/audit", params=parameters).raise_for_status().json()


def described(dsn: str) -> list[list[str]]:
    """The lines of each schema's page, sorted: a dump creates tables in another order."""
    return [sorted(text.splitlines()) for text in pages(dsn).values()]


@pytest.mark.parametrize("later", [b"", LATER], ids=["312bb19b", "later"])
def test_the_schema_of_every_plugin_is_that_of_a_new_database(
    postgres: Postgres, later: bytes
) -> None:
    old, new = restored(postgres, later), postgres.create()
    for url in (old, new):
        report = asyncio.run(migrate(DatabaseConfig(url=url), migrations()))
        assert report.unknown == []
    found = catalog(old)
    assert found == catalog(new)
    assert all(found.values())
    assert sql(old, LEDGER) == sql(new, LEDGER)
    assert described(old) == described(new)
    for url in (old, new):
        postgres.drop(url)


def test_an_app_has_everything_that_it_had(adopted: Server) -> None:
    ada, bob = adopted.login("ada"), adopted.login("bob")
    contacts = get(ada, "crm", "collections/contacts?limit=100")
    assert len(contacts) == 41
    [eva] = [contact for contact in contacts if contact["name"] == "Eva"]
    assert eva["tags"] == ["a", "crm"]
    [deal] = get(ada, "crm", "collections/deals")
    assert (deal["amount"], deal["contact_id"]) == (12.5, eva["id"])
    assert len(get(bob, "crm", "collections/contacts?limit=100")) == 41
    assert get(bob, "crm", "permissions")["roles"] == ["reader"]
    strict = [role["name"] for role in get(ada, "crm", "roles") if role.get("secondFactor")]
    assert strict == ["audited"]
    [grant] = get(adopted.login("admin"), "again", "grants")
    assert grant["app"] == "crm"
    assert [view["name"] for view in views(ada)] == ["By name"]


def views(client: Client) -> list[Any]:
    parameters = {"app": "crm", "entity": "contacts"}
    return client.get("/api/v1/console/views", params=parameters).raise_for_status().json()


def test_its_jobs_schedules_lines_and_secrets_stay(adopted: Server) -> None:
    ada = adopted.login("ada")
    jobs = get(ada, "crm", "jobs?limit=100")
    assert {job["status"] for job in jobs} >= {"completed", "failed", "pending", "cancelled"}
    assert {"type": "send_report", "of": "crm"} in [job["payload"] for job in jobs]
    [failed] = [job for job in jobs if job["status"] == "failed"]
    assert len(get(ada, "crm", f"jobs/{failed['id']}/attempts")) == 2
    assert [cron["name"] for cron in get(ada, "crm", "crons")] == ["nightly"]
    assert [version["version"] for version in get(ada, "crm", "worker/versions")] == [1]
    welcomed = (
        "select count(*) from caudex_logs.lines where app_id = 'crm' and message ~ 'welcomed'"
    )
    assert adopted.sql(welcomed) == [(1,)]
    assert get(ada, "crm", "secrets") == ["TOKEN"]
    vault = adopted.services.get(VAULT)
    revealed = {"TOKEN": "s3cret of crm", "SHARED": "of the platform"}
    assert adopted.run(vault.reveal, "crm") == revealed


def test_accounts_and_sessions_stay(adopted: Server) -> None:
    users = adopted.login("admin").get("/api/v1/users").json()
    assert {user["username"] for user in users} == {"ada", "admin", "bob", "carol"}
    listed = adopted.login("ada").get("/api/v1/auth/sessions").json()
    [(before,)] = adopted.sql("select min(created_at)::date::text from caudex_auth.sessions")
    assert min(session["created_at"] for session in listed).startswith(before)
    body = {"username": "carol", "password": adopted.login("ada").password}
    refused = adopted.http.post("/api/v1/auth/login", json=body)
    assert refused.json()["secondFactor"] is True


def test_no_password_of_a_login_is_in_the_database(adopted: Server) -> None:
    columns = (
        "select attname from pg_attribute where attrelid = 'caudex_app_logins.logins'::regclass"
        " and attnum > 0 and not attisdropped order by 1"
    )
    assert adopted.sql(columns) == [("app_id",), ("number",)]


def test_the_trail_goes_on(adopted: Server) -> None:
    ada = adopted.login("ada")
    before = trail(ada, "crm")
    assert len(before) > 45
    url = "/api/v1/apps/crm/collections/contacts"
    record = ada.post(url, json={"name": "later"}).raise_for_status().json()
    ada.delete(f"{url}/{record['id']}").raise_for_status()
    assert [row["id"] for row in trail(ada, "crm")[2:]] == [row["id"] for row in before]
    bob = adopted.login("bob")
    assert [row["new_record"]["text"] for row in trail(bob, "again")
            if row["table_name"] == "notes"] == ["new"]  # fmt: skip


def test_older_models_get_their_unique_keys(adopted: Server) -> None:
    url = "/api/v1/apps/again/collections/contacts/bulk?on=email"
    bob = adopted.login("bob")
    bob.post(url, json=[{"name": "Flo", "email": "flo@example.org"}]).raise_for_status()


def test_a_next_installation_has_a_key_that_none_had(adopted: Server) -> None:
    admin = adopted.login("admin")
    admin.post("/api/v1/apps", json={"appId": "next", "name": "x"}).raise_for_status()
    [(key,)] = adopted.sql("select key from caudex_kernel.apps where app_id = 'next'")
    assert key > 3
    admin.delete("/api/v1/apps/next").raise_for_status()


OLDER = "the database is of an older release,"
REMEDY = (
    "; start the last release with these files once on this database, then this one"
    " (docs/howto/upgrade.md)"
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "delete from caudex_kernel.migrations where name = '0002_settle_plan.sql'",
            "plugin jobs, 0001_initial.sql: {older} without 0002_settle_plan.sql",
        ),
        (
            """
            update caudex_kernel.migrations set name = '0001_accounts.sql'
            where plugin = 'auth' and name = '0001_schema.sql';
            delete from caudex_kernel.migrations where name = '0002_account_security.sql'""",
            "plugin auth, 0001_initial.sql: {older} with 0001_accounts.sql",
        ),
    ],
)
def test_an_older_database_is_refused_in_one_line(
    postgres: Postgres, make_server: MakeServer, change: str, problem: str
) -> None:
    url = restored(postgres)
    sql(url, change)
    before = sql(url, LEDGER)
    with pytest.raises(BootError) as caught:
        make_server(CONFIG, dsn=url)
    assert str(caught.value) == problem.format(older=OLDER) + REMEDY
    assert sql(url, LEDGER) == before
    postgres.drop(url)
