"""The vault's engine: sealing, places, rotation, keys that are not there."""

import base64
import errno
import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from kernel.public import (
    VAULT,
    BadRequest,
    BootError,
    Keyring,
    NotFound,
    Unopenable,
    check_secret,
    server_actor,
)
from plugins.vault.models import DataKeyRow, Scope
from plugins.vault.sealing import key_id, open_data_key, seal_data_key

ACTOR = server_actor("test")


def install(server, app_id):
    manifest = {"appId": app_id, "name": app_id}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    return app_id


def put(server, app_id, key, value):
    server.run(lambda: server.services.get(VAULT).set(ACTOR, app_id, key, value))


def reveal(server, app_id):
    return server.run(lambda: server.services.get(VAULT).reveal(app_id))


@pytest.fixture
def app(server):
    return install(server, f"vault{uuid.uuid4().hex[:8]}")


def test_a_secret_comes_back_for_the_worker_and_the_last_value_wins(server, app):
    put(server, app, "TOKEN", "first")
    put(server, app, "TOKEN", "zweitens € \U0001f511")
    assert reveal(server, app)["TOKEN"] == "zweitens € \U0001f511"


def test_an_apps_secret_overlays_the_platforms(server, app):
    put(server, None, "SHARED", "platform")
    put(server, None, "ONLY_PLATFORM", "platform")
    put(server, app, "SHARED", "app")
    found = reveal(server, app)
    assert (found["SHARED"], found["ONLY_PLATFORM"]) == ("app", "platform")


def test_no_value_is_in_the_database_in_clear(server, app):
    put(server, app, "TOKEN", "needle-in-a-haystack")
    for table in ("secrets", "data_keys"):
        for row in server.sql(f"select t::text from caudex_vault.{table} t"):
            assert "needle" not in row[0]
            assert b"needle".hex() not in row[0]
    rows = server.sql("select coalesce(new_record::text, '') from caudex_audit.log")
    assert not [row for row in rows if "needle" in row[0]]


@pytest.mark.parametrize("column", ["app_id", "key"])
def test_a_row_copied_to_another_place_opens_nowhere(server, app, column):
    other = install(server, f"vault{uuid.uuid4().hex[:8]}")
    put(server, app, "MINE", "secret")
    put(server, other, "OWN", "own")
    target = (other, "MINE") if column == "app_id" else (app, "STOLEN")
    server.sql(
        "insert into caudex_vault.secrets (scope, app_id, key, version, data_key, sealed)"
        " select scope, %s, %s, version, data_key, sealed from caudex_vault.secrets"
        " where app_id = %s and key = 'MINE'",
        *target,
        app,
    )
    with pytest.raises(BadRequest, match=f"set them again: {target[1]}"):
        reveal(server, target[0])


def test_a_flipped_bit_is_named_and_stops_the_start_of_no_other_app(server, app):
    other = install(server, f"vault{uuid.uuid4().hex[:8]}")
    put(server, other, "OWN", "own")
    put(server, app, "BROKEN", "x")
    put(server, app, "WHOLE", "y")
    server.sql(
        "update caudex_vault.secrets set sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)"
        " where app_id = %s and key = 'BROKEN'",
        app,
    )
    with pytest.raises(BadRequest, match="set them again: BROKEN"):
        reveal(server, app)
    assert reveal(server, other)["OWN"] == "own"
    put(server, None, "BROKEN", "platform")
    skipped = server.run(lambda: server.services.get(VAULT).reveal(app, skip_broken=True))
    assert (skipped["WHOLE"], "BROKEN" in skipped) == ("y", False)
    server.run(lambda: server.services.get(VAULT).delete(ACTOR, None, "BROKEN"))
    put(server, app, "BROKEN", "new")
    assert reveal(server, app)["WHOLE"] == "y"


def test_an_old_row_under_a_new_version_does_not_open(server, app):
    put(server, app, "TOKEN", "old")
    server.sql("update caudex_vault.secrets set version = version + 1 where app_id = %s", app)
    with pytest.raises(BadRequest, match="TOKEN"):
        reveal(server, app)


