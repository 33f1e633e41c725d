"""Numbered files, applied once, in order, by one process at a time."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from psycopg import sql as names
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.config.settings import DatabaseConfig
from kernel.contracts.server import Migration
from kernel.database import migrations
from kernel.database.connection_options import connect_options
from kernel.database.migrations import MigrationReport, find_migrations, migrate, preview
from kernel.errors import BootError
from tests.kernel.databases import sql
from tests.waiting import eventually


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a plugin that does not exist."""
    write(tmp_path, "0001_first.sql", "create table caudex_demo.one (id int);")
    write(tmp_path, "0002_second.sql", "alter table caudex_demo.one add n int; -- 100 % of $1")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def report_of(dsn: str, *folders: Path, **settings: Any) -> MigrationReport:
    """Migrate a database by the files of one plugin for each folder."""
    files: list[Migration] = []
    for number, folder in enumerate(folders):
        files += find_migrations("demo" if number == 0 else f"demo{number}", folder)
    return anyio.run(migrate, DatabaseConfig(url=dsn, **settings), files)


def apply(dsn: str, *folders: Path, **settings: Any) -> list[str]:
    """Migrate a database and return what was applied."""
    return report_of(dsn, *folders, **settings).applied


def missing(dsn: str, folder: Path) -> list[str]:
    report = anyio.run(preview, DatabaseConfig(url=dsn), find_migrations("demo", folder))
    return [title.partition("/")[2] for title in report.applied]


