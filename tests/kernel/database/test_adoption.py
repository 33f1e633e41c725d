"""A database of the release before each plugin had one schema (commit cf23c0e) is adopted whole.

`data/cf23c0e.sql` was made by a server of that commit. The apps crm and early have everything, and
early was installed before `born` was noted; again has the name of an app that was removed before;
swapped was removed and installed again while the plugins were off, and removed was only removed.
`pg_dump --inserts` wrote it; comments, owners and the logins of apps were taken out.
"""

import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kernel.errors import BootError
from kernel.public import VAULT
from kernel.testing import Client, MakeServer, Postgres, Server, running_server
from tests.kernel.database.catalog import catalog
from tests.kernel.databases import sql

DATA = Path(__file__).with_name("data")
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


def restored(postgres: Postgres) -> str:
    """Make a database from the dump and return its DSN."""
    url = postgres.create()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((DATA / "cf23c0e.sql").read_bytes())
    return url


@pytest.fixture(scope="module")
def adopted(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """Today's server on that database, with its keys."""
    data_dir = tmp_path_factory.mktemp("adopted")
    (data_dir / "config").mkdir()
    for key in ("master.key", "signing.key"):
        shutil.copy(DATA / key, data_dir / "config" / key)
        (data_dir / "config" / key).chmod(0o600)
    url = restored(postgres)
    with running_server(postgres, CONFIG, dsn=url, data_dir=data_dir) as server:
        yield server
    postgres.drop(url)


def got(client: Client, app: str, what: str) -> Any:
    return client.get(f"/api/v1/apps/{app}/{what}").raise_for_status().json()


def trail(client: Client, app: str) -> list[Any]:
    return client.get("/api/v1/audit", params={"app_id": app}).raise_for_status().json()


def count(server: Server, table: str, app: str) -> int:
    [(number,)] = server.sql(f"select count(*) from caudex_{table} where app_id = %s", app)
    return number


def test_the_schema_is_that_of_a_new_database(postgres: Postgres, adopted: Server) -> None:
    new = postgres.migrated(adopted.kernel)
    found = catalog(adopted.dsn)
    assert found == catalog(new)
    assert all(found.values())
    names = "select plugin, name from caudex_kernel.migrations order by 1, 2"
    assert sql(adopted.dsn, names) == sql(new, names)
    postgres.drop(new)


@pytest.mark.parametrize("app", ["crm", "early"])
def test_an_app_has_everything_that_it_had(adopted: Server, app: str) -> None:
    ada, bob = adopted.login("ada"), adopted.login("bob")
    [contact] = got(ada, app, "collections/contacts")
    assert (contact["name"], contact["tags"]) == ("Eva", ["a", app])
    assert [deal["amount"] for deal in got(ada, app, "collections/deals")] == [12.5]
    assert got(bob, app, "collections/contacts") == [contact]
    assert got(bob, app, "permissions")["roles"] == ["reader"]
    assert got(ada, app, "secrets") == ["TOKEN"]
    assert {"of": app} in [job["payload"] for job in got(ada, app, "jobs")]
    assert [cron["name"] for cron in got(ada, app, "crons")] == ["nightly"]
    assert count(adopted, "logs.lines", app) >= 1
    vault = adopted.services.get(VAULT)
    revealed = {"TOKEN": f"s3cret of {app}", "SHARED": "of the platform"}
    assert adopted.run(vault.reveal, app) == revealed


def test_accounts_and_sessions_stay(adopted: Server) -> None:
    users = adopted.login("admin").get("/api/v1/users").json()
    assert {user["username"] for user in users} == {"ada", "admin", "bob"}
    listed = adopted.login("ada").get("/api/v1/auth/sessions").json()
    [(before,)] = adopted.sql("select min(created_at)::date::text from caudex_auth.sessions")
    assert min(session["created_at"] for session in listed).startswith(before)


@pytest.mark.parametrize("app", ["crm", "early"])
def test_the_admin_of_an_app_reads_its_trail_as_before_and_on(adopted: Server, app: str) -> None:
    ada = adopted.login("ada")
    before = trail(ada, app)
    assert [row["operation"] for row in before[-6:]] == [
        "DELETE", "UPDATE", "INSERT", "INSERT", "INSERT",
    ][-len(before):]  # fmt: skip
    url = f"/api/v1/apps/{app}/collections/contacts"
    made = ada.post(url, json={"name": "later"}).raise_for_status().json()
    ada.delete(f"{url}/{made['id']}").raise_for_status()
    assert len(trail(ada, app)) == len(before) + 2
    rows = adopted.sql(
        "select xid::text::bigint, owner_id::text, app_key from caudex_audit.log"
        " where table_schema = %s and table_name = 'contacts' order by id",
        app,
    )
    [(key,)] = adopted.sql("select key from caudex_kernel.apps where app_id = %s", app)
    assert set(rows[:-2]) == {(0, None, None)}
    assert [row[1:] for row in rows[-2:]] == [(ada.id, key)] * 2
    assert 0 < rows[-2][0] < rows[-1][0]


def test_a_later_app_has_nothing_of_a_former_one(adopted: Server) -> None:
    bob = adopted.login("bob")
    assert [row["new_record"]["name"] for row in trail(bob, "again")] == ["new"]
    assert got(bob, "again", "secrets") == []
    for table in ("jobs.jobs", "logs.lines", "vault.data_keys", "vault.secrets"):
        assert count(adopted, table, "swapped") == 0, table
        assert count(adopted, table, "removed") == 0, table
    assert count(adopted, "cron.crons", "removed") == 0
    admin = adopted.login("admin")
    assert got(admin, "swapped", "roles/assignments") == []
    assert [role["name"] for role in got(admin, "swapped", "roles")] == ["admin"]
    assert adopted.sql("select app_id from caudex_rbac.apps where app_id = 'removed'") == []


def test_a_next_installation_has_a_key_that_none_had(adopted: Server) -> None:
    adopted._admin = adopted.login("admin")
    adopted.install({"appId": "next", "name": "x"})
    [(key,)] = adopted.sql("select key from caudex_kernel.apps where app_id = 'next'")
    assert key > 7
    adopted.admin.delete("/api/v1/apps/next").raise_for_status()


def test_an_older_database_is_refused_in_one_line(
    postgres: Postgres, make_server: MakeServer
) -> None:
    url = restored(postgres)
    sql(url, "delete from caudex_kernel.migrations where name = '0007_mandates.sql'")
    with pytest.raises(BootError) as caught:
        make_server(CONFIG, dsn=url)
    assert str(caught.value) == (
        "plugin jobs, 0001_schema.sql: the database is of an older release, without"
        " 0007_mandates.sql; start the last release with these files once on"
        " this database, then this one"
    )
    assert sql(url, "select to_regclass('caudex_kernel.apps')") == [(None,)]
    postgres.drop(url)
