"""Backup and restore by the command line, beside a running server and into an empty database."""

import errno
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.cli import main as cli
from kernel.public import BadRequest
from plugins.backup import scratch
from plugins.backup.archive import DUMP, About, pack, unpack
from plugins.backup.commands import keys_of
from plugins.backup.dumps import postgres as postgres_tools
from plugins.backup.errors import reported
from plugins.backup.restoring import drop_replaced
from tests.kernel.processes import alive, descendants, open_folder
from tests.kernel.support import shut
from tests.plugins.backup.support import MANIFEST, caudex, command, environment, filled, line, login
from tests.waiting import eventually

__all__ = ["caudex"]


@contextmanager
def started(tmp_path, dsn, *words, data_dir):
    """A command that runs meanwhile, with the folder for its temporary files."""
    held = tmp_path / "held"
    held.mkdir(exist_ok=True)
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            command(*words, data_dir=data_dir),
            env=environment(tmp_path, dsn, {"TMPDIR": str(held)}),
            stdout=said,
            stderr=said,
        )
        try:
            yield process, held
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def waits(dsn, seconds=0):
    """Whether something has waited for a lock for so long."""
    query = "select count(*) from pg_locks where waitstart < now() - make_interval(secs => %s)"
    # A test may limit all connections to the database, but not this one, which observes.
    with psycopg.connect(dsn, options="-c statement_timeout=0 -c lock_timeout=0") as connection:
        return connection.execute(query, [seconds]).fetchone() != (0,)


