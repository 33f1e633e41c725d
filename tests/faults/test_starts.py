"""Starts that meet other starts, a migration that fails, keys that are not there."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from kernel.config.settings import load_config
from kernel.loading.loader import load
from tests.faults.support import NOTES, ROUNDS, DurablePostgres, Site, no_traceback, notes
from tests.kernel.processes import Ended, caudex
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LEDGER = """select plugin || '/' || name from caudex_kernel.migrations
    where plugin <> 'kernel' order by applied_at, 1"""


def test_four_starts_at_once_migrate_an_empty_database_once(site: Site) -> None:
    with ExitStack() as stack:
        servers = [site.serve() for _ in range(4)]
        for server in servers:
            stack.enter_context(server)
        applied = [name for (name,) in site.sql(LEDGER)]
        reported = [
            json.loads(line)["files"]
            for server in servers
            for line in server.err.splitlines()
            if '"migrated"' in line
        ]
        assert sum(reported) == len(applied) == len(load(load_config(environ={})).migrations)
        user = site.user(servers[0])
        path = notes(user.install())
        for server in servers:
            user.goto(server.url)
            eventually(lambda: user.get(path).status_code == 200, 10, "it has not heard of the app")
            user.post(path, json={"name": "x"}).raise_for_status()
        assert len(user.get(path).json()) == 4
    no_traceback(*servers)


def manifest(app_id: str, number: int) -> dict[str, object]:
    """One of several manifests of an app, each with columns of its own."""
    fields = [{"name": f"column{n}", "type": "text", "required": n == 0} for n in range(number + 1)]
    index = {"columns": [f"column{number}"], "unique": True}
    more = [{"entityName": f"part{number}", "fields": fields, "indexes": [index]}]
    return {"appId": app_id, "name": f"number {number}", "dataContract": [NOTES, *more]}


def test_installs_at_once_on_two_servers_follow_one_another(site: Site) -> None:
    with site.serve() as one, site.serve() as two, ThreadPoolExecutor(20) as pool:
        clients = [site.user(one), site.user(two)]

        def install(number: int) -> int:
            body = manifest("shared" if number < 12 else f"own{number}", number)
            return clients[number % 2].post("/api/v1/apps", json=body).status_code

        for _ in range(ROUNDS):
            assert set(pool.map(install, range(20))) == {200}
        for app_id in ("shared", *(f"own{number}" for number in range(12, 20))):
            [(kept,)] = site.sql("select manifest from caudex_apps.apps where id = %s", app_id)
            for client in clients:
                verdict = client.post("/api/v1/apps/schema/verify", json=kept).json()
                assert verdict == {"compliant": True, "changes": []}
        audited = "select count(*) from caudex_audit.log where table_name = 'apps'"
        assert site.sql(audited) == [(20 * ROUNDS,)]
    no_traceback(one, two)


STEPS = (
    "create table caudex_steps.one (id int primary key); insert into caudex_steps.one values (1)",
    """alter table caudex_steps.one add column name text not null default 'x';
    create table caudex_steps.two (id int references caudex_steps.one)""",
    "insert into caudex_steps.two values (1); create index on caudex_steps.two (id)",
)
FAILS = "; select 1 / 0"
HANGS = "; select pg_sleep(60)"


def write_plugin(folder: Path, *, broken: int | None = None, by: str = "") -> Path:
    """Write a plugin with three migrations; one of them may have something at its end."""
    steps = folder / "steps"
    steps.mkdir(exist_ok=True)
    for number, text in enumerate(STEPS):
        step = steps / f"000{number + 1}_step.sql"
        step.write_text(text + (by if number == broken else ""))
    plugin = folder / "steps.py"
    plugin.write_text(
        '"""Tables in three steps."""\n'
        "from pathlib import Path\n"
        "from caudex import Plugin\n\n\n"
        "class StepsPlugin(Plugin):\n"
        '    name = "steps"\n'
        '    migrations = Path(__file__).parent / "steps"\n'
    )
    return plugin


def tables(site: Site) -> set[str]:
    """Columns of the plugin's tables."""
    query = "select table_name || '.' || column_name from information_schema.columns"
    return {name for (name,) in site.sql(f"{query} where table_schema = 'caudex_steps'")}


def applied(site: Site) -> int:
    return site.sql("select count(*) from caudex_kernel.migrations where plugin = 'steps'")[0][0]