def test_uninstalling_an_app_removes_its_secrets(server, app):
    put(server, app, "TOKEN", "x")
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert server.sql("select 1 from caudex_vault.secrets where app_id = %s", app) == []
    assert server.sql("select 1 from caudex_vault.data_keys where app_id = %s", app) == []


def test_a_new_app_inherits_no_secret_of_a_former_one(server, app):
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    with pytest.raises(NotFound):
        put(server, app, "TOKEN", "by a request that found the app still there")
    install(server, app)
    assert "TOKEN" not in reveal(server, app)
    for table in ("secrets", "data_keys"):
        query = f"select 1 from caudex_vault.{table} where app_id = %s"
        assert server.sql(query, app) == []


def test_an_app_that_is_installed_again_keeps_its_secrets(server, app):
    put(server, app, "TOKEN", "x")
    install(server, app)
    assert reveal(server, app)["TOKEN"] == "x"


@pytest.mark.slow
def test_rotation_keeps_every_value_while_another_server_runs(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    two = make_server(dsn=one.dsn, data_dir=tmp_path)
    app = install(one, "rotating")
    put(one, app, "BEFORE", "1")
    first = (tmp_path / "config" / "master.key").read_text()
    assert one.run(lambda: one.services.get(VAULT).rotate()) >= 1
    lines = (tmp_path / "config" / "master.key").read_text().split()
    assert len(lines) == 1
    assert lines[0] not in first
    put(two, app, "AFTER", "2")
    put(two, None, "NEW_SCOPE", "3")
    for server in (one, two):
        assert reveal(server, app) == {"BEFORE": "1", "AFTER": "2", "NEW_SCOPE": "3"}
    third = make_server(dsn=one.dsn, data_dir=tmp_path)
    assert reveal(third, app)["BEFORE"] == "1"


def written(tmp_path):
    """A ring of keys that has its file."""
    keyring = Keyring("master", tmp_path, "", (), key_id)
    keyring.read(may_create=True)
    return keyring


def test_a_rotated_key_is_on_the_disk_before_anything_is_sealed_by_it(tmp_path, monkeypatch):
    keyring, done = written(tmp_path), []
    fsync, rename = os.fsync, Path.replace

    def synced(handle):
        done.append(
            Path(os.readlink(f"/proc/self/fd/{handle}"))
            .name.removeprefix(".new-")
            .partition(".")[0]
        )
        fsync(handle)

    def renamed(path, target):
        done.append("renamed")
        return rename(path, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    newest = keyring.add_new()
    assert done == ["master", "renamed", "config"]
    keyring.keep_only(newest)
    assert done == ["master", "renamed", "config"] * 2


def test_a_rotation_that_cannot_be_written_leaves_no_key_aside(tmp_path, monkeypatch):
    keyring = written(tmp_path)
    before = keyring.file.read_text()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BootError, match=r"master\.key cannot be written: No space left") as error:
        keyring.add_new()
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in keyring.file.parent.iterdir()] == ["master.key"]
    assert keyring.file.read_text() == before


def test_a_key_of_another_length_seals_nothing(tmp_path):
    row = DataKeyRow("1", "app", "a", key_id(b"x" * 33), "")
    for size in (31, 33):
        with pytest.raises(ValueError, match="exactly 32 bytes"):
            seal_data_key(b"x" * size, b"d" * 32, "1", Scope("app", "a"))
        with pytest.raises(Unopenable, match="exactly 32 bytes"):
            open_data_key(b"x" * size, row)