def refusal(dsn: str, *folders: Path, **settings: Any) -> str:
    """What is said when the files cannot be applied: always one line."""
    with pytest.raises(BootError) as caught:
        apply(dsn, *folders, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def columns(dsn: str, table: str = "one") -> list[str]:
    found = sql(
        dsn,
        "select column_name from information_schema.columns"
        " where table_schema = 'caudex_demo' and table_name = %s order by ordinal_position",
        table,
    )
    return [name for (name,) in found]


def test_files_are_applied_once_in_order_and_entered_in_the_ledger(
    database: str, folder: Path
) -> None:
    assert missing(database, folder) == ["0001_first.sql", "0002_second.sql"]
    assert apply(database, folder) == ["demo/0001_first.sql", "demo/0002_second.sql"]
    assert columns(database) == ["id", "n"]
    assert missing(database, folder) == []
    assert apply(database, folder) == []
    ledger = sql(database, "select plugin, name, length(checksum) from caudex_kernel.migrations")
    assert sorted(row for row in ledger if row[0] != "kernel") == [
        ("demo", "0001_first.sql", 64),
        ("demo", "0002_second.sql", 64),
    ]


def test_a_database_without_any_migration_gets_the_kernels_own_tables(database: str) -> None:
    assert report_of(database).applied == []
    assert sql(database, "select * from caudex_kernel.revisions, caudex_kernel.keys") == []


def test_a_database_from_before_the_channel_gets_it_where_nothing_else_is_missing(
    database: str, folder: Path
) -> None:
    apply(database, folder)
    sql(database, "drop table caudex_kernel.channel")
    sql(database, "delete from caudex_kernel.migrations where plugin = 'kernel'")
    assert missing(database, folder) == []
    assert apply(database, folder) == []
    assert len(sql(database, "select name from caudex_kernel.channel")) == 1


def test_a_database_whose_schemas_are_put_aside_is_not_set_up_again(
    database: str, folder: Path
) -> None:
    apply(database, folder)
    sql(database, "alter schema caudex_kernel rename to caudex_before_1")
    sql(database, "alter schema caudex_demo rename to caudex_before_2")
    said = refusal(database, folder)
    assert "set its content aside (schemas caudex_before_…)" in said
    assert "restore once more" in said
    with pytest.raises(BootError, match="content aside"):
        missing(database, folder)
    assert sql(database, "select to_regnamespace('caudex_kernel')") == [(None,)]
    sql(database, "alter schema caudex_before_1 rename to caudex_kernel")
    # A leftover schema beside a complete database does not prevent its use.
    assert apply(database, folder) == []


def test_what_is_put_aside_while_the_ledger_is_waited_for_is_not_set_up_again(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server does that looked before a restore began."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 60_000)
    with psycopg.connect(database) as restore, ThreadPoolExecutor(1) as pool:
        restore.execute("create schema caudex_kernel")
        restore.execute("create schema caudex_before_1")
        applied = pool.submit(refusal, database, folder)
        waits = "select count(*)::int from pg_locks where not granted"
        assert eventually(lambda: sql(database, waits) == [(1,)], 30)
        restore.execute("drop schema caudex_kernel")
        restore.commit()
        assert "content aside" in applied.result(60)
    assert sql(database, "select to_regnamespace('caudex_kernel')") == [(None,)]


@pytest.mark.slow
def test_a_pooler_that_takes_no_options_does_not_hurry_a_migration(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that connections pass by `options` belong to the login there, as a page says."""

    def stripped(config: DatabaseConfig, **limits: int) -> dict[str, Any]:
        return {k: v for k, v in connect_options(config, **limits).items() if k != "options"}

    monkeypatch.setattr(migrations, "connect_options", stripped)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 60_000)
    for setting in ("statement_timeout = '1s'", "lock_timeout = '1s'"):
        sql(database, f"alter database {conninfo_to_dict(database)['dbname']} set {setting}")
    apply(database)
    write(folder, "0002_second.sql", "select pg_sleep(2)")
    unhurried = psycopg.connect(database, options="-c statement_timeout=0")
    with unhurried as other, ThreadPoolExecutor(1) as pool:
        other.execute(migrations.LEDGER)
        applied = pool.submit(apply, database, folder)
        # Longer than the login would wait.
        waited = "select count(*)::int from pg_locks where waitstart < now() - interval '1.5 s'"
        assert eventually(lambda: sql(database, waited) == [(1,)], 30)
        other.commit()
        assert applied.result(60) == ["demo/0001_first.sql", "demo/0002_second.sql"]


def test_only_what_is_new_is_applied_later(database: str, folder: Path) -> None:
    apply(database, folder)
    write(folder, "0003_third.sql", "alter table caudex_demo.one add m int")
    assert missing(database, folder) == ["0003_third.sql"]
    assert apply(database, folder) == ["demo/0003_third.sql"]


@pytest.mark.parametrize(
    ("last", "late", "next_name"),
    [
        ("0004_fourth.sql", "0003_third.sql", "0005_third.sql"),
        ("0010_tenth.sql", "0009_ninth.sql", "0011_ninth.sql"),
        ("0003_third.sql", "0000_before.sql", "0004_before.sql"),
    ],
)
def test_a_file_that_comes_before_one_that_was_applied_is_refused(
    database: str, folder: Path, last: str, late: str, next_name: str
) -> None:
    write(folder, last, "create table caudex_demo.four (id int);")
    apply(database, folder)
    write(folder, late, "create table caudex_demo.three (id int);")
    assert refusal(database, folder) == (
        f"plugin demo, {late}: {last} was applied before it; name it {next_name}"
    )
    (folder / late).rename(folder / next_name)
    assert apply(database, folder) == [f"demo/{next_name}"]


def test_several_plugins_go_in_their_order(database: str, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, "0001_first.sql", "create table caudex_demo1.t as select * from caudex_demo.one")
    names_ = apply(database, folder, other)
    assert names_ == ["demo/0001_first.sql", "demo/0002_second.sql", "demo1/0001_first.sql"]


def test_an_older_server_starts_on_a_newer_database(database: str, folder: Path) -> None:
    apply(database, folder)
    (folder / "0002_second.sql").unlink()
    report = report_of(database, folder)
    assert report.applied == []
    assert report.unknown == ["demo/0002_second.sql"]


def test_a_replaced_file_is_not_one_of_a_newer_release(database: str, folder: Path) -> None:
    apply(database, folder)
    sql(database, "insert into caudex_kernel.migrations values ('demo', '0000_former.sql', '-')")
    assert report_of(database, folder).unknown == []


def test_nothing_is_said_of_a_plugin_that_is_off(
    database: str, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, "0001_first.sql", "create table caudex_demo1.t (id int)")
    apply(database, folder, other)
    assert report_of(database, folder).unknown == []


def test_a_changed_old_file_is_refused_by_name_and_nothing_else_is_applied(
    database: str, folder: Path
) -> None:
    apply(database, folder)
    write(folder, "0001_first.sql", "create table caudex_demo.one (id bigint);")
    write(folder, "0003_third.sql", "create table caudex_demo.three ()")
    said = refusal(database, folder)
    assert said.startswith("plugin demo, 0001_first.sql: has changed since it was applied")
    place = conninfo_to_dict(database)
    assert f"to database '{place['dbname']}' at {place['host']}:{place['port']}; " in said
    assert "new file, or take another database" in said
    assert sql(database, "select to_regclass('caudex_demo.three')") == [(None,)]
    with pytest.raises(BootError):
        missing(database, folder)


def test_the_refusal_names_the_database_without_its_password(database: str, folder: Path) -> None:
    apply(database, folder)
    write(folder, "0001_first.sql", "select 1")
    url = make_conninfo(database, password="hush-hush")
    assert "hush" not in refusal(url, folder)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_file_that_fails_is_rolled_back_whole_and_tried_again(
    database: str, folder: Path, step: int
) -> None:
    statements = ["create table caudex_demo.a ()", "create table caudex_demo.b ()", "select 1"]
    broken = [*statements[: step - 1], "select 1/0", *statements[step - 1 :]]
    write(folder, "0002_second.sql", ";\n".join(broken))
    write(folder, "0003_third.sql", "create table caudex_demo.c ()")
    said = refusal(database, folder)
    assert said.startswith("plugin demo, 0002_second.sql: the migration failed: division by zero")
    left = sql(database, "select tablename from pg_tables where schemaname = 'caudex_demo'")
    assert left == [("one",)]
    write(folder, "0002_second.sql", ";\n".join(statements))
    assert apply(database, folder) == ["demo/0002_second.sql", "demo/0003_third.sql"]


@pytest.mark.parametrize("text", ["commit", "create table caudex_demo.x (); rollback", "end"])
def test_a_file_may_not_end_its_transaction(database: str, folder: Path, text: str) -> None:
    write(folder, "0002_second.sql", text)
    assert "ends its transaction" in refusal(database, folder)


@pytest.mark.parametrize("text", ["selec 1", "select 'open", "create table missing.x ()"])
def test_a_file_that_is_no_sql_is_named(database: str, folder: Path, text: str) -> None:
    write(folder, "0002_second.sql", text)
    assert "plugin demo, 0002_second.sql: the migration failed" in refusal(database, folder)


@pytest.mark.parametrize(
    "name", ["1_short.sql", "0003-dash.sql", "0003_Upper.sql", "notes.sql", "0003_.sql", "0003.sql"]
)
def test_a_name_that_is_none_is_refused(folder: Path, name: str) -> None:
    write(folder, name, "select 1")
    with pytest.raises(BootError) as caught:
        find_migrations("demo", folder)
    where = f"plugin demo, {folder / name}"
    assert str(caught.value).startswith(f"{where}: {name} is no migration; name it 0001_what.sql, ")


def test_a_file_that_postgres_would_read_in_part_is_refused(folder: Path) -> None:
    write(folder, "0003_cut.sql", "select 1; \0 select 2")
    with pytest.raises(BootError, match=r"0003_cut.* is no migration"):
        find_migrations("demo", folder)


def test_a_number_is_given_once(folder: Path) -> None:
    write(folder, "0002_another.sql", "select 1")
    with pytest.raises(BootError, match=r"0002_another.* and 0002_second.* have the same number"):
        find_migrations("demo", folder)


def test_other_files_beside_are_left_alone(folder: Path) -> None:
    write(folder, "README.md", "why")
    assert len(find_migrations("demo", folder)) == 2


MIGRATE = """
import sys, anyio
from pathlib import Path
from kernel.config.settings import DatabaseConfig
from kernel.database.migrations import find_migrations, migrate
sys.stdin.readline()
found = find_migrations("demo", Path(sys.argv[2]))
print(len(anyio.run(migrate, DatabaseConfig(url=sys.argv[1]), found).applied))
"""


def at_once(count: int, code: str, *arguments: str) -> Sequence[tuple[int, str]]:
    """Run processes that begin their work at the same moment; (status, output) of each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(count)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return [(process.wait(), process.communicate()[0].strip()) for process in processes]


@pytest.mark.slow
def test_four_processes_at_once_on_an_empty_database_apply_each_file_once(
    database: str, tmp_path: Path
) -> None:
    write(tmp_path, "0001_count.sql", "create table caudex_demo.runs (n int)")
    for number in range(2, 12):
        write(
            tmp_path, f"{number:04}_run.sql",
            f"insert into caudex_demo.runs values ({number}); select pg_sleep(0.02)",
        )  # fmt: skip
    ended = at_once(4, MIGRATE, database, str(tmp_path))
    assert [status for status, _ in ended] == [0] * 4, ended
    assert sum(int(applied) for _, applied in ended) == 11
    assert sql(database, "select n from caudex_demo.runs") == [(n,) for n in range(2, 12)]


def test_a_database_that_stays_locked_is_no_endless_wait(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 300)
    with psycopg.connect(database) as holder:
        holder.execute("create schema caudex_kernel")
        assert "the database stayed locked" in refusal(database, folder)
        holder.rollback()
        apply(database)
        holder.execute(migrations.LEDGER)
        assert "the database stayed locked" in refusal(database, folder)
        assert missing(database, folder) == ["0001_first.sql", "0002_second.sql"]
        holder.rollback()
        # Nothing is missing in what follows, so nothing is locked either.
        apply(database, folder)
        holder.execute(migrations.LEDGER)
        assert apply(database, folder) == []


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        ("select", "create schema caudex_kernel"),
        ("select", migrations.LEDGER),
        ("create schema caudex_kernel", migrations.LEDGER),
    ],
    ids=["schema", "all", "tables"],
)
def test_a_ledger_that_another_process_is_just_making_is_waited_for(
    database: str, folder: Path, before: str, meanwhile: str | bytes
) -> None:
    sql(database, before)
    waits = "select count(*)::int from pg_locks where not granted"
    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as pool:
        other.execute(meanwhile)  # type: ignore[arg-type]
        applied = pool.submit(apply, database, folder)
        assert eventually(lambda: sql(database, waits) == [(1,)])
        other.commit()
        assert applied.result() == ["demo/0001_first.sql", "demo/0002_second.sql"]


def test_a_login_that_may_do_nothing_keeps_no_server_from_starting(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an app's worker has one: it can hold any advisory lock for ever, and no other."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 300)
    apply(database)
    role = names.Identifier(f"caudex_test_{abs(hash(database))}")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(names.SQL("create role {} login password 'x'").format(role))
        try:
            limited = make_conninfo(database, user=role.as_string(None).strip('"'), password="x")
            with psycopg.connect(limited) as worker:
                worker.execute("select pg_advisory_lock(1667331428)")
                assert len(apply(database, folder)) == 2
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    worker.execute(migrations.LEDGER)
        finally:
            connection.execute(names.SQL("drop role {}").format(role))


def test_an_account_without_the_right_to_create_is_reported_what_it_lacks(
    database: str, folder: Path
) -> None:
    role = f"caudex_test_{abs(hash(database))}"
    server = conninfo_to_dict(database)
    with psycopg.connect(database, autocommit=True) as connection:
        name = names.Identifier(role)
        connection.execute(names.SQL("create role {} login password 'x'").format(name))
        try:
            limited = make_conninfo(database, user=role, password="x")
            assert "grant the account of database.url `create`" in refusal(limited, folder)
            # What another account has migrated it may use.
            apply(database, folder)
            connection.execute(
                names.SQL(
                    "grant usage on schema caudex_kernel to {0};"
                    " grant select on caudex_kernel.migrations to {0}"
                ).format(name)
            )
            assert apply(limited, folder) == []
        finally:
            connection.execute(names.SQL("drop owned by {0}; drop role {0}").format(name))
    assert server["dbname"]


@pytest.mark.slow
def test_a_killed_server_leaves_no_statement_and_no_lock_behind(database: str) -> None:
    """PostgreSQL looks for its clients also while it works for them (client_connection_check)."""
    holds_a_lock = (
        "import anyio, sys\n"
        "from psycopg import AsyncConnection\n"
        "from kernel.config.settings import DatabaseConfig\n"
        "from kernel.database.connection_options import connect_options\n"
        "async def main():\n"
        "    options = connect_options(DatabaseConfig(url=sys.argv[1]), lock_timeout=600_000)\n"
        "    async with await AsyncConnection.connect(sys.argv[1], **options) as c:\n"
        "        print('connected', flush=True)\n"
        "        await c.execute('select pg_advisory_lock(4711), pg_sleep(600)')\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", holds_a_lock, database]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == b"connected\n"
        held = "select count(*)::int from pg_locks where locktype = 'advisory' and objid = 4711"
        assert eventually(lambda: sql(database, held) == [(1,)], 10)
        killed.kill()
    assert eventually(lambda: sql(database, held) == [(0,)], 15)


def test_a_server_that_is_away_is_reported_in_one_line(database: str, folder: Path) -> None:
    assert refusal(make_conninfo(database, port=1), folder).startswith("migrations: ")


@pytest.fixture
def squashed(tmp_path: Path) -> Path:
    """A later release of the plugin, with one file in place of the two, and of a third."""
    later = tmp_path / "later"
    later.mkdir()
    whole = "create table caudex_demo.one (id int, n int); create table caudex_demo.two ();"
    replaces = "-- replaces: 0001_first.sql 0002_second.sql (0003_third.sql)"
    write(later, "0001_initial.sql", f"{replaces}\n{whole}\n")
    write(later, "0001_initial.adopt.sql", "create table if not exists caudex_demo.two ();")
    write(later, "0002_comments.sql", "comment on table caudex_demo.two is 'new';")
    return later


BOTH = ["demo/0001_initial.sql", "demo/0002_comments.sql"]
"""What a start of the later release applies."""


def entered(dsn: str) -> list[str]:
    """The files of the plugin in the ledger."""
    query = "select name from caudex_kernel.migrations where plugin = 'demo' order by name"
    return [name for (name,) in sql(dsn, query)]


def test_a_new_database_gets_the_file_that_replaces_others(database: str, squashed: Path) -> None:
    assert apply(database, squashed) == BOTH
    assert entered(database) == ["0001_initial.sql", "0002_comments.sql"]
    assert apply(database, squashed) == []
    assert columns(database) == ["id", "n"]


@pytest.mark.parametrize("third", ["", "create table caudex_demo.two ();"])
def test_a_database_with_the_replaced_files_is_adopted(
    database: str, folder: Path, squashed: Path, third: str
) -> None:
    """Without the third file, whose name is in parentheses, and with it."""
    if third:
        write(folder, "0003_third.sql", third)
    apply(database, folder)
    sql(database, "insert into caudex_demo.one values (1, 2)")
    assert missing(database, squashed) == ["0001_initial.sql", "0002_comments.sql"]
    report = report_of(database, squashed)
    assert report.applied == BOTH
    assert report.unknown == []
    assert entered(database) == ["0001_initial.sql", "0002_comments.sql"]
    assert sql(database, "select * from caudex_demo.one") == [(1, 2)]
    assert sql(database, "select obj_description('caudex_demo.two'::regclass)") == [("new",)]
    assert apply(database, squashed) == []
    write(squashed, "0003_more.sql", "create table caudex_demo.three ()")
    assert apply(database, squashed) == ["demo/0003_more.sql"]


def test_a_file_that_is_replaced_is_not_reported_as_one_of_a_newer_release(
    database: str, folder: Path, squashed: Path
) -> None:
    write(folder, "0003_third.sql", "select 1")
    apply(database, folder)
    files = find_migrations("demo", squashed)
    report = asyncio.run(preview(DatabaseConfig(url=database), files))
    assert report == MigrationReport(applied=BOTH, unknown=[])


def test_without_an_adoption_the_tables_stay_as_they_are(
    database: str, folder: Path, squashed: Path
) -> None:
    apply(database, folder)
    (squashed / "0001_initial.adopt.sql").unlink()
    (squashed / "0002_comments.sql").unlink()
    assert apply(database, squashed) == ["demo/0001_initial.sql"]
    assert entered(database) == ["0001_initial.sql"]
    assert columns(database, "two") == []


def test_an_adoption_that_fails_leaves_the_ledger_and_the_tables_as_they_were(
    database: str, folder: Path, squashed: Path
) -> None:
    apply(database, folder)
    write(squashed, "0001_initial.adopt.sql", "drop table caudex_demo.one; select 1/0")
    assert "0001_initial.sql: the migration failed: division" in refusal(database, squashed)
    assert entered(database) == ["0001_first.sql", "0002_second.sql"]
    assert columns(database) == ["id", "n"]


REMEDY = (
    "; start the last release with these files once on this database, then this one"
    " (docs/howto/upgrade.md)"
)


@pytest.mark.parametrize(
    ("applied", "problem"),
    [("0001_first.sql", "without 0002_second.sql"), ("0001_begin.sql", "with 0001_begin.sql")],
)
def test_another_state_is_refused_before_anything_is_applied(
    database: str, squashed: Path, tmp_path: Path, applied: str, problem: str
) -> None:
    """It has some of the replaced files, or only those of a state before."""
    older, other = tmp_path / "older", tmp_path / "other"
    for place in (older, other):
        place.mkdir()
    write(older, applied, "create table caudex_demo.one (id int);")
    apply(database, older)
    write(other, "0001_other.sql", "create table caudex_demo1.t ()")
    assert refusal(database, squashed, other) == (
        f"plugin demo, 0001_initial.sql: the database is of an older release, {problem}{REMEDY}"
    )
    assert sql(database, "select to_regnamespace('caudex_demo1')") == [(None,)]
    with pytest.raises(BootError):
        missing(database, squashed)