COLUMNS = [set[str](), {"one.id"}, {"one.id", "one.name", "two.id"}]


def test_a_migration_that_fails_leaves_nothing_and_the_next_start_tries_again(site: Site) -> None:
    with site.serve() as old:
        user = site.user(old)
        path = notes(user.install())
        for number in range(3):
            plugin = write_plugin(site.folder, broken=number, by=FAILS)
            for _ in range(2 if number == 1 else 1):
                ended = start(site, "--plugin", str(plugin))
                assert (
                    f"plugin steps, 000{number + 1}_step.sql: the migration failed" in ended.refusal
                )
                assert (tables(site), applied(site)) == (COLUMNS[number], number)
            user.post(path, json={"name": "x"}).raise_for_status()
        plugin = write_plugin(site.folder)
        with site.serve("--plugin", str(plugin)) as new:
            assert applied(site) == 3
            assert len(user.goto(new.url).get(path).json()) == 3
    no_traceback(old, new)


def start(site: Site, *words: str) -> Ended:
    """A start that is refused."""
    return caudex("serve", "--port", "0", *words, cwd=site.folder)


@pytest.mark.parametrize("number", range(3))
def test_a_start_that_is_killed_in_a_migration_leaves_nothing_of_it(
    site: Site, number: int
) -> None:
    plugin = write_plugin(site.folder, broken=number, by=HANGS)
    killed = site.serve("--plugin", str(plugin))
    hanging = "select pid from pg_stat_activity where query like %s and pid <> pg_backend_pid()"
    eventually(lambda: site.sql(hanging, "%pg_sleep(60)%"), 30, lambda: killed.err)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    # PostgreSQL notices when it next writes to the client; an operator would wait or do this.
    site.sql("select count(pg_terminate_backend(pid)) from pg_stat_activity"
             " where query like %s and pid <> pg_backend_pid()", "%pg_sleep(60)%")  # fmt: skip
    eventually(lambda: not site.sql(hanging, "%pg_sleep(60)%"), 5, "it still migrates")
    assert (tables(site), applied(site)) == (COLUMNS[number], number)
    write_plugin(site.folder)
    with site.serve("--plugin", str(plugin)):
        assert applied(site) == 3


# --- keys -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(folders: Callable[[], Path], durable: DurablePostgres) -> Site:
    """A deployment that has run and keeps a secret."""
    site = Site(folders(), durable.create())
    with site, site.serve() as server:
        user = site.user(server)
        app = user.install("keyed")
        secret = {"key": "TOKEN", "value": "hush hush"}
        user.post(f"/api/v1/apps/{app}/secrets", json=secret).raise_for_status()
        user.post(notes(app), json={"name": "x"}).raise_for_status()
    return site


def contents(dsn: str) -> dict[str, str]:
    """A digest of every table of the database."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        query = "select md5(coalesce(string_agg(t::text, '/' order by t::text), '')) from {} as t"
        return {name: connection.execute(query.format(name)).fetchall()[0][0] for (name,) in found}


def _remove(key: Path) -> None:
    key.unlink()


def _empty(key: Path) -> None:
    key.write_text("")


def _change(key: Path) -> None:
    text = key.read_text()
    key.write_text(("0" if text[0] != "0" else "1") + text[1:])  # "A" would be "a" in hex


@pytest.mark.parametrize("harm", [_remove, _empty, _change])
@pytest.mark.parametrize("name", ["master", "signing"])
def test_a_server_without_its_key_does_not_start_and_touches_nothing(
    keyed: Site, name: str, harm: Callable[[Path], None]
) -> None:
    key = keyed.folder / "data" / "config" / f"{name}.key"
    kept, before = key.read_bytes(), contents(keyed.dsn)
    harm(key)
    try:
        ended = start(keyed)
        assert f"key {name}: " in ended.refusal
        assert contents(keyed.dsn) == before
    finally:
        key.write_bytes(kept)
        key.chmod(0o600)


def test_with_its_keys_back_everything_is_there(keyed: Site) -> None:
    with keyed, keyed.serve() as server:
        user = keyed.user(server)
        assert user.get("/api/v1/apps/keyed/secrets").json() == ["TOKEN"]
        assert len(user.get(notes("keyed")).json()) == 1