def damage(file, damaged, folder):
    """Write a backup whose dump is cut off."""
    folder.mkdir()
    about = unpack(file, folder)
    dump = (folder / DUMP).read_bytes()
    (folder / DUMP).write_bytes(dump[: len(dump) * 9 // 10])
    pack(damaged, about, folder / DUMP, [])


@pytest.mark.slow
def test_what_was_there_comes_back_on_another_database(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    said = caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    assert "wrote" in said
    assert file.stat().st_mode & 0o777 == 0o600

    dsn = postgres.create()
    said = caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    assert "master.key restored" in said
    for key in ("master.key", "signing.key"):
        place = tmp_path / "two" / "config" / key
        assert place.read_bytes() == (tmp_path / "one" / "config" / key).read_bytes()
        assert place.stat().st_mode & 0o777 == 0o600

    again = make_server(dsn=dsn, data_dir=tmp_path / "two")
    admin = again.login("admin")
    notes = admin.get("/api/v1/apps/crm/collections/notes").json()
    before = server.admin.get("/api/v1/apps/crm/collections/notes").json()
    assert notes == before
    assert admin.get("/api/v1/apps/crm/secrets").json() == ["TOKEN"]
    verify = admin.post("/api/v1/apps/schema/verify", json=MANIFEST).json()
    assert verify == {"compliant": True, "changes": []}
    made = admin.post("/api/v1/apps/crm/collections/notes", json={"body": "new"})
    assert made.status_code == 201
    audit = admin.get("/api/v1/audit", params={"app_id": "crm"}).json()
    assert len(audit) == 21
    again.stop()
    postgres.drop(dsn)


@pytest.mark.slow
def test_keys_that_were_lost_come_back_by_a_restore(make_server, tmp_path, caudex):
    """The start that reports the loss makes no new keys, which would prevent the restore."""
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    server.stop()
    shutil.rmtree(tmp_path / "one" / "config")
    for _ in range(2):
        said = caudex(server.dsn, "serve", "--port", "0", data_dir=tmp_path / "one", status=78)
        assert ".key is missing" in line(said)
        assert line(said).endswith("restore the file")
    said = caudex(server.dsn, "restore", str(file), "--replace", data_dir=tmp_path / "one")
    assert "signing.key restored" in said
    again = make_server(dsn=server.dsn, data_dir=tmp_path / "one")
    assert again.login("admin").get("/api/v1/apps/crm/secrets").json() == ["TOKEN"]


def test_keys_that_are_not_there_or_not_readable_are_not_left_out(tmp_path):
    """A backup that was to hold them and does not is found out on the day it is needed."""
    with open_folder() as data:
        folder = data / "config"
        with pytest.raises(BadRequest, match=r"config: there are no keys: leave out --with-keys"):
            keys_of(folder)
        folder.mkdir()
        with pytest.raises(BadRequest, match=r"config: there are no keys: leave out --with-keys"):
            keys_of(folder)
        (folder / "master.key").write_text("x")
        (folder / ".master.key-new").write_text("x")
        assert keys_of(folder) == [folder / "master.key"]
        for place in (folder / "master.key", folder, data):
            with shut(place), pytest.raises(BadRequest, match=r"cannot be read: Permission denied"):
                keys_of(folder)


def test_a_backup_without_the_keys_it_was_to_hold_is_refused(
    make_server, postgres, tmp_path, caudex
):
    server = make_server(data_dir=tmp_path / "one")
    file, empty = tmp_path / "all.backup", tmp_path / "two"
    said = caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=empty, status=1)
    assert "there are no keys" in line(said)
    assert not file.exists()


def test_an_existing_file_is_not_replaced_by_chance(make_server, tmp_path, caudex):
    server = make_server(data_dir=tmp_path / "one")
    file = tmp_path / "all.backup"
    file.write_text("precious")
    said = caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one", status=1)
    assert "--force" in said
    assert file.read_text() == "precious"
    caudex(server.dsn, "backup", str(file), "--force", data_dir=tmp_path / "one")
    assert tarfile.is_tarfile(file)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["all.backup"]


@pytest.mark.slow
def test_a_database_that_is_used_or_not_empty_is_refused(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    said = caudex(server.dsn, "restore", str(file), data_dir=tmp_path / "one", status=1)
    assert "stop it first" in said
    dsn = postgres.create()
    caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    said = caudex(dsn, "restore", str(file), data_dir=tmp_path / "two", status=1)
    assert "not empty" in said
    assert "--replace" in said
    said = caudex(dsn, "restore", str(file), "--replace", data_dir=tmp_path / "two")
    assert "holds no keys" in said
    postgres.drop(dsn)


@pytest.mark.slow
def test_a_restore_that_fails_leaves_what_was_there(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    before = postgres_tools.schemas(server.dsn)
    file, damaged, folder = tmp_path / "all.backup", tmp_path / "damaged", tmp_path / "folder"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    damage(file, damaged, folder)
    server.stop()

    for _ in range(2):
        restore = ("restore", str(damaged), "--replace")
        assert "pg_restore: " in caudex(server.dsn, *restore, data_dir=tmp_path / "one", status=1)
        assert postgres_tools.schemas(server.dsn) == before
    again = make_server(dsn=server.dsn, data_dir=tmp_path / "one")
    notes = again.login("admin").get("/api/v1/apps/crm/collections/notes").json()
    assert len(notes) == 20
    again.stop()

    caudex(server.dsn, "restore", str(file), "--replace", data_dir=tmp_path / "one")
    assert postgres_tools.schemas(server.dsn) == before


@pytest.mark.slow
def test_what_a_killed_restore_put_aside_comes_back(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    server.stop()
    before = postgres_tools.schemas(server.dsn)
    aside = postgres_tools.put_aside(server.dsn, before)
    assert sorted(aside) == postgres_tools.leftovers(server.dsn)
    assert postgres_tools.schemas(server.dsn) == []
    said = caudex(server.dsn, "restore", str(file), data_dir=tmp_path / "one", status=1)
    assert "not empty" in said
    assert postgres_tools.schemas(server.dsn) == before


@pytest.mark.slow
def test_what_a_restore_that_was_killed_at_its_end_replaced_is_not_backed_up_and_goes(
    make_server, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    file, again = tmp_path / "all.backup", tmp_path / "again.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    before = postgres_tools.schemas(server.dsn)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for name in ("caudex_kernel", "crm"):
            left = f"caudex_before_{secrets.token_hex(8)}"
            connection.execute(f"create schema {left}")
            connection.execute(f"comment on schema {left} is '{name}'")
            connection.execute(f"create table {left}.notes ()")
        query = "select count(*) from pg_namespace where nspname like 'caudex_before_%'"
        assert postgres_tools.schemas(server.dsn) == before
        caudex(server.dsn, "backup", str(again), data_dir=tmp_path / "one")
        server.stop()

        restore = ("restore", str(again))
        said = line(caudex(server.dsn, *restore, data_dir=tmp_path / "one", status=1))
        assert "not empty (" in said
        assert "caudex_before" not in said
        assert connection.execute(query).fetchone() == (2,)
        caudex(server.dsn, *restore, "--replace", data_dir=tmp_path / "one")
        assert connection.execute(query).fetchone() == (0,)
    assert postgres_tools.schemas(server.dsn) == before
    notes = make_server(dsn=server.dsn, data_dir=tmp_path / "one").login("admin")
    assert len(notes.get("/api/v1/apps/crm/collections/notes").json()) == 20


@pytest.mark.slow
def test_no_server_sets_up_a_database_while_it_is_restored_or_after_a_kill(
    make_server, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    server.stop()
    before = postgres_tools.schemas(server.dsn)
    postgres_tools.put_aside(server.dsn, before)
    for words in (("serve", "--port", "0"), ("migrate",)):
        said = line(caudex(server.dsn, *words, data_dir=tmp_path / "one", status=78))
        assert "content aside" in said
        assert "restore once more" in said
        assert postgres_tools.schemas(server.dsn) == []
    caudex(server.dsn, "restore", str(file), data_dir=tmp_path / "one", status=1)
    assert postgres_tools.schemas(server.dsn) == before
    admin = make_server(dsn=server.dsn, data_dir=tmp_path / "one").login("admin")
    assert len(admin.get("/api/v1/apps/crm/collections/notes").json()) == 20


@pytest.mark.slow
def test_what_is_put_aside_beside_a_database_that_was_set_up_again_goes_with_a_restore_only(
    make_server, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    file, damaged = tmp_path / "all.backup", tmp_path / "damaged"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    damage(file, damaged, tmp_path / "folder")
    server.stop()
    before = postgres_tools.schemas(server.dsn)
    aside = sorted(postgres_tools.put_aside(server.dsn, before))
    with psycopg.connect(server.dsn) as connection:  # as a server of another version may
        connection.execute("create schema caudex_kernel create table new ()")
    restore = ("restore", "--replace")
    for _ in range(2):
        caudex(server.dsn, *restore, str(damaged), data_dir=tmp_path / "one", status=1)
        assert postgres_tools.schemas(server.dsn) == ["caudex_kernel"]
        assert postgres_tools.leftovers(server.dsn) == aside
    caudex(server.dsn, *restore, str(file), data_dir=tmp_path / "one")
    assert postgres_tools.schemas(server.dsn) == before
    assert postgres_tools.leftovers(server.dsn) == []


@pytest.mark.slow
def test_a_server_that_starts_when_a_restore_does_keeps_what_is_there(
    make_server, tmp_path, caudex, monkeypatch
):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    before = postgres_tools.schemas(server.dsn)
    looked = iter([False, True])
    monkeypatch.setattr(postgres_tools, "in_use", lambda _: next(looked))
    monkeypatch.setenv("CAUDEX_DATABASE__URL", server.dsn)
    words = ["restore", "--replace", str(file), "--data-dir", str(tmp_path / "one")]
    assert cli.main(words) == 1
    assert next(looked, None) is None
    assert postgres_tools.schemas(server.dsn) == before
    assert postgres_tools.leftovers(server.dsn) == []


@pytest.mark.slow
def test_keys_come_before_what_is_replaced_goes_which_takes_its_time(make_server, tmp_path, caudex):
    """Longer than a statement of a server may take, where the limit is the login's."""
    server = filled(make_server, tmp_path / "one")
    file, keys = tmp_path / "all.backup", tmp_path / "two" / "config"
    caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    server.stop()
    before = postgres_tools.schemas(server.dsn)
    with psycopg.connect(server.dsn) as other:
        for limit in ("statement_timeout", "lock_timeout"):
            name = conninfo_to_dict(server.dsn)["dbname"]
            other.execute(f"alter database {name} set {limit} = '1s'")
        other.commit()
        other.execute("lock table crm.notes in access share mode")
        words = ("restore", "--replace", str(file))
        with started(tmp_path, server.dsn, *words, data_dir=tmp_path / "two") as (process, _):
            eventually(lambda: waits(server.dsn, 1.5) or process.poll() is not None, 90)
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert sorted(key.name for key in keys.iterdir()) == ["master.key", "signing.key"]
            other.rollback()
            assert process.wait(90) == 0, (tmp_path / "said").read_text()
    assert postgres_tools.schemas(server.dsn) == before
    assert postgres_tools.leftovers(server.dsn) == []


def test_what_is_replaced_and_cannot_go_is_reported(database, monkeypatch):
    monkeypatch.setattr(postgres_tools, "LOCK_WAIT", 200)
    with psycopg.connect(database) as other:
        other.execute("create schema crm create table notes ()")
        other.commit()
        [aside] = postgres_tools.put_aside(database, ["crm"])
        other.execute(f"select from {aside}.notes")
        warning = drop_replaced(database)
    assert f"still there ({aside}, …): canceling statement due to lock timeout; the next" in warning
    assert postgres_tools.leftovers(database) == [aside]
    assert drop_replaced(database) == ""
    assert postgres_tools.leftovers(database) == []


@pytest.mark.slow
def test_tools_go_past_a_pooler(make_server, tmp_path, caudex):
    """One that hands each transaction to another connection would share what a tool sets."""
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    pooler = make_conninfo(server.dsn, host="127.0.0.1", port=1)  # no one is there
    direct = {"CAUDEX_DATABASE__DIRECT_URL": server.dsn}
    caudex(pooler, "backup", str(file), data_dir=tmp_path / "one", env=direct)
    server.stop()
    words = ("restore", "--replace", str(file))
    caudex(pooler, *words, data_dir=tmp_path / "one", env=direct)


@pytest.mark.slow
def test_an_extension_in_a_schema_of_its_own_stays(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file, empty = tmp_path / "all.backup", postgres.create()
    uses = "create index fuzzy on crm.notes ((body::ext.citext))"
    found = """select n.nspname, to_regclass('crm.fuzzy') is not null
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where extname = 'citext'"""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("create schema ext; create extension citext schema ext;" + uses)
        caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
        server.stop()
        caudex(server.dsn, "restore", "--replace", str(file), data_dir=tmp_path / "one")
        assert connection.execute(found).fetchone() == ("ext", True)
    caudex(empty, "restore", str(file), data_dir=tmp_path / "one")
    with psycopg.connect(empty) as connection:
        assert connection.execute(found).fetchone() == ("ext", True)
    postgres.drop(empty)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_asked_to_end_leaves_nothing(make_server, tmp_path, number):
    server = filled(make_server, tmp_path / "one")
    place = tmp_path / "place"
    place.mkdir()
    words = ("backup", str(place / "all.backup"))
    with psycopg.connect(server.dsn) as other:
        other.execute("create view crm.shown as select 1 as one")
        other.commit()
        other.execute("alter view crm.shown rename to renamed")  # the dump waits for it, no count
        with started(tmp_path, server.dsn, *words, data_dir=tmp_path / "one") as (process, _):
            eventually(lambda: waits(server.dsn), 60)
            below = descendants(process.pid)
            assert below
            assert list(place.iterdir())
            process.send_signal(number)
            assert process.wait(30) == 128 + number, (tmp_path / "said").read_text()
            eventually(lambda: not alive(below), 10)
        assert list(place.iterdir()) == []
        eventually(lambda: not waits(server.dsn), 30)
    assert (tmp_path / "said").read_text() == ""


@pytest.mark.slow
def test_a_restore_that_is_asked_to_end_leaves_what_was_there(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("drop schema crm cascade")
    server.stop()
    before = postgres_tools.schemas(server.dsn)
    words = ("restore", "--replace", str(file))
    with psycopg.connect(server.dsn) as other:
        other.execute("create schema crm")  # as the restore will
        with started(tmp_path, server.dsn, *words, data_dir=tmp_path / "two") as (process, held):
            eventually(lambda: waits(server.dsn), 60)
            below = descendants(process.pid)
            assert list(held.iterdir())
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM, (tmp_path / "said").read_text()
            eventually(lambda: not alive(below), 10)
        assert list(held.iterdir()) == []
        assert postgres_tools.schemas(server.dsn) == before
    assert not (tmp_path / "two" / "config").exists()
    assert "Traceback" not in (tmp_path / "said").read_text()


def test_what_a_killed_command_left_is_swept(make_server, tmp_path, caudex):
    server = make_server(data_dir=tmp_path / "one")
    place = tmp_path / "place"
    for name in ("old", "used", "young"):
        (place / f".caudex-backup-{name}").mkdir(parents=True)
        (place / f".caudex-backup-{name}" / DUMP).write_text("in clear")
    for name in ("old", "used"):
        os.utime(place / f".caudex-backup-{name}", (0, 0))
    (tmp_path / "elsewhere").mkdir()
    (place / ".caudex-backup-link").symlink_to(tmp_path / "elsewhere")
    with scratch._locked(place / ".caudex-backup-used") as unused:
        assert unused
        words = ("backup", str(place / "all.backup"))
        caudex(server.dsn, *words, data_dir=tmp_path / "one")
    left = [f".caudex-backup-{name}" for name in ("link", "used", "young")]
    assert sorted(path.name for path in place.iterdir()) == [*left, "all.backup"]
    assert (tmp_path / "elsewhere").is_dir()


def test_no_backup_is_made_of_a_database_whose_schemas_are_put_aside(make_server, tmp_path, caudex):
    server = make_server(data_dir=tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    before = file.read_bytes()
    postgres_tools.put_aside(server.dsn, postgres_tools.schemas(server.dsn))
    words = ("backup", "--force", str(file))
    said = line(caudex(server.dsn, *words, data_dir=tmp_path / "one", status=1))
    assert "`caudex restore`" in said
    assert file.read_bytes() == before
    postgres_tools.put_back(server.dsn)
    caudex(server.dsn, *words, data_dir=tmp_path / "one")


@pytest.mark.slow
def test_a_database_that_cannot_be_reached_is_reported_in_one_line(make_server, tmp_path, caudex):
    server = make_server(data_dir=tmp_path / "one")
    file, new = tmp_path / "all.backup", tmp_path / "new.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    with login(server.dsn) as dsn:
        urls = {
            make_conninfo(server.dsn, host="127.0.0.1", port=1): "onnection refused",
            make_conninfo(dsn, host="127.0.0.1", password="sesame"): "authentication failed",
        }
        for url, reason in urls.items():
            for words in (("backup", str(new)), ("restore", str(file))):
                said = line(caudex(url, *words, data_dir=tmp_path / "two", status=1))
                assert reason in said
                assert "sesame" not in said
    assert not new.exists()


@pytest.mark.slow
def test_where_the_program_on_path_is_older_than_the_database_that_of_the_packages_is_used(
    make_server, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    old = tmp_path / "old" / "pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\nexit 1\n")
    old.chmod(0o755)
    env = {"CAUDEX_PLUGINS__POSTGRES__ENABLED": "false", "PATH": f"{old.parent}:/usr/bin:/bin"}
    file = tmp_path / "all.backup"
    said = caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one", env=env)
    assert said.startswith(f"wrote {file}")


@pytest.mark.slow
def test_a_login_that_may_not_read_or_make_everything_is_reported(
    make_server, postgres, tmp_path, caudex
):
    server = make_server(data_dir=tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    with login(server.dsn) as dsn:
        words = ("backup", str(tmp_path / "new.backup"))
        said = line(caudex(dsn, *words, data_dir=tmp_path / "two", status=1))
        assert "permission denied" in said
    folder = tmp_path / "folder"
    folder.mkdir()
    about = unpack(file, folder)
    role = f"worker_{secrets.token_hex(4)}"
    pack(file, About(caudex="1", made_at=about.made_at, roles=[role]), folder / DUMP, [])
    empty = postgres.create()
    with login(empty, owner=True) as dsn:
        words = ("restore", str(file))
        said = line(caudex(dsn, *words, data_dir=tmp_path / "two", status=1))
        assert role in said
        assert "CREATEROLE" in said
        assert postgres_tools.schemas(empty) == []
    postgres.drop(empty)


@pytest.mark.slow
def test_files_that_cannot_be_read_or_written_are_reported_in_one_line(
    make_server, postgres, tmp_path, caudex, monkeypatch
):
    server = make_server(data_dir=tmp_path / "one")
    said = line(caudex(server.dsn, "backup", "/proc/x", data_dir=tmp_path / "one", status=1))
    assert "/proc/" in said
    (tmp_path / "is_a_folder").mkdir()
    words = ("backup", "--force", str(tmp_path / "is_a_folder"))
    said = line(caudex(server.dsn, *words, data_dir=tmp_path / "one", status=1))
    assert f"{tmp_path}/is_a_folder: Is a directory" in said
    words = ("restore", str(tmp_path / "missing"))
    said = line(caudex(server.dsn, *words, data_dir=tmp_path / "one", status=1))
    assert said == f"caudex: {tmp_path}/missing: No such file or directory"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["is_a_folder", "one"]


def test_a_full_disk_is_reported_with_its_place(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    dump = tmp_path / "dump"
    dump.write_text("x")
    monkeypatch.setattr("os.fsync", full)
    about = About(caudex="1", made_at="now")
    with pytest.raises(BadRequest) as error, reported(tmp_path):
        pack(tmp_path / "x.backup", about, dump, [])
    assert error.value.message == f"{tmp_path}: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["about.json", "dump"]


@pytest.mark.parametrize(
    "name",
    ["../postgres.json", "../x.key", "/x.key", "a/b.key", ".key", ".x.key", "x.key\n", "x", ""],
)
def test_a_backup_whose_keys_have_names_of_other_files_is_refused(tmp_path, name):
    with pytest.raises(BadRequest, match="is no backup of Caudex"):
        keyed(tmp_path, [name], {})


def test_a_backup_that_lacks_a_key_that_it_names_is_refused(tmp_path):
    with pytest.raises(BadRequest, match=r"is no backup of Caudex.*signing\.key"):
        keyed(tmp_path, ["master.key", "signing.key"], {"master.key": "x"})
    keyed(tmp_path, ["master.key", "oauth2-x.key"], {"master.key": "x", "oauth2-x.key": "y"})


def keyed(tmp_path, names, files):
    """Unpack a backup that says it has keys of these names, and has these."""
    source, folder = tmp_path / secrets.token_hex(4), tmp_path / secrets.token_hex(4)
    for each in (source, folder):
        each.mkdir()
    for name, text in {**files, DUMP: "x"}.items():
        (source / name).write_text(text)
    about = About(caudex="1", made_at="now", keys=names)
    pack(source / "all", about, source / DUMP, [source / name for name in files])
    return unpack(source / "all", folder)


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_what_is_no_backup_is_refused(tmp_path, content):
    file = tmp_path / "odd"
    file.write_bytes(content)
    with pytest.raises(BadRequest, match="is no backup"):
        unpack(file, tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "keys/../evil", "keys/a/b", ".hidden"])
def test_a_hostile_backup_writes_nothing_outside(tmp_path, name):
    file, folder = tmp_path / "evil.tar", tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo(name)
        tar.addfile(member)
    with pytest.raises(BadRequest):
        unpack(file, folder)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_backup_is_refused(tmp_path):
    file, folder = tmp_path / "evil.tar", tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo("database.dump")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BadRequest):
        unpack(file, folder)


@pytest.mark.slow
def test_only_the_newest_dated_files_are_kept(caudex, make_server, tmp_path):
    server, folder = make_server({"server": {"data_dir": str(tmp_path / "one")}}), tmp_path / "all"
    caudex(server.dsn, "backup", "--keep", "2", str(folder), data_dir=tmp_path / "one", status=1)
    folder.mkdir()
    old = [f"caudex-2026010{day}T000000Z.tar" for day in (1, 2, 3)]
    for name in (*old, "mine.tar"):
        (folder / name).touch()
    said = caudex(server.dsn, "backup", "--keep", "2", str(folder), data_dir=tmp_path / "one")
    assert [name in said for name in old] == [True, True, False]
    kept = sorted(path.name for path in folder.iterdir())
    assert (kept[0], kept[2]) == (old[2], "mine.tar")
    assert len(kept) == 3
    unpack(folder / kept[1], tmp_path)
