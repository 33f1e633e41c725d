"""`caudex backup verify FILE`: a restore into a scratch database, and the rows compared."""

import secrets

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.public import BadRequest
from plugins.backup.archive import DUMP, About, pack, unpack
from plugins.backup.dumps import postgres as database
from plugins.backup.dumps.postgres import SCRATCH_DATABASE, scratch_database
from plugins.backup.verify import _compare
from tests.kernel.processes import open_folder
from tests.plugins.backup.support import caudex, filled, line, login

__all__ = ["caudex"]

NO_CLUSTER = {"CAUDEX_PLUGINS__POSTGRES__ENABLED": "false"}


def scratch_databases(dsn):
    query = "select datname from pg_database where starts_with(datname, %s)"
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute(query, [SCRATCH_DATABASE])}


def changed(file, target, folder, **counts):
    """Write a backup that says that its tables had other rows."""
    folder.mkdir()
    about = unpack(file, folder)
    other = About(caudex="1", made_at=about.made_at, counts={**about.counts, **counts})
    pack(target, other, folder / DUMP, [])


@pytest.mark.slow
def test_a_backup_is_proved_by_a_restore_that_leaves_nothing(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    before = scratch_databases(server.dsn)
    file, damaged, fewer = tmp_path / "all", tmp_path / "damaged", tmp_path / "fewer"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    path = "/api/v1/apps/crm/collections/notes"
    server.admin.post(path, json={"body": "later"}).raise_for_status()
    said = caudex(server.dsn, "backup", "verify", str(file), data_dir=tmp_path / "one")
    assert "as many as when it was made" in said
    status = server.admin.get("/api/v1/status").json()["backup"]
    assert status["last"] < status["verified"]

    changed(file, fewer, tmp_path / "a", **{"crm.notes": 21})
    said = caudex(server.dsn, "backup", "verify", str(fewer), data_dir=tmp_path / "one", status=1)
    assert "crm.notes has 20 rows, not 21" in line(said)
    (tmp_path / "b").mkdir()
    about = unpack(file, tmp_path / "b")
    dump = (tmp_path / "b" / DUMP).read_bytes()
    (tmp_path / "b" / DUMP).write_bytes(dump[: len(dump) * 9 // 10])
    pack(damaged, about, tmp_path / "b" / DUMP, [])
    words = ("backup", "verify", str(damaged))
    assert "pg_restore: " in line(caudex(server.dsn, *words, data_dir=tmp_path / "one", status=1))
    assert scratch_databases(server.dsn) == before


def test_a_table_too_many_or_too_few_is_named():
    about = About(caudex="1", made_at="now", counts={"crm.notes": 1, "crm.gone": 2})
    with pytest.raises(BadRequest, match=r"crm.gone has no rows, not 2; crm.new has 3 rows, not a"):
        _compare(about, {"crm.notes": 1, "crm.new": 3})


@pytest.mark.slow
def test_a_login_that_may_create_no_database_is_notified_of_another_server(
    make_server, postgres, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    with login(server.dsn) as dsn:
        words = ("backup", "verify", str(file))
        said = line(caudex(dsn, *words, data_dir=tmp_path / "one", status=1, env=NO_CLUSTER))
        assert "--into" in said
        words = (*words, "--into", server.dsn)
        said = caudex(dsn, *words, data_dir=tmp_path / "one", env=NO_CLUSTER)
        assert "as many as when it was made" in said
        assert "does not record it" in said


def test_the_scratch_database_of_a_killed_command_is_dropped(database):
    old, young, foreign = (
        f"{SCRATCH_DATABASE}1000_{secrets.token_hex(4)}",
        f"{SCRATCH_DATABASE}99999999999_{secrets.token_hex(4)}",
        f"{SCRATCH_DATABASE}{secrets.token_hex(4)}",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        try:
            for name in (old, young, foreign):
                connection.execute(f"create database {name}")
            with scratch_database(database) as made:
                psycopg.connect(made).close()
            left = scratch_databases(database)
            assert {young, foreign} <= left
            assert old not in left
        finally:
            for name in (old, young, foreign):
                connection.execute(f"drop database if exists {name}")


@pytest.mark.slow
def test_a_database_of_an_older_version_is_backed_up_and_not_recorded(
    make_server, tmp_path, caudex
):
    server = filled(make_server, tmp_path / "one")
    with psycopg.connect(make_conninfo(server.dsn), autocommit=True) as connection:
        connection.execute("drop schema caudex_backup cascade")
    said = caudex(server.dsn, "backup", str(tmp_path / "all"), data_dir=tmp_path / "one")
    assert "does not record it" in said


@pytest.fixture
def data():
    """A data folder that every account enters."""
    with open_folder() as folder:
        yield folder


@pytest.mark.slow
def test_a_backup_is_verified_in_a_cluster_of_its_own(make_server, data, tmp_path, caudex):
    server = filled(make_server, data)
    file = tmp_path / "all"
    with login(server.dsn) as dsn, psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"grant pg_read_all_data to {conninfo_to_dict(dsn)['user']}")
        said = caudex(dsn, "backup", "--verify", str(file), data_dir=data)
    assert "as many as when it was made" in said
    said = caudex(server.dsn, "backup", "--verify", "--force", str(file), data_dir=data)
    assert f"{file} restores: " in said
    assert server.admin.get("/api/v1/status").json()["backup"]["verified"]
    assert list(data.glob("postgres.scratch-*")) == []


@pytest.mark.slow
def test_a_backup_that_is_not_verified_says_why(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    words = ("backup", "--force", str(tmp_path / "all"))
    said = caudex(server.dsn, *words, data_dir=tmp_path / "one")
    assert "not verified (--no-verify)" in said
    said = caudex(server.dsn, *words, "--verify", data_dir=tmp_path / "one", env=NO_CLUSTER)
    assert "not verified (no plugin runs a PostgreSQL here): caudex backup verify " in said
    assert server.admin.get("/api/v1/status").json()["backup"]["verified"] is None


@pytest.mark.slow
def test_a_backup_that_does_not_restore_stays_and_the_command_fails(
    make_server, data, tmp_path, caudex, monkeypatch
):
    server = filled(make_server, data)
    monkeypatch.setattr(database, "counts_in", lambda _: {"crm.notes": 19})
    words = ("backup", "--verify", str(tmp_path / "all"))
    said = caudex(server.dsn, *words, data_dir=data, status=1)
    assert "was written, but it does not restore here: the backup differs from what was" in said
    assert (tmp_path / "all").is_file()