@pytest.mark.slow
def test_two_rotations_at_once_lose_no_key(make_server, tmp_path, monkeypatch):
    # The second waits for the first one's row, which a disk may keep for long.
    patient = {"database": {"lock_timeout": 30.0, "statement_timeout": 60.0}}
    one = make_server(patient, data_dir=tmp_path)
    two = make_server(patient, dsn=one.dsn, data_dir=tmp_path)
    app = install(one, "twice")
    put(one, app, "TOKEN", "1")
    both, write = threading.Barrier(2), Keyring._write

    def write_together(keyring, lines):
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        write(keyring, lines)

    monkeypatch.setattr(Keyring, "_write", write_together)
    rotating = [
        threading.Thread(target=each.run, args=(each.services.get(VAULT).rotate,))
        for each in (one, two)
    ]
    for each in rotating:
        each.start()
    for each in rotating:
        each.join(20)
    assert len((tmp_path / "config" / "master.key").read_text().split()) == 1
    for server in (one, two, make_server(dsn=one.dsn, data_dir=tmp_path)):
        assert reveal(server, app)["TOKEN"] == "1"


def test_a_scope_holds_a_bounded_number_of_secrets(server, app):
    put(server, app, "FIRST", "1")
    server.sql(
        "insert into caudex_vault.secrets (scope, app_id, key, version, data_key, sealed)"
        " select scope, app_id, 'N' || n, version, data_key, sealed"
        " from caudex_vault.secrets, generate_series(2, 1000) as n where app_id = %s",
        app,
    )
    path = f"/api/v1/apps/{app}/secrets"
    answer = server.admin.post(path, json={"key": "MORE", "value": "x"})
    assert answer.status_code == 400
    assert answer.json() == {"error": "there are 1000 secrets already: delete one"}
    put(server, app, "FIRST", "2")


def test_a_missing_master_key_stops_the_boot_and_makes_no_new_one(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    other = tmp_path / "other"
    (other / "config").mkdir(parents=True)
    (other / "config" / "signing.key").write_bytes((tmp_path / "config/signing.key").read_bytes())
    (other / "config" / "signing.key").chmod(0o600)
    with pytest.raises(BootError, match=r"master\.key is missing.*restore") as error:
        make_server(dsn=one.dsn, data_dir=other)
    assert len(str(error.value).splitlines()) == 1
    assert not (other / "config" / "master.key").exists()


def test_a_wrong_master_key_stops_the_boot(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    wrong = {"plugins": {"vault": {"master_key": base64.b64encode(b"x" * 32).decode()}}}
    with pytest.raises(BootError, match="is not the key that this database"):
        make_server(wrong, dsn=one.dsn, data_dir=tmp_path)


def test_a_short_master_key_is_refused(make_server):
    short = {"plugins": {"vault": {"master_key": base64.b64encode(b"x" * 16).decode()}}}
    with pytest.raises(BootError, match="32 are needed"):
        make_server(short)


@pytest.mark.parametrize(
    "name",
    ["", "1A", "A-B", "A B", "Ä", "A" * 129, "A\n", "PATH", "path", "HOME", "LD_PRELOAD",
     "DYLD_X", "PYTHONPATH", "NODE_OPTIONS", "BUN_INSTALL", "CAUDEX_APP_ID"],
)  # fmt: skip
def test_names_that_are_none_or_steer_are_refused(name):
    with pytest.raises(BadRequest):
        check_secret(name, "")


@pytest.mark.parametrize("name", ["A", "_x", "OPENAI_API_KEY", "LDAP_URL", "A" * 128, "homepage"])
def test_ordinary_names_are_accepted(name):
    check_secret(name, "")


def test_the_last_use_of_a_secret_is_shown_and_never_its_value(server, app):
    put(server, app, "USED", "v1")
    path = f"/api/v1/apps/{app}/secrets/usage"
    [before] = server.admin.get(path).json()
    assert (before["key"], before["used_at"], before["used_by"]) == ("USED", None, None)
    reveal(server, app)
    put(server, app, "LATER", "v2")
    later, used = server.admin.get(path).json()
    assert (later["used_at"], used["used_by"]) == (None, app)
    assert used["used_at"].endswith("Z")
    assert "v1" not in server.admin.get(path).text
    assert server.user().get(path).status_code == 403
    assert server.admin.get("/api/v1/platform/secrets/usage").status_code == 200
